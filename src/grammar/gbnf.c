/* Reads GBNF and builds the automaton as it goes.
 *
 * As in llama.cpp: rules `name ::= ...`, alternatives, sequences, groups, literals, classes of
 * characters, `.`, the repetitions * + ? {m} {m,} {m,n} {,n}, comments from # on, and <name> for
 * the token of that content. A rule ends with its line; within parentheses, behind ::= and |, and
 * before a line that begins with |, a line may be broken. Token ids (<[1]>) and negated tokens
 * (!<...>) are refused. */
#include "grammar/gbnf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/characters.h"
#include "tokenizer/utf8.h"

#define RULES_MAX 4096
#define GROUPS_MAX 128
#define REPEATS_MAX 100000u

typedef struct parser {
    sluice_automaton *a;
    const char *source, *at, *end;
    uint32_t *rules; /* those of the grammar, by their numbers in the automaton */
    size_t rule_count;
    unsigned groups; /* within groups */
    sluice_error *err;
} parser;

static int line_of(const parser *p)
{
    int line = 1;
    for (const char *c = p->source; c < p->at; c++)
        line += *c == '\n';
    return line;
}

__attribute__((format(printf, 3, 4))) static sluice_status
refuse(const parser *p, sluice_status code, const char *format, ...)
{
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return sluice_fail(p->err, code, "the grammar, line %d: %s", line_of(p), what);
}

static bool more(const parser *p)
{
    return p->at < p->end;
}

static bool is_next(const parser *p, char c)
{
    return more(p) && *p->at == c;
}

