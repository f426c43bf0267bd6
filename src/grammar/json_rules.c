/* The rules of JSON: see json_rules.h. */
#include "grammar/json_rules.h"

/* Spaces that a line is indented by at most. */
#define INDENT_MAX 32

enum {
    VALUE = 1,
    OBJECT = 2,
    ARRAY = 4,
    STRING = 8,
    NUMBER = 16,
    INTEGER = 32,
    COMMA = 64,
    COLON = 128,
    EDGE = 256
};

/* Opens a rule that is not built yet; false if it is. */
static bool open_rule(sluice_json_rules *json, uint32_t bit, const char *name, uint32_t *rule,
                      uint32_t *start)
{
    if (json->built & bit) return false;
    json->built |= bit;
    *start = sluice_automaton_state(json->a);
    *rule = sluice_automaton_rule(json->a, name, *start, sluice_automaton_state(json->a));
    return true;
}

/* The end of a rule that open_rule has opened; after a failure there may be none. */
static uint32_t end_of(const sluice_json_rules *json, uint32_t rule)
{
    return json->a->failed == SLUICE_OK ? json->a->rules[rule].end : 0;
}

/* The white space of a place: one space where a model writes one, lines where they are allowed. */
static void build_space(sluice_json_rules *json, uint32_t from, bool one, bool lines, uint32_t to)
{
    sluice_automaton *a = json->a;
    sluice_automaton_empty(a, from, to);
    if (one && json->space != SLUICE_JSON_SPACE_NONE) sluice_automaton_bytes(a, from, ' ', ' ', to);
    if (!lines || json->space != SLUICE_JSON_SPACE_LINES) return;
    uint32_t state = sluice_build_text(a, from, "\n");
    for (int i = 0; i < INDENT_MAX; i++) {
        sluice_automaton_empty(a, state, to);
        state = sluice_build_text(a, state, " ");
    }
    sluice_automaton_empty(a, state, to);
}

uint32_t sluice_json_build_comma(sluice_json_rules *json, uint32_t from)
{
    uint32_t start;
    if (open_rule(json, COMMA, NULL, &json->comma, &start)) {
        build_space(json, sluice_build_text(json->a, start, ","), true, true,
                    end_of(json, json->comma));
    }
    return sluice_build_call(json->a, from, json->comma);
}

uint32_t sluice_json_build_colon(sluice_json_rules *json, uint32_t from)
{
    uint32_t start;
    if (open_rule(json, COLON, NULL, &json->colon, &start)) {
        build_space(json, sluice_build_text(json->a, start, ":"), true, false,
                    end_of(json, json->colon));
    }
    return sluice_build_call(json->a, from, json->colon);
}

uint32_t sluice_json_build_edge(sluice_json_rules *json, uint32_t from)
{
    if (json->space != SLUICE_JSON_SPACE_LINES) return from;
    uint32_t start;
    if (open_rule(json, EDGE, NULL, &json->edge, &start)) {
        build_space(json, start, false, true, end_of(json, json->edge));
    }
    return sluice_build_call(json->a, from, json->edge);
}

uint32_t sluice_json_rules_string(sluice_json_rules *json)
{
    uint32_t start;
    if (open_rule(json, STRING, "string", &json->string, &start)) {
        sluice_text_form form = {.quoted = true, .in_call = json->in_call};
        uint32_t inside = sluice_build_text(json->a, start, "\"");
        uint32_t behind = sluice_text_form_any(json->a, form, inside);
        sluice_automaton_empty(json->a, sluice_build_text(json->a, behind, "\""),
                               end_of(json, json->string));
    }
    return json->string;
}

uint32_t sluice_json_build_digits(sluice_automaton *a, uint32_t from, uint32_t min, uint32_t max)
{
    uint32_t end = sluice_automaton_state(a);
    for (uint32_t i = 0; i < max; i++) {
        if (i >= min) sluice_automaton_empty(a, from, end);
        uint32_t next = sluice_automaton_state(a);
        sluice_automaton_bytes(a, from, '0', '9', next);
        from = next;
    }
    sluice_automaton_empty(a, from, end);
    return end;
}

/* An integer with a sign perhaps and no zero in front. */
static uint32_t build_whole(sluice_automaton *a, uint32_t from, uint32_t digits_max)
{
    uint32_t first = sluice_automaton_state(a), behind = sluice_automaton_state(a);
    sluice_automaton_empty(a, from, first);
    sluice_automaton_bytes(a, from, '-', '-', first);
    sluice_automaton_bytes(a, first, '0', '0', behind);
    uint32_t more = sluice_automaton_state(a);
    sluice_automaton_bytes(a, first, '1', '9', more);
    sluice_automaton_empty(a, sluice_json_build_digits(a, more, 0, digits_max - 1), behind);
    return behind;
}

