/* Objects of a schema: properties in the order of their declaration, then others where the schema
 * allows them.
 *
 * Where additionalProperties is missing an object with properties has those only: what a model
 * makes up beside them is of no use to whoever wrote the schema. */
#include "grammar/schema_object.h"

#include <stdlib.h>

#include "tokenizer/json_write.h"

/* Properties of an object at most: each costs a look at all the others. */
#define PROPERTIES_MAX 2048

void sluice_schema_members_free(sluice_schema_members *members)
{
    for (size_t i = 0; i < members->count; i++)
        free(members->properties[i].path);
    free(members->properties);
    *members = (sluice_schema_members){0};
}

static sluice_schema_property *find_property(const sluice_schema_members *members, const char *name,
                                             size_t length)
{
    for (size_t i = 0; i < members->count; i++) {
        sluice_schema_property *property = &members->properties[i];
        if (property->length == length && memcmp(property->name, name, length) == 0)
            return property;
    }
    return NULL;
}

static sluice_status add_property(sluice_schema_builder *b, sluice_schema_members *members,
                                  const char *name, size_t length, const sluice_json_value *schema)
{
    if (members->count == PROPERTIES_MAX) {
        return sluice_schema_refuse(b, SLUICE_LIMIT, "more than %d properties", PROPERTIES_MAX);
    }
    if (members->count == members->capacity) {
        size_t capacity = members->capacity ? members->capacity * 2 : 16;
        sluice_schema_property *grown =
            realloc(members->properties, capacity * sizeof *members->properties);
        if (!grown) return sluice_schema_refuse(b, SLUICE_NO_MEMORY, "no memory");
        members->properties = grown;
        members->capacity = capacity;
    }
    size_t mark = sluice_schema_enter(b, "properties", name, length);
    char *path = b->path.failed ? NULL : strndup(b->path.bytes, b->path.length);
    sluice_schema_leave(b, mark);
    if (!path) return sluice_schema_refuse(b, SLUICE_NO_MEMORY, "no memory");
    members->properties[members->count++] =
        (sluice_schema_property){.name = name, .length = length, .schema = schema, .path = path};
    return SLUICE_OK;
}

sluice_status sluice_schema_members_read(sluice_schema_builder *b, const sluice_json_value *schema,
                                         sluice_schema_members *members)
{
    const sluice_json_value *properties = sluice_json_get(schema, "properties");
    const sluice_json_value *additional = sluice_json_get(schema, "additionalProperties");
    if (properties && properties->kind != SLUICE_JSON_IS_OBJECT) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "properties is no object");
    }
    for (const sluice_json_value *at = properties ? properties->first : NULL; at; at = at->next) {
        if (find_property(members, at->key, at->key_length)) {
            return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                        "%.*s is a property in several parts of allOf",
                                        (int)(at->key_length < 64 ? at->key_length : 64), at->key);
        }
        SLUICE_TRY(add_property(b, members, at->key, at->key_length, at));
    }
    if (!additional) return SLUICE_OK;
    members->is_given = true;
    members->open = additional->kind != SLUICE_JSON_IS_FALSE;
    if (additional->kind == SLUICE_JSON_IS_OBJECT) members->additional = additional;
    if (members->additional || additional->kind <= SLUICE_JSON_IS_TRUE) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "additionalProperties is no schema");
}

sluice_status sluice_schema_members_require(sluice_schema_builder *b,
                                            const sluice_json_value *schema,
                                            sluice_schema_members *members)
{
    const sluice_json_value *required = sluice_json_get(schema, "required");
    if (!required) return SLUICE_OK;
    if (required->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "required is no array");
    }
    for (const sluice_json_value *at = required->first; at; at = at->next) {
        if (at->kind != SLUICE_JSON_IS_STRING) {
            return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "required holds what is no string");
        }
        sluice_schema_property *property = find_property(members, at->text, at->length);
        if (!property && members->is_given && !members->open) {
            return sluice_schema_refuse(b, SLUICE_BAD_INPUT,
                                        "%.*s is required but not among the properties",
                                        (int)(at->length < 64 ? at->length : 64), at->text);
        }
        if (!property) {
            SLUICE_TRY(add_property(b, members, at->text, at->length, members->additional));
            property = &members->properties[members->count - 1];
        }
        property->required = true;
    }
    return SLUICE_OK;
}