static void skip_space(parser *p, bool lines)
{
    while (more(p)) {
        if (*p->at == '#') {
            while (more(p) && *p->at != '\n')
                p->at++;
        } else if (*p->at == ' ' || *p->at == '\t' ||
                   (lines && (*p->at == '\n' || *p->at == '\r'))) {
            p->at++;
        } else {
            return;
        }
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static size_t name_length(const parser *p)
{
    size_t length = 0;
    while (p->at + length < p->end && is_name(p->at[length]))
        length++;
    return length;
}

/* The rule with a name, which may not be defined yet. */
static sluice_status find_rule(parser *p, const char *name, size_t length, uint32_t *rule)
{
    for (size_t i = 0; i < p->rule_count; i++) {
        const char *known = p->a->rules[p->rules[i]].name;
        if (strlen(known) != length || memcmp(known, name, length) != 0) continue;
        *rule = p->rules[i];
        return SLUICE_OK;
    }
    if (p->rule_count == RULES_MAX) {
        return refuse(p, SLUICE_LIMIT, "more than %d rules", RULES_MAX);
    }
    if (length > 128) return refuse(p, SLUICE_LIMIT, "a name of more than 128 characters");
    char copy[129];
    memcpy(copy, name, length);
    copy[length] = 0;
    *rule = sluice_automaton_rule(p->a, copy, sluice_automaton_state(p->a), SLUICE_NO_STATE);
    if (p->a->failed != SLUICE_OK) return refuse(p, p->a->failed, "no room for more rules");
    p->rules[p->rule_count++] = *rule;
    return SLUICE_OK;
}

static sluice_status read_hex(parser *p, int digits, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        char c = more(p) ? *p->at : 0;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return refuse(p, SLUICE_BAD_INPUT, "%d hexadecimal digits expected", digits);
        *value = *value << 4 | digit;
    }
    if (*value > SLUICE_CHARACTER_MAX || (*value >= 0xD800 && *value <= 0xDFFF)) {
        return refuse(p, SLUICE_BAD_INPUT, "U+%X is no character", (unsigned)*value);
    }
    return SLUICE_OK;
}

/* A character of a literal or a class, perhaps escaped. */
static sluice_status read_character(parser *p, uint32_t *character)
{
    if (*p->at != '\\') {
        size_t step;
        *character = sluice_utf8_decode(p->at, &step);
        p->at += step;
        return SLUICE_OK;
    }
    p->at++;
    char c = more(p) ? *p->at++ : 0;
    switch (c) {
    case 'x': return read_hex(p, 2, character);
    case 'u': return read_hex(p, 4, character);
    case 'U': return read_hex(p, 8, character);
    case 't': *character = '\t'; return SLUICE_OK;
    case 'r': *character = '\r'; return SLUICE_OK;
    case 'n': *character = '\n'; return SLUICE_OK;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^': *character = (unsigned char)c; return SLUICE_OK;
    default: return refuse(p, SLUICE_BAD_INPUT, "an unknown escape: \\%c", c ? c : ' ');
    }
}

static sluice_status read_literal(parser *p, uint32_t *state)
{
    p->at++;
    while (!is_next(p, '"')) {
        if (!more(p) || *p->at == '\n')
            return refuse(p, SLUICE_BAD_INPUT, "a literal lacks its end");
        uint32_t character;
        SLUICE_TRY(read_character(p, &character));
        char bytes[4];
        *state = sluice_build_literal(p->a, *state, bytes, sluice_utf8_encode(character, bytes));
    }
    p->at++;
    return SLUICE_OK;
}

static sluice_status read_ranges(parser *p, sluice_characters *set)
{
    while (!is_next(p, ']')) {
        if (!more(p) || *p->at == '\n') return refuse(p, SLUICE_BAD_INPUT, "a class lacks its ]");
        uint32_t low, high;
        SLUICE_TRY(read_character(p, &low));
        high = low;
        if (is_next(p, '-') && p->at + 1 < p->end && p->at[1] != ']') {
            p->at++;
            SLUICE_TRY(read_character(p, &high));
            if (high < low) return refuse(p, SLUICE_BAD_INPUT, "a range ends before it begins");
        }
        sluice_characters_add(set, low, high);
    }
    p->at++;
    return SLUICE_OK;
}

static sluice_status read_class(parser *p, uint32_t *state)
{
    sluice_characters set = {0};
    p->at++;
    bool negated = is_next(p, '^');
    if (negated) p->at++;
    sluice_status status = read_ranges(p, &set);
    if (status == SLUICE_OK) {
        uint32_t to = sluice_automaton_state(p->a);
        sluice_characters_normalise(&set, negated);
        sluice_characters_build(p->a, *state, &set, to);
        *state = to;
    }
    sluice_characters_free(&set);
    return status;
}

static sluice_status read_tag(parser *p, uint32_t *state)
{
    const char *begin = p->at;
    while (more(p) && *p->at != '>' && *p->at != '\n')
        p->at++;
    if (!is_next(p, '>')) return refuse(p, SLUICE_BAD_INPUT, "a token lacks its >");
    if (begin[1] == '[') return refuse(p, SLUICE_UNSUPPORTED, "tokens by id are not supported");
    p->at++;
    *state = sluice_build_tag(p->a, *state, begin, (size_t)(p->at - begin));
    return SLUICE_OK;
}

static sluice_status read_alternatives(parser *p, uint32_t from, uint32_t to);

static sluice_status read_group(parser *p, uint32_t *state)
{
    if (++p->groups > GROUPS_MAX) {
        return refuse(p, SLUICE_LIMIT, "more than %d groups within each other", GROUPS_MAX);
    }
    p->at++;
    uint32_t to = sluice_automaton_state(p->a);
    SLUICE_TRY(read_alternatives(p, *state, to));
    if (!is_next(p, ')')) return refuse(p, SLUICE_BAD_INPUT, "a group lacks its )");
    p->at++;
    p->groups--;
    *state = to;
    return SLUICE_OK;
}

/* One element; *found says whether there was one. */
static sluice_status read_element(parser *p, uint32_t *state, bool *found)
{
    *found = true;
    char c = more(p) ? *p->at : 0;
    if (c == '"') return read_literal(p, state);
    if (c == '[') return read_class(p, state);
    if (c == '(') return read_group(p, state);
    if (c == '<') return read_tag(p, state);
    if (c == '!') return refuse(p, SLUICE_UNSUPPORTED, "negated tokens are not supported");
    if (c == '.') {
        uint32_t to = sluice_automaton_state(p->a);
        sluice_characters any = {0};
        sluice_characters_normalise(&any, true);
        sluice_characters_build(p->a, *state, &any, to);
        sluice_characters_free(&any);
        *state = to;
        p->at++;
        return SLUICE_OK;
    }
    size_t length = name_length(p);
    *found = length > 0;
    if (!length) return SLUICE_OK;
    uint32_t rule;
    SLUICE_TRY(find_rule(p, p->at, length, &rule));
    p->at += length;
    *state = sluice_build_call(p->a, *state, rule);
    return SLUICE_OK;
}

/* Digits, if there are any. */
static sluice_status read_count(parser *p, uint32_t *count)
{
    if (!more(p) || *p->at < '0' || *p->at > '9') return SLUICE_OK;
    for (*count = 0; more(p) && *p->at >= '0' && *p->at <= '9'; p->at++) {
        *count = *count * 10 + (uint32_t)(*p->at - '0');
        if (*count > REPEATS_MAX) {
            return refuse(p, SLUICE_LIMIT, "a repetition of more than %u times", REPEATS_MAX);
        }
    }
    return SLUICE_OK;
}

static sluice_status read_repetition(parser *p, uint32_t *min, uint32_t *max)
{
    *min = *max = 1;
    char c = more(p) ? *p->at : 0;
    if (c == '*' || c == '?') *min = 0;
    if (c == '*' || c == '+') *max = UINT32_MAX;
    if (c == '*' || c == '?' || c == '+') p->at++;
    if (c != '{') return SLUICE_OK;
    p->at++;
    *min = *max = UINT32_MAX;
    skip_space(p, false);
    SLUICE_TRY(read_count(p, min));
    skip_space(p, false);
    bool open = is_next(p, ',');
    if (!open) {
        *max = *min;
    } else {
        p->at++;
        skip_space(p, false);
        SLUICE_TRY(read_count(p, max));
        skip_space(p, false);
        if (*min == UINT32_MAX && *max != UINT32_MAX) *min = 0;
    }
    if (*min == UINT32_MAX || *max < *min || !is_next(p, '}')) {
        return refuse(p, SLUICE_BAD_INPUT, "a repetition is {m}, {m,}, {,n} or {m,n}");
    }
    p->at++;
    return SLUICE_OK;
}

static sluice_status read_sequence(parser *p, uint32_t from, uint32_t to)
{
    for (;;) {
        skip_space(p, p->groups > 0);
        uint32_t start = sluice_automaton_state(p->a), end = start;
        bool found;
        SLUICE_TRY(read_element(p, &end, &found));
        if (!found) break;
        skip_space(p, p->groups > 0);
        uint32_t min, max;
        SLUICE_TRY(read_repetition(p, &min, &max));
        from = sluice_build_repeat_element(p->a, from, start, end, min, max);
    }
    sluice_automaton_empty(p->a, from, to);
    return SLUICE_OK;
}

/* At top level a line that begins with | goes on with the rule. */
static void skip_to_bar(parser *p)
{
    const char *before = p->at;
    skip_space(p, true);
    if (!is_next(p, '|')) p->at = before;
}

static sluice_status read_alternatives(parser *p, uint32_t from, uint32_t to)
{
    for (;;) {
        uint32_t start = sluice_automaton_state(p->a);
        sluice_automaton_empty(p->a, from, start);
        SLUICE_TRY(read_sequence(p, start, to));
        if (p->groups == 0) skip_to_bar(p);
        if (!is_next(p, '|')) return SLUICE_OK;
        p->at++;
        skip_space(p, true);
    }
}

static sluice_status read_rule(parser *p)
{
    size_t length = name_length(p);
    if (!length) return refuse(p, SLUICE_BAD_INPUT, "the name of a rule expected");
    uint32_t rule;
    SLUICE_TRY(find_rule(p, p->at, length, &rule));
    if (p->a->rules[rule].end != SLUICE_NO_STATE) {
        return refuse(p, SLUICE_BAD_INPUT, "%s is defined twice", p->a->rules[rule].name);
    }
    p->at += length;
    skip_space(p, false);
    if (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0) {
        return refuse(p, SLUICE_BAD_INPUT, "::= expected behind %s", p->a->rules[rule].name);
    }
    p->at += 3;
    skip_space(p, true);
    uint32_t end = sluice_automaton_state(p->a);
    p->a->rules[rule].end = end;
    SLUICE_TRY(read_alternatives(p, p->a->rules[rule].start, end));
    if (more(p) && *p->at != '\n' && *p->at != '\r') {
        return refuse(p, SLUICE_BAD_INPUT, "what stands here is no part of a rule");
    }
    skip_space(p, true);
    return p->a->failed == SLUICE_OK ? SLUICE_OK : refuse(p, p->a->failed, "too large");
}

static sluice_status read_grammar(parser *p, uint32_t *root)
{
    skip_space(p, true);
    while (more(p))
        SLUICE_TRY(read_rule(p));
    *root = UINT32_MAX;
    for (size_t i = 0; i < p->rule_count; i++) {
        const sluice_rule *rule = &p->a->rules[p->rules[i]];
        if (rule->end == SLUICE_NO_STATE) {
            return sluice_fail(p->err, SLUICE_BAD_INPUT, "the grammar: %s is used but not defined",
                               rule->name);
        }
        if (strcmp(rule->name, "root") == 0) *root = p->rules[i];
    }
    if (*root != UINT32_MAX) return SLUICE_OK;
    return sluice_fail(p->err, SLUICE_BAD_INPUT, "the grammar has no rule root");
}

sluice_status sluice_gbnf_build(sluice_automaton *a, const char *source, size_t length,
                                uint32_t *root, sluice_error *err)
{
    size_t bad = sluice_utf8_check(source, length);
    if (bad < length || memchr(source, 0, length)) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the grammar is not UTF-8 text");
    }
    parser p = {.a = a, .source = source, .at = source, .end = source + length, .err = err};
    p.rules = malloc(RULES_MAX * sizeof *p.rules);
    if (!p.rules) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read a grammar");
    sluice_status status = read_grammar(&p, root);
    free(p.rules);
    return status;
}
