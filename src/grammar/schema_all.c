/* allOf: objects whose properties are taken together.
 *
 * Parts may be references, and have an allOf themselves. They may say type object, properties and
 * required; what the whole says beside allOf counts as a part. */
#include "grammar/schema_object.h"

#define PARTS_MAX 256

typedef struct walk {
    sluice_schema_builder *b;
    sluice_schema_members *members;
    bool requires; /* second round: all properties are known */
    unsigned parts, depth;
} walk;

static sluice_status check_part(sluice_schema_builder *b, const sluice_json_value *part)
{
    static const char *const allowed[] = {
        "type",        "properties",  "required", "allOf",    "$ref",
        "title",       "description", "default",  "examples", "$defs",
        "definitions", "$schema",     "$id",      "$comment", "additionalProperties"};
    if (part->kind != SLUICE_JSON_IS_OBJECT) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "a part of allOf that is no object");
    }
    for (const sluice_json_value *at = part->first; at; at = at->next) {
        size_t i = 0, count = sizeof allowed / sizeof *allowed;
        while (i < count && (strlen(allowed[i]) != at->key_length ||
                             memcmp(allowed[i], at->key, at->key_length) != 0))
            i++;
        if (i < count) continue;
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%.*s in a part of allOf",
                                    (int)(at->key_length < 64 ? at->key_length : 64), at->key);
    }
    const sluice_json_value *type = sluice_json_get(part, "type");
    if (type && !sluice_json_is_string(type, "object")) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "allOf is supported for objects, and for a single part");
    }
    const sluice_json_value *additional = sluice_json_get(part, "additionalProperties");
    if (!additional || additional->kind == SLUICE_JSON_IS_TRUE) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                "additionalProperties in a part of allOf is not supported");
}

static sluice_status visit(walk *w, const sluice_json_value *part)
{
    sluice_schema_builder *b = w->b;
    if (++w->parts > PARTS_MAX || w->depth > 32) {
        return sluice_schema_refuse(b, SLUICE_LIMIT, "too many parts of allOf");
    }
    SLUICE_TRY(check_part(b, part));
    w->depth++;
    const sluice_json_value *reference = sluice_json_get(part, "$ref");
    const sluice_json_value *all = sluice_json_get(part, "allOf");
    if (reference) {
        const sluice_json_value *target;
        SLUICE_TRY(sluice_schema_resolve(b, reference, &target));
        SLUICE_TRY(visit(w, target));
    }
    if (all && all->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "allOf is no array");
    }
    for (const sluice_json_value *at = all ? all->first : NULL; at; at = at->next)
        SLUICE_TRY(visit(w, at));
    w->depth--;
    if (w->requires) return sluice_schema_members_require(b, part, w->members);
    SLUICE_TRY(sluice_schema_members_read(b, part, w->members));
    return SLUICE_OK;
}

sluice_status sluice_schema_all(sluice_schema_builder *b, const sluice_json_value *schema,
                                uint32_t from, uint32_t *to)
{
    sluice_schema_members members = {0};
    walk w = {.b = b, .members = &members};
    sluice_status status = visit(&w, schema);
    w.requires = true;
    w.parts = 0;
    if (status == SLUICE_OK) status = visit(&w, schema);
    if (status == SLUICE_OK) status = sluice_schema_members_build(b, &members, from, to);
    sluice_schema_members_free(&members);
    return status;
}
