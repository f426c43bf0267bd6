/* A validator of JSON schemas for tests: written apart from the grammars, over jansson's trees. It
 * knows what the random schemas of the tests are made of, and nothing is ignored: an unknown
 * keyword fails the test. */
#ifndef SLUICE_TESTS_GRAMMAR_VALIDATE_H
#define SLUICE_TESTS_GRAMMAR_VALIDATE_H

#include "text_cases.h"

static inline bool validate(const json_t *root, const json_t *schema, const json_t *value);

static inline bool validate_type(const char *type, const json_t *value)
{
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "integer") == 0) return json_is_integer(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    if (strcmp(type, "null") == 0) return json_is_null(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    return strcmp(type, "object") == 0 && json_is_object(value);
}

static inline bool validate_types(const json_t *types, const json_t *value)
{
    if (json_is_string(types)) return validate_type(json_string_value(types), value);
    bool any = false;
    for (size_t i = 0; i < json_array_size(types); i++)
        any |= validate_type(json_string_value(json_array_get(types, i)), value);
    return any;
}

static inline size_t validate_length(const json_t *string)
{
    size_t count = 0;
    for (const char *c = json_string_value(string); *c; c++)
        count += (*c & 0xC0) != 0x80;
    return count;
}

static inline bool validate_any(const json_t *root, const json_t *list, const json_t *value)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(list); i++)
        any |= validate(root, json_array_get(list, i), value);
    return any;
}

static inline bool validate_all(const json_t *root, const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!validate(root, json_array_get(list, i), value)) return false;
    return true;
}

static inline bool validate_enum(const json_t *list, const json_t *value)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(list); i++)
        any |= json_equal(json_array_get(list, i), value);
    return any;
}

static inline bool validate_object(const json_t *root, const json_t *schema, const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *key;
    json_t *member;
    for (size_t i = 0; i < json_array_size(required); i++) {
        if (!json_object_get(value, json_string_value(json_array_get(required, i)))) return false;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        const json_t *own = json_object_get(properties, key);
        if (own && !validate(root, own, member)) return false;
        if (own || !more || json_is_true(more)) continue;
        if (json_is_false(more) || !validate(root, more, member)) return false;
    }
    return true;
}

static inline bool validate_array(const json_t *root, const json_t *schema, const json_t *value)
{
    const json_t *prefix = json_object_get(schema, "prefixItems");
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (own && !validate(root, own, json_array_get(value, i))) return false;
    }
    return true;
}

/* One keyword other than those of objects and arrays. */
static inline bool validate_keyword(const json_t *root, const char *key, const json_t *limit,
                                    const json_t *value)
{
    double bound = json_is_number(limit) ? json_number_value(limit) : 0;
    double number = json_is_number(value) ? json_number_value(value) : 0;
    size_t count = json_array_size(value);
    if (strcmp(key, "type") == 0) return validate_types(limit, value);
    if (strcmp(key, "enum") == 0) return validate_enum(limit, value);
    if (strcmp(key, "const") == 0) return json_equal(limit, value);
    if (strcmp(key, "anyOf") == 0 || strcmp(key, "oneOf") == 0) {
        return validate_any(root, limit, value);
    }
    if (strcmp(key, "allOf") == 0) return validate_all(root, limit, value);
    if (strcmp(key, "$ref") == 0) {
        const char *name = json_string_value(limit);
        if (strcmp(name, "#") == 0) return validate(root, root, value);
        assert_int_equal(strncmp(name, "#/$defs/", 8), 0);
        return validate(root, json_object_get(json_object_get(root, "$defs"), name + 8), value);
    }
    if (strcmp(key, "minimum") == 0) return !json_is_number(value) || number >= bound;
    if (strcmp(key, "maximum") == 0) return !json_is_number(value) || number <= bound;
    if (strcmp(key, "minItems") == 0) return !json_is_array(value) || (double)count >= bound;
    if (strcmp(key, "maxItems") == 0) return !json_is_array(value) || (double)count <= bound;
    if (strcmp(key, "minLength") == 0) {
        return !json_is_string(value) || (double)validate_length(value) >= bound;
    }
    if (strcmp(key, "maxLength") == 0) {
        return !json_is_string(value) || (double)validate_length(value) <= bound;
    }
    static const char *const others[] = {"properties",  "required", "additionalProperties", "items",
                                         "prefixItems", "$defs",    "description"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(key, others[i]) == 0) return true;
    fail_msg("the validator does not know %s", key);
    return false;
}

static inline bool validate(const json_t *root, const json_t *schema, const json_t *value)
{
    const char *key;
    json_t *limit;
    if (json_is_boolean(schema)) return json_is_true(schema);
    json_object_foreach((json_t *)(uintptr_t)schema, key, limit)
    {
        if (!validate_keyword(root, key, limit, value)) return false;
    }
    if (json_is_object(value)) return validate_object(root, schema, value);
    return !json_is_array(value) || validate_array(root, schema, value);
}

#endif
