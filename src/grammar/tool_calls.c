/* Tool calls: the XML form that the template renders and the reader of replies reads.
 *
 *     <tool_call>
 *     <function=NAME>
 *     <parameter=P>
 *     VALUE
 *     </parameter>
 *     </function>
 *     </tool_call>
 *
 * Parameters come in the order in which the tool declares them, each at most once and the required
 * ones always. A string is its bare text; everything else is JSON. What is written between the tags
 * is exactly what the template writes, so that a call read back and rendered again is the same. */
#include "grammar/tool_calls.h"

#include <stdio.h>

#include "grammar/schema_object.h"

#define TOOLS_MAX 1024

const sluice_json_value *sluice_tool_list(const sluice_json_value *root)
{
    const sluice_json_value *list =
        root->kind == SLUICE_JSON_IS_OBJECT ? sluice_json_get(root, "tools") : root;
    return sluice_json_is(list, SLUICE_JSON_IS_ARRAY) && list->count ? list : NULL;
}

void sluice_text_until_build(sluice_automaton *a, uint32_t from, const char *tag, uint32_t *text,
                             uint32_t *behind)
{
    size_t length = strlen(tag);
    uint32_t first = sluice_automaton_state(a), state = first, second = 0;
    *text = sluice_automaton_state(a);
    *behind = sluice_automaton_state(a);
    sluice_automaton_empty(a, from, first);
    for (size_t i = 0; i < length; i++) {
        /* Bytes go on with the tag, begin it anew, or lead back. */
        unsigned next = (uint8_t)tag[i], low = '<' < next ? '<' : next,
                 high = '<' < next ? next : '<';
        uint32_t to = sluice_automaton_state(a);
        sluice_automaton_bytes(a, state, 0, low - 1, first);
        if (high > low + 1) sluice_automaton_bytes(a, state, low + 1, high - 1, first);
        sluice_automaton_bytes(a, state, high + 1, 255, first);
        sluice_automaton_bytes(a, state, next, next, i + 1 < length ? to : *behind);
        if (i == 0) second = to;
        if (i > 0) sluice_automaton_bytes(a, state, '<', '<', second);
        sluice_automaton_tag(a, state, tag, length, *behind);
        sluice_automaton_empty(a, state, *text);
        state = to;
    }
}

/* A function or parameter name must be what the reader of replies finds again. */
static sluice_status check_name(sluice_schema_builder *b, const char *name, size_t length)
{
    bool good = length > 0 && length <= 1024;
    for (size_t i = 0; i < length && good; i++)
        good = (unsigned char)name[i] >= 0x20 && name[i] != '<' && name[i] != '>';
    if (good) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                "a name that is empty, too long or has '<', '>' or control "
                                "characters");
}

static sluice_status build_parameter(sluice_schema_builder *b,
                                     const sluice_schema_property *property, uint32_t from,
                                     uint32_t *to)
{
    SLUICE_TRY(check_name(b, property->name, property->length));
    uint32_t name = sluice_build_text(b->a, from, "<parameter="), value;
    name = sluice_build_literal(b->a, name, property->name, property->length);
    SLUICE_TRY(sluice_schema_property_build(b, property, SLUICE_SCHEMA_TEXT,
                                            sluice_build_text(b->a, name, ">\n"), &value));
    *to = sluice_build_text(b->a, value, "\n" SLUICE_PARAMETER_END "\n");
    return SLUICE_OK;
}

static sluice_status check_parameters(sluice_schema_builder *b, const sluice_json_value *schema)
{
    static const char *const allowed[] = {
        "type",        "properties", "required",    "$defs",   "additionalProperties",
        "definitions", "title",      "description", "default", "examples",
        "$schema",     "$id",        "$comment"};
    if (schema->kind != SLUICE_JSON_IS_OBJECT) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "the parameters are no schema");
    }
    const sluice_json_value *type = sluice_json_get(schema, "type");
    if (type && !sluice_json_is_string(type, "object")) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "the parameters are no object");
    }
    for (const sluice_json_value *at = schema->first; at; at = at->next) {
        size_t i = 0, count = sizeof allowed / sizeof *allowed;
        while (i < count && (strlen(allowed[i]) != at->key_length ||
                             memcmp(allowed[i], at->key, at->key_length) != 0))
            i++;
        if (i < count) continue;
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%.*s is not supported for parameters",
                                    (int)(at->key_length < 64 ? at->key_length : 64), at->key);
    }
    return SLUICE_OK;
}

static sluice_status build_parameters(sluice_schema_builder *b, const sluice_json_value *schema,
                                      uint32_t from, uint32_t *to)
{
    sluice_schema_members members = {0};
    sluice_status status = check_parameters(b, schema);
    if (status == SLUICE_OK) status = sluice_schema_members_read(b, schema, &members);
    if (status == SLUICE_OK) status = sluice_schema_members_require(b, schema, &members);
    for (size_t i = 0; i < members.count && status == SLUICE_OK; i++) {
        uint32_t behind = sluice_automaton_state(b->a), end;
        status = build_parameter(b, &members.properties[i], from, &end);
        if (status != SLUICE_OK) break;
        sluice_automaton_empty(b->a, end, behind);
        if (!members.properties[i].required) sluice_automaton_empty(b->a, from, behind);
        from = behind;
    }
    sluice_schema_members_free(&members);
    *to = from;
    return status;
}

