/* Reads a pattern in the syntax of ECMA-262 and builds the automaton as it goes: literals, `.`,
 * classes, the escapes \d \w \s \D \W \S \t \n \r \f \v \0 \xHH \uHHHH \u{H...}, groups,
 * alternatives, the repetitions * + ? {m} {m,} {m,n} (lazy ones mean the same), ^ and $ at the ends
 * of the pattern's alternatives. Look-around, back references, \b and \p are refused by name. */
#include "grammar/regex.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/utf8.h"

#define GROUPS_MAX 64
#define REPEATS_MAX 10000u

typedef struct parser {
    sluice_automaton *a;
    sluice_text_form form;
    const char *at, *end;
    const char *place;
    unsigned groups;
    sluice_error *err;
} parser;

static sluice_status refuse(const parser *p, sluice_status code, const char *what)
{
    return sluice_fail(p->err, code, "%s: the pattern has %s", p->place, what);
}

static bool is_next(const parser *p, char c)
{
    return p->at < p->end && *p->at == c;
}

static bool take(parser *p, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(p->end - p->at) < length || memcmp(p->at, text, length) != 0) return false;
    p->at += length;
    return true;
}

static sluice_status build_set(parser *p, sluice_characters *set, uint32_t *state)
{
    uint32_t to = sluice_automaton_state(p->a);
    bool any = sluice_text_form_build(p->a, p->form, *state, set, to);
    *state = to;
    if (any) return SLUICE_OK;
    return refuse(p, SLUICE_UNSUPPORTED,
                  "a character that cannot be written here (nothing, NUL, or '<' in a tool's "
                  "parameter)");
}

static sluice_status read_hex(parser *p, int digits, uint32_t *value)
{
    bool braces = digits == 4 && take(p, "{");
    int count = 0;
    *value = 0;
    for (; p->at < p->end && count < (braces ? 6 : digits); count++, p->at++) {
        char c = *p->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) break;
        *value = *value << 4 | digit;
    }
    if ((!braces && count < digits) || !count || (braces && !take(p, "}"))) {
        return refuse(p, SLUICE_BAD_INPUT, "an escape that lacks digits");
    }
    if (*value > SLUICE_CHARACTER_MAX || (*value >= 0xD800 && *value <= 0xDFFF)) {
        return refuse(p, SLUICE_UNSUPPORTED, "an escape for what is no character");
    }
    return SLUICE_OK;
}