uint32_t sluice_json_rules_integer(sluice_json_rules *json)
{
    uint32_t start;
    if (open_rule(json, INTEGER, "integer", &json->integer, &start)) {
        sluice_automaton_empty(json->a, build_whole(json->a, start, 18),
                               end_of(json, json->integer));
    }
    return json->integer;
}

uint32_t sluice_json_rules_number(sluice_json_rules *json)
{
    sluice_automaton *a = json->a;
    uint32_t start;
    if (!open_rule(json, NUMBER, "number", &json->number, &start)) return json->number;
    uint32_t whole = build_whole(a, start, 15), end = end_of(json, json->number);
    uint32_t fraction = sluice_json_build_digits(a, sluice_build_text(a, whole, "."), 1, 15);
    uint32_t exponent = sluice_automaton_state(a), digits = sluice_automaton_state(a);
    sluice_automaton_empty(a, whole, end);
    sluice_automaton_empty(a, fraction, end);
    for (int i = 0; i < 2; i++) {
        uint32_t from = i ? fraction : whole;
        sluice_automaton_bytes(a, from, 'e', 'e', exponent);
        sluice_automaton_bytes(a, from, 'E', 'E', exponent);
    }
    sluice_automaton_empty(a, exponent, digits);
    sluice_automaton_bytes(a, exponent, '-', '-', digits);
    sluice_automaton_bytes(a, exponent, '+', '+', digits);
    sluice_automaton_empty(a, sluice_json_build_digits(a, digits, 1, 2), end);
    return json->number;
}

/* One item and more of them behind commas, or none: what stands within brackets. */
static void build_list(sluice_json_rules *json, uint32_t from, uint32_t item, const char *close,
                       uint32_t end)
{
    sluice_automaton *a = json->a;
    uint32_t inside = sluice_json_build_edge(json, from), first = sluice_automaton_state(a);
    uint32_t last = sluice_automaton_state(a);
    sluice_automaton_empty(a, inside, last);
    sluice_automaton_empty(a, inside, first);
    uint32_t behind = sluice_build_call(a, first, item);
    sluice_automaton_empty(a, sluice_json_build_comma(json, behind), first);
    sluice_automaton_empty(a, sluice_json_build_edge(json, behind), last);
    sluice_automaton_empty(a, sluice_build_text(a, last, close), end);
}

uint32_t sluice_json_rules_object(sluice_json_rules *json)
{
    sluice_automaton *a = json->a;
    uint32_t start;
    if (!open_rule(json, OBJECT, "object", &json->object, &start)) return json->object;
    uint32_t member = sluice_automaton_state(a);
    uint32_t rule = sluice_automaton_rule(a, NULL, member, sluice_automaton_state(a));
    uint32_t key = sluice_build_call(a, member, sluice_json_rules_string(json));
    uint32_t colon = sluice_json_build_colon(json, key);
    sluice_automaton_empty(a, sluice_build_call(a, colon, sluice_json_rules_value(json)),
                           end_of(json, rule));
    build_list(json, sluice_build_text(a, start, "{"), rule, "}", end_of(json, json->object));
    return json->object;
}

uint32_t sluice_json_rules_array(sluice_json_rules *json)
{
    uint32_t start;
    if (open_rule(json, ARRAY, "array", &json->array, &start)) {
        build_list(json, sluice_build_text(json->a, start, "["), sluice_json_rules_value(json), "]",
                   end_of(json, json->array));
    }
    return json->array;
}

uint32_t sluice_json_rules_value(sluice_json_rules *json)
{
    static const char *const words[] = {"true", "false", "null"};
    uint32_t start;
    if (!open_rule(json, VALUE, "value", &json->value, &start)) return json->value;
    uint32_t end = end_of(json, json->value);
    for (int i = 0; i < 3; i++)
        sluice_automaton_empty(json->a, sluice_build_text(json->a, start, words[i]), end);
    const uint32_t rules[] = {sluice_json_rules_string(json), sluice_json_rules_number(json),
                              sluice_json_rules_array(json), sluice_json_rules_object(json)};
    for (int i = 0; i < 4; i++)
        sluice_automaton_empty(json->a, sluice_build_call(json->a, start, rules[i]), end);
    return json->value;
}