sluice_status sluice_schema_property_build(sluice_schema_builder *b,
                                           const sluice_schema_property *property,
                                           sluice_schema_form form, uint32_t from, uint32_t *to)
{
    static const sluice_json_value any = {.kind = SLUICE_JSON_IS_TRUE};
    sluice_text_buffer before = b->path;
    b->path = (sluice_text_buffer){0};
    sluice_text_buffer_append_string(&b->path, property->path);
    const sluice_json_value *schema = property->schema ? property->schema : &any;
    sluice_status status = sluice_schema_build(b, schema, form, from, to);
    sluice_text_buffer_free(&b->path);
    b->path = before;
    return status;
}

static sluice_status build_property(sluice_schema_builder *b,
                                    const sluice_schema_property *property, uint32_t from,
                                    uint32_t *to)
{
    sluice_text_buffer key = {0};
    sluice_json_write_string(&key, property->name, property->length);
    if (key.failed) return sluice_schema_refuse(b, SLUICE_NO_MEMORY, "no memory");
    uint32_t state = sluice_build_literal(b->a, from, key.bytes, key.length);
    sluice_text_buffer_free(&key);
    return sluice_schema_property_build(b, property, SLUICE_SCHEMA_JSON,
                                        sluice_json_build_colon(b->json, state), to);
}

/* Members that the schema does not name, behind those that it does: none and some lead to where the
 * object may end. */
static sluice_status build_others(sluice_schema_builder *b, const sluice_schema_members *members,
                                  uint32_t none, uint32_t some)
{
    uint32_t start = sluice_automaton_state(b->a), end;
    uint32_t colon = sluice_json_build_colon(b->json, sluice_schema_key_build(b, members, start));
    if (members->additional) {
        size_t mark = sluice_schema_enter(b, "additionalProperties", NULL, 0);
        SLUICE_TRY(sluice_schema_build(b, members->additional, SLUICE_SCHEMA_JSON, colon, &end));
        sluice_schema_leave(b, mark);
    } else {
        end = sluice_build_call(b->a, colon, sluice_json_rules_value(b->json));
    }
    sluice_automaton_empty(b->a, none, start);
    sluice_automaton_empty(b->a, sluice_json_build_comma(b->json, some), start);
    sluice_automaton_empty(b->a, end, some);
    return SLUICE_OK;
}

sluice_status sluice_schema_members_build(sluice_schema_builder *b,
                                          const sluice_schema_members *members, uint32_t from,
                                          uint32_t *to)
{
    uint32_t inside = sluice_json_build_edge(b->json, sluice_build_text(b->a, from, "{"));
    /* Before each property: nothing has been written yet, or something has. */
    uint32_t none = sluice_automaton_state(b->a), some = sluice_automaton_state(b->a);
    sluice_automaton_empty(b->a, inside, none);
    for (size_t i = 0; i < members->count; i++) {
        const sluice_schema_property *property = &members->properties[i];
        uint32_t next_none = sluice_automaton_state(b->a), next_some = sluice_automaton_state(b->a);
        uint32_t start = sluice_automaton_state(b->a), end;
        sluice_automaton_empty(b->a, none, start);
        sluice_automaton_empty(b->a, sluice_json_build_comma(b->json, some), start);
        SLUICE_TRY(build_property(b, property, start, &end));
        sluice_automaton_empty(b->a, end, next_some);
        if (!property->required) {
            sluice_automaton_empty(b->a, none, next_none);
            sluice_automaton_empty(b->a, some, next_some);
        }
        none = next_none;
        some = next_some;
    }
    if (members->open) SLUICE_TRY(build_others(b, members, none, some));
    uint32_t last = sluice_automaton_state(b->a);
    sluice_automaton_empty(b->a, none, last);
    sluice_automaton_empty(b->a, sluice_json_build_edge(b->json, some), last);
    *to = sluice_build_text(b->a, last, "}");
    return SLUICE_OK;
}

sluice_status sluice_schema_object(sluice_schema_builder *b, const sluice_json_value *schema,
                                   uint32_t from, uint32_t *to)
{
    sluice_schema_members members = {0};
    sluice_status status = sluice_schema_members_read(b, schema, &members);
    if (!members.is_given && !sluice_json_get(schema, "properties")) members.open = true;
    if (status == SLUICE_OK) status = sluice_schema_members_require(b, schema, &members);
    if (status == SLUICE_OK && members.open && !members.count && !members.additional) {
        *to = sluice_build_call(b->a, from, sluice_json_rules_object(b->json));
    } else if (status == SLUICE_OK) {
        status = sluice_schema_members_build(b, &members, from, to);
    }
    sluice_schema_members_free(&members);
    return status;
}