static void add_named(sluice_characters *set, char name)
{
    static const sluice_range digits[] = {{'0', '9'}};
    static const sluice_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const sluice_range spaces[] = {
        {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    char lower = (char)(name | 0x20);
    const sluice_range *ranges = lower == 'd' ? digits : lower == 'w' ? words : spaces;
    size_t count = lower == 'd' ? 1 : lower == 'w' ? 4 : sizeof spaces / sizeof *spaces;
    sluice_characters own = {0};
    for (size_t i = 0; i < count; i++)
        sluice_characters_add(&own, ranges[i].low, ranges[i].high);
    if (name != lower) sluice_characters_normalise(&own, true);
    for (size_t i = 0; i < own.count; i++)
        sluice_characters_add(set, own.ranges[i].low, own.ranges[i].high);
    set->failed |= own.failed;
    sluice_characters_free(&own);
}

/* Behind a backslash: adds to a set; *single receives the character, or UINT32_MAX for a class. */
static sluice_status read_escape(parser *p, sluice_characters *set, bool in_class, uint32_t *single)
{
    static const char controls[] = "tnrfv", values[] = "\t\n\r\f\v";
    if (p->at == p->end) return refuse(p, SLUICE_BAD_INPUT, "a \\ at its end");
    char c = *p->at++;
    *single = UINT32_MAX;
    if (c && strchr("dwsDWS", c)) {
        add_named(set, c);
        return SLUICE_OK;
    }
    const char *control = c ? strchr(controls, c) : NULL;
    if (control) {
        *single = (unsigned char)values[control - controls];
    } else if (c == 'x' || c == 'u') {
        SLUICE_TRY(read_hex(p, c == 'x' ? 2 : 4, single));
    } else if (c == 'b' && in_class) {
        *single = '\b';
    } else if (c == 'b' || c == 'B') {
        return refuse(p, SLUICE_UNSUPPORTED, "\\b or \\B, which are not supported");
    } else if (c == 'p' || c == 'P') {
        return refuse(p, SLUICE_UNSUPPORTED, "\\p, which is not supported");
    } else if (c >= '0' && c <= '9') {
        return refuse(p, SLUICE_UNSUPPORTED, "a back reference or NUL, which are not supported");
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80) {
        return refuse(p, SLUICE_UNSUPPORTED, "an escape that is not supported");
    } else {
        *single = (unsigned char)c;
    }
    sluice_characters_add(set, *single, *single);
    return SLUICE_OK;
}

static uint32_t take_character(parser *p)
{
    size_t step;
    uint32_t character = sluice_utf8_decode(p->at, &step);
    p->at += step;
    return character;
}

static sluice_status read_class_item(parser *p, sluice_characters *set, uint32_t *single)
{
    if (take(p, "\\")) return read_escape(p, set, true, single);
    *single = take_character(p);
    sluice_characters_add(set, *single, *single);
    return SLUICE_OK;
}

static sluice_status fill_class(parser *p, sluice_characters *set)
{
    while (!is_next(p, ']')) {
        if (p->at == p->end) return refuse(p, SLUICE_BAD_INPUT, "a class without ]");
        uint32_t low, high;
        SLUICE_TRY(read_class_item(p, set, &low));
        if (!is_next(p, '-') || p->at + 1 == p->end || p->at[1] == ']') continue;
        p->at++;
        SLUICE_TRY(read_class_item(p, set, &high));
        if (low == UINT32_MAX || high == UINT32_MAX || high < low) {
            return refuse(p, SLUICE_BAD_INPUT, "a range that does not go up from one character");
        }
        sluice_characters_add(set, low, high);
    }
    p->at++;
    return SLUICE_OK;
}

static sluice_status read_class(parser *p, uint32_t *state)
{
    sluice_characters set = {0};
    bool negated = take(p, "^");
    sluice_status status = fill_class(p, &set);
    sluice_characters_normalise(&set, negated);
    if (status == SLUICE_OK) status = build_set(p, &set, state);
    sluice_characters_free(&set);
    return status;
}

static sluice_status read_alternatives(parser *p, uint32_t from, uint32_t to);

static sluice_status read_group(parser *p, uint32_t *state)
{
    if (take(p, "?")) {
        if (is_next(p, '<') && p->at + 1 < p->end && p->at[1] != '=' && p->at[1] != '!') {
            while (p->at < p->end && *p->at != '>')
                p->at++;
            if (!take(p, ">")) return refuse(p, SLUICE_BAD_INPUT, "a group without )");
        } else if (!take(p, ":")) {
            return refuse(p, SLUICE_UNSUPPORTED, "look-around or flags, which are not supported");
        }
    }
    if (++p->groups > GROUPS_MAX) return refuse(p, SLUICE_LIMIT, "too many groups in groups");
    uint32_t to = sluice_automaton_state(p->a);
    SLUICE_TRY(read_alternatives(p, *state, to));
    if (!take(p, ")")) return refuse(p, SLUICE_BAD_INPUT, "a group without )");
    p->groups--;
    *state = to;
    return SLUICE_OK;
}

static sluice_status read_atom(parser *p, uint32_t *state)
{
    if (take(p, "(")) return read_group(p, state);
    if (take(p, "[")) return read_class(p, state);
    sluice_characters set = {0};
    sluice_status status = SLUICE_OK;
    bool negated = false;
    uint32_t single;
    if (take(p, "\\")) {
        status = read_escape(p, &set, false, &single);
    } else if (take(p, ".")) {
        static const uint32_t lines[] = {'\n', '\r', 0x2028, 0x2029};
        for (size_t i = 0; i < 4; i++)
            sluice_characters_add(&set, lines[i], lines[i]);
        negated = true;
    } else if (strchr("*+?{}^$", *p->at) && *p->at) {
        status =
            refuse(p, SLUICE_UNSUPPORTED,
                   *p->at == '^' || *p->at == '$' ? "an anchor within it, which is not supported"
                                                  : "a sign of repetition behind nothing");
    } else {
        single = take_character(p);
        sluice_characters_add(&set, single, single);
    }
    sluice_characters_normalise(&set, negated);
    if (status == SLUICE_OK) status = build_set(p, &set, state);
    sluice_characters_free(&set);
    return status;
}

static bool read_number(parser *p, uint32_t *number)
{
    if (p->at == p->end || *p->at < '0' || *p->at > '9') return false;
    for (*number = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        if (*number <= REPEATS_MAX) *number = *number * 10 + (uint32_t)(*p->at - '0');
    }
    return true;
}

static sluice_status read_repetition(parser *p, uint32_t *min, uint32_t *max)
{
    *min = *max = 1;
    if (take(p, "*")) {
        *min = 0;
        *max = UINT32_MAX;
    } else if (take(p, "+")) {
        *max = UINT32_MAX;
    } else if (take(p, "?")) {
        *min = 0;
    } else if (take(p, "{")) {
        bool good = read_number(p, min);
        *max = *min;
        if (good && take(p, ",") && !read_number(p, max)) *max = UINT32_MAX;
        if (!good || !take(p, "}") || *max < *min) {
            return refuse(p, SLUICE_BAD_INPUT, "a repetition that is not {m}, {m,} or {m,n}");
        }
        if (*min > REPEATS_MAX || (*max > REPEATS_MAX && *max != UINT32_MAX)) {
            return refuse(p, SLUICE_LIMIT, "a repetition of more than 10000 times");
        }
    } else {
        return SLUICE_OK;
    }
    take(p, "?"); /* lazy: the same texts match */
    return SLUICE_OK;
}

static bool at_end(const parser *p)
{
    return p->at == p->end || *p->at == '|' || *p->at == ')';
}

/* Any text before or behind an alternative that is not anchored there. */
static uint32_t build_any(parser *p, uint32_t from)
{
    uint32_t loop = sluice_automaton_state(p->a);
    sluice_characters any = {0};
    sluice_characters_normalise(&any, true);
    sluice_automaton_empty(p->a, from, loop);
    sluice_text_form_build(p->a, p->form, loop, &any, loop);
    sluice_characters_free(&any);
    uint32_t behind = sluice_automaton_state(p->a);
    sluice_automaton_empty(p->a, loop, behind);
    return behind;
}

static sluice_status read_sequence(parser *p, uint32_t from, uint32_t to)
{
    bool is_outer = p->groups == 0;
    if (is_outer && !take(p, "^")) from = build_any(p, from);
    while (!at_end(p)) {
        if (is_outer && is_next(p, '$') && (p->at + 1 == p->end || p->at[1] == '|')) break;
        uint32_t start = sluice_automaton_state(p->a), end = start, min, max;
        SLUICE_TRY(read_atom(p, &end));
        SLUICE_TRY(read_repetition(p, &min, &max));
        from = sluice_build_repeat_element(p->a, from, start, end, min, max);
    }
    if (is_outer && !take(p, "$")) from = build_any(p, from);
    sluice_automaton_empty(p->a, from, to);
    return SLUICE_OK;
}

static sluice_status read_alternatives(parser *p, uint32_t from, uint32_t to)
{
    do {
        uint32_t start = sluice_automaton_state(p->a);
        sluice_automaton_empty(p->a, from, start);
        SLUICE_TRY(read_sequence(p, start, to));
    } while (take(p, "|"));
    return SLUICE_OK;
}

sluice_status sluice_regex_build(sluice_automaton *a, sluice_text_form form, uint32_t from,
                                 const char *pattern, size_t length, const char *place,
                                 uint32_t *to, sluice_error *err)
{
    parser p = {
        .a = a, .form = form, .at = pattern, .end = pattern + length, .place = place, .err = err};
    *to = sluice_automaton_state(a);
    SLUICE_TRY(read_alternatives(&p, from, *to));
    return p.at == p.end ? SLUICE_OK : refuse(&p, SLUICE_BAD_INPUT, "a ) without (");
}
