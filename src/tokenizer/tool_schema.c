/* The tools of a request: see tool_schema.h. */
#include "tokenizer/tool_schema.h"

#include <stdlib.h>

#include "tokenizer/chat_content.h"
#include "tokenizer/json_write.h"

/* Schemas within schemas that are looked at; references may form circles. */
#define SCHEMA_DEPTH_MAX 8

struct sluice_tools {
    sluice_json_document document;
    const sluice_json_value *list; /* array, or NULL */
};

sluice_status sluice_tools_open(const char *json, size_t length, sluice_tools **out,
                                sluice_error *err)
{
    *out = NULL;
    sluice_tools *tools = calloc(1, sizeof *tools);
    if (!tools) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tools");
    sluice_status status =
        sluice_json_parse("the tools", SLUICE_BAD_INPUT, json, length, &tools->document, err);
    if (status != SLUICE_OK) {
        free(tools);
        return status;
    }
    const sluice_json_value *root = tools->document.root;
    const sluice_json_value *list =
        root->kind == SLUICE_JSON_IS_OBJECT ? sluice_json_get(root, "tools") : root;
    if (sluice_json_is(list, SLUICE_JSON_IS_ARRAY)) tools->list = list;
    *out = tools;
    return SLUICE_OK;
}

void sluice_tools_close(sluice_tools *tools)
{
    if (!tools) return;
    sluice_json_document_free(&tools->document);
    free(tools);
}

static unsigned named_type(const sluice_json_value *name)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (sluice_json_is_string(name, names[i])) return 1u << i;
    }
    return 0;
}

static unsigned type_of(const sluice_json_value *value)
{
    switch (value->kind) {
    case SLUICE_JSON_IS_NULL: return SLUICE_TYPE_NULL;
    case SLUICE_JSON_IS_FALSE:
    case SLUICE_JSON_IS_TRUE: return SLUICE_TYPE_BOOLEAN;
    case SLUICE_JSON_IS_NUMBER: return SLUICE_TYPE_NUMBER;
    case SLUICE_JSON_IS_STRING: return SLUICE_TYPE_STRING;
    case SLUICE_JSON_IS_ARRAY: return SLUICE_TYPE_ARRAY;
    default: return SLUICE_TYPE_OBJECT;
    }
}

/* What "#/$defs/NAME" or "#/definitions/NAME" refers to within the function's parameters. */
static const sluice_json_value *resolve(const sluice_json_value *root,
                                        const sluice_json_value *reference)
{
    static const char *const tables[] = {"$defs", "definitions"};
    if (!sluice_json_is(reference, SLUICE_JSON_IS_STRING)) return NULL;
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(tables[i]);
        if (reference->length < length + 3 || memcmp(reference->text, "#/", 2) != 0) continue;
        if (memcmp(reference->text + 2, tables[i], length) != 0) continue;
        if (reference->text[length + 2] != '/') continue;
        return sluice_json_get_bytes(sluice_json_get(root, tables[i]), reference->text + length + 3,
                                     reference->length - length - 3);
    }
    return NULL;
}

static unsigned schema_types(const sluice_json_value *root, const sluice_json_value *schema,
                             int depth);

/* The union over alternatives; one that does not say allows anything. */
static unsigned alternatives(const sluice_json_value *root, const sluice_json_value *list,
                             int depth)
{
    unsigned types = 0;
    if (!sluice_json_is(list, SLUICE_JSON_IS_ARRAY)) return 0;
    for (const sluice_json_value *at = list->first; at; at = at->next) {
        unsigned more = schema_types(root, at, depth);
        if (!more) return 0;
        types |= more;
    }
    return types;
}

