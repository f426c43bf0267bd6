/* Arrays of a schema: items that stand at the front, items behind them, how many of them. */
#include "grammar/schema.h"

typedef struct list {
    const sluice_json_value *prefix; /* schemas of the first items, or NULL */
    const sluice_json_value *items;  /* schema of the others; NULL: any */
    bool more;                       /* others may come */
    uint32_t min, max;
} list;

static sluice_status read_array(sluice_schema_builder *b, const sluice_json_value *schema,
                                list *out)
{
    *out = (list){.prefix = sluice_json_get(schema, "prefixItems"),
                  .items = sluice_json_get(schema, "items")};
    if (out->prefix && out->prefix->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "prefixItems is no array");
    }
    if (sluice_json_is(out->items, SLUICE_JSON_IS_ARRAY)) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "items as an array is not supported: call it prefixItems");
    }
    out->more = out->items ? out->items->kind != SLUICE_JSON_IS_FALSE : !out->prefix;
    SLUICE_TRY(sluice_schema_count(b, schema, "minItems", 0, &out->min));
    SLUICE_TRY(sluice_schema_count(b, schema, "maxItems", UINT32_MAX, &out->max));
    uint32_t front = out->prefix ? (uint32_t)out->prefix->count : 0;
    if (!out->more && out->max > front) out->max = front;
    if (out->max >= out->min) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "more items are asked for than allowed");
}

/* An item behind the front ones, as a rule. */
static sluice_status build_item(sluice_schema_builder *b, const list *array, uint32_t *rule)
{
    if (!array->items) {
        *rule = sluice_json_rules_value(b->json);
        return SLUICE_OK;
    }
    uint32_t start = sluice_automaton_state(b->a), end;
    size_t mark = sluice_schema_enter(b, "items", NULL, 0);
    SLUICE_TRY(sluice_schema_build(b, array->items, SLUICE_SCHEMA_JSON, start, &end));
    sluice_schema_leave(b, mark);
    *rule = sluice_automaton_rule(b->a, NULL, start, end);
    return SLUICE_OK;
}

/* The items at the front; ends are where the array may end, without items and with some. *count
 * receives how many of them there can be. */
static sluice_status build_front(sluice_schema_builder *b, const list *array, uint32_t *state,
                                 const uint32_t ends[2], uint32_t *count)
{
    const sluice_json_value *at = array->prefix ? array->prefix->first : NULL;
    for (*count = 0; at && *count < array->max; at = at->next) {
        char digits[16];
        size_t length = 0;
        for (uint32_t rest = *count, unit = 100000; unit; rest %= unit, unit /= 10)
            if (length || rest >= unit || unit == 1) digits[length++] = (char)('0' + rest / unit);
        if (*count >= array->min) sluice_automaton_empty(b->a, *state, ends[*count > 0]);
        uint32_t start = *count ? sluice_json_build_comma(b->json, *state) : *state;
        size_t mark = sluice_schema_enter(b, "prefixItems", digits, length);
        SLUICE_TRY(sluice_schema_build(b, at, SLUICE_SCHEMA_JSON, start, state));
        sluice_schema_leave(b, mark);
        ++*count;
    }
    return SLUICE_OK;
}

/* The items behind count others. */
static sluice_status build_rest(sluice_schema_builder *b, const list *array, uint32_t count,
                                uint32_t *state, const uint32_t ends[2])
{
    uint32_t item;
    SLUICE_TRY(build_item(b, array, &item));
    if (count == 0) {
        if (array->min == 0) sluice_automaton_empty(b->a, *state, ends[0]);
        *state = sluice_build_call(b->a, *state, item);
        count = 1;
    }
    uint32_t start = sluice_automaton_state(b->a);
    uint32_t end = sluice_build_call(b->a, sluice_json_build_comma(b->json, start), item);
    uint32_t rule = sluice_automaton_rule(b->a, NULL, start, end);
    uint32_t min = array->min > count ? array->min - count : 0;
    uint32_t max = array->max == UINT32_MAX ? UINT32_MAX : array->max - count;
    *state = sluice_build_repeat(b->a, *state, rule, min, max);
    return SLUICE_OK;
}

sluice_status sluice_schema_array(sluice_schema_builder *b, const sluice_json_value *schema,
                                  uint32_t from, uint32_t *to)
{
    list array;
    uint32_t count;
    SLUICE_TRY(read_array(b, schema, &array));
    uint32_t state = sluice_json_build_edge(b->json, sluice_build_text(b->a, from, "["));
    /* Where an array without items ends, and one with some. */
    const uint32_t ends[] = {sluice_automaton_state(b->a), sluice_automaton_state(b->a)};
    SLUICE_TRY(build_front(b, &array, &state, ends, &count));
    if (array.more && count < array.max) {
        SLUICE_TRY(build_rest(b, &array, count, &state, ends));
        count = 1;
    }
    sluice_automaton_empty(b->a, state, ends[count > 0]);
    sluice_automaton_empty(b->a, sluice_json_build_edge(b->json, ends[1]), ends[0]);
    *to = sluice_build_text(b->a, ends[0], "]");
    return SLUICE_OK;
}
