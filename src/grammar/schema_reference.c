/* "$ref": where a reference leads, and its target as a rule.
 *
 * A target is built once for each form in which values are written, under its own path, so that
 * schemas may refer to themselves and errors name the place where the words stand. */
#include <stdio.h>
#include <stdlib.h>

#include "grammar/schema.h"

struct sluice_schema_reference {
    const sluice_json_value *target;
    sluice_schema_form form;
    uint32_t rule;
    sluice_schema_reference *next;
};

void sluice_schema_end(sluice_schema_builder *b)
{
    while (b->references) {
        sluice_schema_reference *next = b->references->next;
        free(b->references);
        b->references = next;
    }
    sluice_text_buffer_free(&b->path);
}

/* One step of a JSON pointer, unescaped into name; the pointer moves behind it. */
static bool next_step(const char **at, const char *end, sluice_text_buffer *name)
{
    name->length = 0;
    if (*at == end || **at != '/') return false;
    for (++*at; *at < end && **at != '/'; ++*at) {
        char c = **at;
        if (c == '%') return false;
        if (c == '~') {
            if (++*at == end || (**at != '0' && **at != '1')) return false;
            c = **at == '0' ? '~' : '/';
        }
        sluice_text_buffer_append_byte(name, c);
    }
    return !name->failed;
}

static const sluice_json_value *step_into(const sluice_json_value *value,
                                          const sluice_text_buffer *name)
{
    if (value->kind == SLUICE_JSON_IS_OBJECT) {
        return sluice_json_get_bytes(value, name->length ? name->bytes : "", name->length);
    }
    if (value->kind != SLUICE_JSON_IS_ARRAY || !name->length || name->length > 6) return NULL;
    size_t index = 0;
    for (size_t i = 0; i < name->length; i++) {
        if (name->bytes[i] < '0' || name->bytes[i] > '9') return NULL;
        index = index * 10 + (size_t)(name->bytes[i] - '0');
    }
    const sluice_json_value *at = value->first;
    while (at && index--)
        at = at->next;
    return at;
}

sluice_status sluice_schema_resolve(sluice_schema_builder *b, const sluice_json_value *reference,
                                    const sluice_json_value **target)
{
    if (reference->kind != SLUICE_JSON_IS_STRING) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "$ref is no string");
    }
    const char *at = reference->text, *end = at + reference->length;
    if (at == end || *at != '#') {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "$ref leads out of the schema; only #... is supported");
    }
    sluice_text_buffer name = {0};
    *target = b->root;
    for (at++; at < end && *target;)
        *target = next_step(&at, end, &name) ? step_into(*target, &name) : NULL;
    sluice_text_buffer_free(&name);
    if (*target) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "$ref leads nowhere: %.*s",
                                (int)(reference->length < 100 ? reference->length : 100),
                                reference->text);
}

/* Builds what a reference points to as a rule, under its own path. */
static sluice_status build_target(sluice_schema_builder *b, const sluice_json_value *reference,
                                  sluice_schema_reference *entry)
{
    sluice_text_buffer before = b->path;
    b->path = (sluice_text_buffer){0};
    if (b->root_path) sluice_text_buffer_append(&b->path, before.bytes, b->root_path);
    sluice_text_buffer_append(&b->path, reference->text + 1, reference->length - 1);
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)(reference->length < 95 ? reference->length : 95),
             reference->text);
    uint32_t start = sluice_automaton_state(b->a), end = sluice_automaton_state(b->a), behind;
    entry->rule = sluice_automaton_rule(b->a, name, start, end);
    sluice_status status = sluice_schema_build(b, entry->target, entry->form, start, &behind);
    if (status == SLUICE_OK) sluice_automaton_empty(b->a, behind, end);
    if (status == SLUICE_OK) {
        sluice_text_buffer_free(&b->path);
        b->path = before;
    } else {
        sluice_text_buffer_free(&before);
    }
    return status;
}

/* In a parameter the reader of replies follows simple references only, and needs their types. */
static bool is_simple(const sluice_json_value *reference)
{
    static const char *const tables[] = {"#/$defs/", "#/definitions/"};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(tables[i]);
        if (reference->length <= length || memcmp(reference->text, tables[i], length) != 0)
            continue;
        for (size_t j = length; j < reference->length; j++)
            if (reference->text[j] == '/' || reference->text[j] == '~') return false;
        return true;
    }
    return false;
}

sluice_status sluice_schema_reference_build(sluice_schema_builder *b,
                                            const sluice_json_value *reference,
                                            sluice_schema_form form, uint32_t from, uint32_t to)
{
    const sluice_json_value *target;
    SLUICE_TRY(sluice_schema_resolve(b, reference, &target));
    if (form == SLUICE_SCHEMA_TEXT && !is_simple(reference)) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "the $ref of a parameter must be #/$defs/NAME");
    }
    sluice_schema_reference *entry = b->references;
    while (entry && (entry->target != target || entry->form != form))
        entry = entry->next;
    if (!entry) {
        entry = malloc(sizeof *entry);
        if (!entry) return sluice_schema_refuse(b, SLUICE_NO_MEMORY, "no memory");
        *entry = (sluice_schema_reference){target, form, 0, b->references};
        b->references = entry;
        SLUICE_TRY(build_target(b, reference, entry));
    }
    sluice_automaton_empty(b->a, sluice_build_call(b->a, from, entry->rule), to);
    return SLUICE_OK;
}