static sluice_status build_function(sluice_schema_builder *b, const sluice_json_value *tool,
                                    uint32_t from, uint32_t to)
{
    const sluice_json_value *name = sluice_json_get(tool, "name");
    if (!sluice_json_is(name, SLUICE_JSON_IS_STRING)) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "a tool without a name");
    }
    SLUICE_TRY(check_name(b, name->text, name->length));
    uint32_t state = sluice_build_text(b->a, from, "<function=");
    state = sluice_build_literal(b->a, state, name->text, name->length);
    state = sluice_build_text(b->a, state, ">\n");
    const sluice_json_value *parameters = sluice_json_get(tool, "parameters");
    if (parameters && parameters->kind != SLUICE_JSON_IS_NULL) {
        size_t mark = sluice_schema_enter(b, "parameters", NULL, 0);
        b->root = parameters;
        b->root_path = b->path.length;
        SLUICE_TRY(build_parameters(b, parameters, state, &state));
        sluice_schema_leave(b, mark);
    }
    sluice_automaton_empty(b->a, sluice_build_text(b->a, state, "</function>"), to);
    return SLUICE_OK;
}

/* Whether a tool before this one has its name: the reader of replies takes the first. */
static bool is_shadowed(const sluice_json_value *list, const sluice_json_value *tool,
                        const sluice_json_value *name)
{
    for (const sluice_json_value *at = list->first; at != tool; at = at->next) {
        const sluice_json_value *inner = sluice_json_get(at, "function");
        const sluice_json_value *other = sluice_json_get(inner ? inner : at, "name");
        if (sluice_json_is(other, SLUICE_JSON_IS_STRING) && other->length == name->length &&
            memcmp(other->text, name->text, name->length) == 0) {
            return true;
        }
    }
    return false;
}

static sluice_status build_tool(sluice_automaton *a, sluice_json_rules *json,
                                const sluice_json_value *list, const sluice_json_value *tool,
                                size_t index, uint32_t from, uint32_t to, sluice_error *err)
{
    const sluice_json_value *inner = sluice_json_get(tool, "function");
    const sluice_json_value *function = inner ? inner : tool;
    const sluice_json_value *name = sluice_json_get(function, "name");
    char path[48];
    snprintf(path, sizeof path, "/%zu%s", index, inner ? "/function" : "");
    sluice_schema_builder b;
    sluice_schema_begin(&b, json, function, "the tools", path, err);
    b.a = a;
    sluice_status status = SLUICE_OK;
    if (sluice_json_is(name, SLUICE_JSON_IS_STRING) && is_shadowed(list, tool, name)) {
        status = sluice_schema_refuse(&b, SLUICE_BAD_INPUT, "a second tool of the same name");
    }
    if (status == SLUICE_OK) status = build_function(&b, function, from, to);
    sluice_schema_end(&b);
    return status;
}

static sluice_status build_tools(sluice_automaton *a, sluice_json_rules *json,
                                 const sluice_json_value *list, const char *name, uint32_t from,
                                 uint32_t to, sluice_error *err)
{
    size_t index = 0, built = 0;
    if (list->count > TOOLS_MAX) {
        return sluice_fail(err, SLUICE_LIMIT, "the tools are more than %d", TOOLS_MAX);
    }
    for (const sluice_json_value *at = list->first; at; at = at->next, index++) {
        const sluice_json_value *inner = sluice_json_get(at, "function");
        if (name && !sluice_json_is_string(sluice_json_get(inner ? inner : at, "name"), name)) {
            continue;
        }
        SLUICE_TRY(build_tool(a, json, list, at, index, from, to, err));
        built++;
    }
    if (built) return SLUICE_OK;
    return sluice_fail(err, SLUICE_BAD_INPUT, "the tools have none called %s", name ? name : "");
}

sluice_status sluice_tool_calls_build(sluice_automaton *a, sluice_json_rules *json,
                                      const sluice_json_value *list, const char *name, bool single,
                                      uint32_t from, uint32_t *to, sluice_error *err)
{
    static const char open[] = "<tool_call>", close[] = "</tool_call>";
    uint32_t end = sluice_automaton_state(a);
    uint32_t inside = sluice_build_text(a, from, "\n");
    SLUICE_TRY(build_tools(a, json, list, name, inside, end, err));
    uint32_t behind = sluice_build_tag(a, sluice_build_text(a, end, "\n"), close, sizeof close - 1);
    *to = sluice_automaton_state(a);
    sluice_automaton_empty(a, behind, *to);
    if (!single) {
        uint32_t line = sluice_build_text(a, behind, "\n");
        sluice_automaton_empty(a, sluice_build_tag(a, line, open, sizeof open - 1), from);
    }
    return SLUICE_OK;
}