static unsigned schema_types(const sluice_json_value *root, const sluice_json_value *schema,
                             int depth)
{
    if (!sluice_json_is(schema, SLUICE_JSON_IS_OBJECT) || depth == SCHEMA_DEPTH_MAX) return 0;
    const sluice_json_value *type = sluice_json_get(schema, "type");
    unsigned types = named_type(type);
    if (sluice_json_is(type, SLUICE_JSON_IS_ARRAY)) {
        for (const sluice_json_value *at = type->first; at; at = at->next)
            types |= named_type(at);
    }
    if (types) return types;
    static const char *const lists[] = {"anyOf", "oneOf"};
    for (size_t i = 0; i < 2; i++) {
        const sluice_json_value *list = sluice_json_get(schema, lists[i]);
        if (list) return alternatives(root, list, depth + 1);
    }
    /* All of them hold, so the first that says something says enough. */
    const sluice_json_value *all = sluice_json_get(schema, "allOf");
    if (sluice_json_is(all, SLUICE_JSON_IS_ARRAY)) {
        for (const sluice_json_value *at = all->first; at && !types; at = at->next) {
            types = schema_types(root, at, depth + 1);
        }
        return types;
    }
    const sluice_json_value *values = sluice_json_get(schema, "enum");
    if (sluice_json_is(values, SLUICE_JSON_IS_ARRAY)) {
        for (const sluice_json_value *at = values->first; at; at = at->next)
            types |= type_of(at);
        return types;
    }
    const sluice_json_value *constant = sluice_json_get(schema, "const");
    if (constant) return type_of(constant);
    if (sluice_json_get(schema, "properties")) return SLUICE_TYPE_OBJECT;
    if (sluice_json_get(schema, "items")) return SLUICE_TYPE_ARRAY;
    return schema_types(root, resolve(root, sluice_json_get(schema, "$ref")), depth + 1);
}

unsigned sluice_tools_types(const sluice_tools *tools, const char *function, size_t function_length,
                            const char *parameter, size_t parameter_length)
{
    if (!tools || !tools->list) return 0;
    for (const sluice_json_value *at = tools->list->first; at; at = at->next) {
        const sluice_json_value *inner = sluice_json_get(at, "function");
        const sluice_json_value *tool = inner ? inner : at;
        const sluice_json_value *name = sluice_json_get(tool, "name");
        if (!sluice_json_is(name, SLUICE_JSON_IS_STRING) || name->length != function_length ||
            memcmp(name->text, function, function_length) != 0) {
            continue;
        }
        const sluice_json_value *root = sluice_json_get(tool, "parameters");
        const sluice_json_value *schema =
            sluice_json_get_bytes(sluice_json_get(root, "properties"), parameter, parameter_length);
        return schema_types(root, schema, 0);
    }
    return 0;
}

static bool is_text(const char *text, size_t begin, size_t end, const char *word)
{
    return end - begin == strlen(word) && memcmp(text + begin, word, end - begin) == 0;
}

/* What Python's str writes for null and booleans, and what JSON does. */
static const char *find_word(unsigned types, const char *text, size_t begin, size_t end)
{
    if (types & SLUICE_TYPE_NULL) {
        if (is_text(text, begin, end, "None") || is_text(text, begin, end, "null")) return "null";
    }
    if (types & SLUICE_TYPE_BOOLEAN) {
        if (is_text(text, begin, end, "True") || is_text(text, begin, end, "true")) return "true";
        if (is_text(text, begin, end, "False") || is_text(text, begin, end, "false")) {
            return "false";
        }
    }
    return NULL;
}

void sluice_tool_value_write(sluice_text_buffer *to, unsigned types, const char *text,
                             size_t length)
{
    size_t begin = 0, end = length;
    sluice_chat_trim(text, &begin, &end);
    const char *word = find_word(types, text, begin, end);
    if (word) {
        sluice_text_buffer_append_string(to, word);
        return;
    }
    sluice_json_document document = {0};
    if (types & SLUICE_TYPE_INTEGER) types |= SLUICE_TYPE_NUMBER;
    unsigned allowed = types ? types & ~(unsigned)SLUICE_TYPE_STRING : ~0u;
    bool parsed = allowed && sluice_json_parse("a value", SLUICE_BAD_INPUT, text + begin,
                                               end - begin, &document, NULL) == SLUICE_OK;
    if (parsed && document.root->kind != SLUICE_JSON_IS_STRING &&
        type_of(document.root) & allowed) {
        sluice_json_write(to, document.root, SLUICE_JSON_NUMBERS_KEPT);
    } else {
        sluice_json_write_string(to, text, length);
    }
    sluice_json_document_free(&document);
}
