/* A JSON schema as an automaton: which keywords there are, and what kind of value they describe.
 *
 * Every keyword is known or refused; those that describe nothing (title, description, default, ...)
 * are passed over. Alternatives (types, enum, anyOf, oneOf) leave one state and meet in another.
 * What a reference points to is built once, as a rule, so schemas may refer to themselves. */
#include "grammar/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tokenizer/json_write.h"

#define DEPTH_MAX 128

enum {
    TYPE_STRING = 1,
    TYPE_NUMBER = 2,
    TYPE_INTEGER = 4,
    TYPE_ARRAY = 8,
    TYPE_OBJECT = 16,
    TYPE_BOOLEAN = 32,
    TYPE_NULL = 64,
    TYPE_ANY = 127
};

static const struct {
    const char *name;
    unsigned type;
} type_names[] = {{"string", TYPE_STRING}, {"number", TYPE_NUMBER}, {"integer", TYPE_INTEGER},
                  {"array", TYPE_ARRAY},   {"object", TYPE_OBJECT}, {"boolean", TYPE_BOOLEAN},
                  {"null", TYPE_NULL}};

/* Keywords: what they apply to, or how they combine schemas. */
enum { ANNOTATION = 128, COMBINES = 256, TYPES = 512, NUMBERS = TYPE_NUMBER | TYPE_INTEGER };
static const struct {
    const char *name;
    unsigned kind;
} keywords[] = {{"title", ANNOTATION},
                {"description", ANNOTATION},
                {"default", ANNOTATION},
                {"examples", ANNOTATION},
                {"example", ANNOTATION},
                {"deprecated", ANNOTATION},
                {"readOnly", ANNOTATION},
                {"writeOnly", ANNOTATION},
                {"$schema", ANNOTATION},
                {"$id", ANNOTATION},
                {"$comment", ANNOTATION},
                {"$defs", ANNOTATION},
                {"definitions", ANNOTATION},
                {"type", TYPES},
                {"$ref", COMBINES},
                {"enum", COMBINES},
                {"const", COMBINES},
                {"anyOf", COMBINES},
                {"oneOf", COMBINES},
                {"allOf", COMBINES},
                {"minLength", TYPE_STRING},
                {"maxLength", TYPE_STRING},
                {"pattern", TYPE_STRING},
                {"format", TYPE_STRING},
                {"minimum", NUMBERS},
                {"maximum", NUMBERS},
                {"exclusiveMinimum", NUMBERS},
                {"exclusiveMaximum", NUMBERS},
                {"items", TYPE_ARRAY},
                {"prefixItems", TYPE_ARRAY},
                {"minItems", TYPE_ARRAY},
                {"maxItems", TYPE_ARRAY},
                {"properties", TYPE_OBJECT},
                {"required", TYPE_OBJECT},
                {"additionalProperties", TYPE_OBJECT}};

void sluice_schema_begin(sluice_schema_builder *b, sluice_json_rules *json,
                         const sluice_json_value *root, const char *what, const char *path,
                         sluice_error *err)
{
    *b =
        (sluice_schema_builder){.a = json->a, .json = json, .root = root, .what = what, .err = err};
    sluice_text_buffer_append_string(&b->path, path);
    b->root_path = b->path.length;
}

sluice_status sluice_schema_refuse(sluice_schema_builder *b, sluice_status code, const char *format,
                                   ...)
{
    char sentence[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    /* The end of a long path says more than its beginning. */
    size_t length = b->path.length, shown = length < 160 ? length : 160;
    if (!length) return sluice_fail(b->err, code, "%s: %s", b->what, sentence);
    return sluice_fail(b->err, code, "%s at %s%.*s: %s", b->what, shown < length ? "..." : "",
                       (int)shown, b->path.bytes + length - shown, sentence);
}

size_t sluice_schema_enter(sluice_schema_builder *b, const char *keyword, const char *name,
                           size_t name_length)
{
    size_t mark = b->path.length;
    sluice_text_buffer_append_byte(&b->path, '/');
    sluice_text_buffer_append_string(&b->path, keyword);
    if (name) sluice_text_buffer_append_byte(&b->path, '/');
    for (size_t i = 0; i < name_length; i++) {
        char c = name[i];
        if (c == '~' || c == '/')
            sluice_text_buffer_append_string(&b->path, c == '~' ? "~0" : "~1");
        else
            sluice_text_buffer_append_byte(&b->path, (unsigned char)c < 0x20 ? '?' : c);
    }
    return mark;
}

void sluice_schema_leave(sluice_schema_builder *b, size_t mark)
{
    b->path.length = mark;
}

/* Enters by a keyword and an index. */
static size_t enter_index(sluice_schema_builder *b, const char *keyword, size_t index)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%zu", index);
    return sluice_schema_enter(b, keyword, digits, (size_t)length);
}

sluice_status sluice_schema_count(sluice_schema_builder *b, const sluice_json_value *schema,
                                  const char *keyword, uint32_t fallback, uint32_t *count)
{
    *count = fallback;
    const sluice_json_value *value = sluice_json_get(schema, keyword);
    if (!value) return SLUICE_OK;
    char *end = NULL;
    unsigned long long number = 0;
    char digits[24];
    if (value->kind == SLUICE_JSON_IS_NUMBER && value->length < sizeof digits) {
        memcpy(digits, value->text, value->length);
        digits[value->length] = 0;
        number = strtoull(digits, &end, 10);
    }
    if (!end || *end || digits[0] == '-') {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "%s is no count", keyword);
    }
    if (number > 100000) {
        return sluice_schema_refuse(b, SLUICE_LIMIT, "%s is above 100000", keyword);
    }
    *count = (uint32_t)number;
    return SLUICE_OK;
}

static unsigned keyword_kind(const sluice_json_value *member)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (member->key_length == strlen(keywords[i].name) &&
            memcmp(member->key, keywords[i].name, member->key_length) == 0) {
            return keywords[i].kind;
        }
    }
    return member->key_length > 2 && memcmp(member->key, "x-", 2) == 0 ? ANNOTATION : 0;
}

/* What a schema consists of. */
typedef struct parts {
    unsigned applies;                 /* to which types its keywords apply, together */
    const sluice_json_value *combine; /* $ref, enum, ...; at most one */
    const sluice_json_value *other;   /* a keyword beside type that applies to a type */
} parts;

static sluice_status list_parts(sluice_schema_builder *b, const sluice_json_value *schema, parts *p)
{
    *p = (parts){0};
    for (const sluice_json_value *at = schema->first; at; at = at->next) {
        unsigned kind = keyword_kind(at);
        if (!kind) {
            return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%.*s is not supported",
                                        (int)(at->key_length < 64 ? at->key_length : 64), at->key);
        }
        if (kind == COMBINES && p->combine) {
            return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%s beside %s is not supported",
                                        at->key, p->combine->key);
        }
        if (kind == COMBINES) p->combine = at;
        if (kind & TYPE_ANY) p->other = at;
        if (kind & TYPE_ANY) p->applies |= kind;
    }
    return SLUICE_OK;
}

static unsigned type_by_name(const sluice_json_value *name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (sluice_json_is_string(name, type_names[i].name)) return type_names[i].type;
    return 0;
}

/* The types that "type" allows; without it those that the keywords apply to, and if that is none,
 * any. */
static sluice_status find_types(sluice_schema_builder *b, const sluice_json_value *schema,
                                unsigned applies, unsigned *types)
{
    const sluice_json_value *type = sluice_json_get(schema, "type");
    *types = 0;
    if (!type) {
        *types = applies ? applies : TYPE_ANY;
        if (applies == NUMBERS) *types = TYPE_NUMBER;
        if (applies && applies != NUMBERS && (applies & (applies - 1))) {
            return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                        "keywords of several types without a type");
        }
        return SLUICE_OK;
    }
    if (type->kind == SLUICE_JSON_IS_ARRAY) {
        for (const sluice_json_value *at = type->first; at; at = at->next) {
            unsigned one = type_by_name(at);
            if (!one) return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "an unknown type");
            *types |= one;
        }
    } else {
        *types = type_by_name(type);
    }
    if (!*types) return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "type names no type");
    if (*types & TYPE_NUMBER) *types &= ~(unsigned)TYPE_INTEGER;
    return SLUICE_OK;
}

static unsigned type_of(const sluice_json_value *value)
{
    switch (value->kind) {
    case SLUICE_JSON_IS_NULL: return TYPE_NULL;
    case SLUICE_JSON_IS_FALSE:
    case SLUICE_JSON_IS_TRUE: return TYPE_BOOLEAN;
    case SLUICE_JSON_IS_STRING: return TYPE_STRING;
    case SLUICE_JSON_IS_ARRAY: return TYPE_ARRAY;
    case SLUICE_JSON_IS_OBJECT: return TYPE_OBJECT;
    default: break;
    }
    bool whole = !memchr(value->text, '.', value->length) &&
                 !memchr(value->text, 'e', value->length) &&
                 !memchr(value->text, 'E', value->length);
    return whole ? TYPE_NUMBER | TYPE_INTEGER : TYPE_NUMBER;
}

/* A value of an enum. */
static sluice_status build_constant(sluice_schema_builder *b, const sluice_json_value *value,
                                    sluice_schema_form form, uint32_t from, uint32_t to)
{
    sluice_text_buffer text = {0};
    if (form == SLUICE_SCHEMA_TEXT && value->kind == SLUICE_JSON_IS_STRING) {
        sluice_text_buffer_append(&text, value->text, value->length);
    } else {
        sluice_json_write(&text, value, SLUICE_JSON_NUMBERS_KEPT);
    }
    sluice_status status = SLUICE_OK;
    size_t end = sizeof SLUICE_PARAMETER_END - 1;
    if (text.failed) {
        status = sluice_schema_refuse(b, SLUICE_NO_MEMORY, "no memory");
    } else if (b->json->in_call && text.length >= end &&
               memmem(text.bytes, text.length, SLUICE_PARAMETER_END, end)) {
        status =
            sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "a value that holds " SLUICE_PARAMETER_END);
    } else {
        sluice_automaton_empty(b->a, sluice_build_literal(b->a, from, text.bytes, text.length), to);
    }
    sluice_text_buffer_free(&text);
    return status;
}

static sluice_status build_enum(sluice_schema_builder *b, const sluice_json_value *schema,
                                const sluice_json_value *values, sluice_schema_form form,
                                uint32_t from, uint32_t to)
{
    bool is_const = strcmp(values->key, "const") == 0;
    unsigned types;
    size_t built = 0;
    SLUICE_TRY(find_types(b, schema, 0, &types));
    if (!is_const && values->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "enum is no array");
    }
    const sluice_json_value *last = is_const ? values->next : NULL;
    for (const sluice_json_value *at = is_const ? values : values->first; at != last;
         at = at->next) {
        if (!(type_of(at) & types)) continue;
        SLUICE_TRY(build_constant(b, at, form, from, to));
        built++;
    }
    if (built) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "%s allows no value of the type", values->key);
}

static sluice_status build_any_of(sluice_schema_builder *b, const sluice_json_value *list,
                                  sluice_schema_form form, uint32_t from, uint32_t to)
{
    if (list->kind != SLUICE_JSON_IS_ARRAY || !list->count) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "%s is no array of schemas", list->key);
    }
    size_t index = 0;
    for (const sluice_json_value *at = list->first; at; at = at->next) {
        size_t mark = enter_index(b, list->key, index++);
        uint32_t behind;
        SLUICE_TRY(sluice_schema_build(b, at, form, from, &behind));
        sluice_automaton_empty(b->a, behind, to);
        sluice_schema_leave(b, mark);
    }
    return SLUICE_OK;
}

static sluice_status build_combined(sluice_schema_builder *b, const sluice_json_value *schema,
                                    const parts *p, sluice_schema_form form, uint32_t from,
                                    uint32_t to)
{
    const char *key = p->combine->key;
    bool is_all = strcmp(key, "allOf") == 0, is_enum = strcmp(key, "enum") == 0;
    if (is_all && (p->other || p->combine->count != 1)) {
        uint32_t behind;
        SLUICE_TRY(sluice_schema_all(b, schema, from, &behind));
        sluice_automaton_empty(b->a, behind, to);
        return SLUICE_OK;
    }
    if (p->other) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%s beside %s is not supported",
                                    p->other->key, key);
    }
    if (is_enum || strcmp(key, "const") == 0) {
        return build_enum(b, schema, p->combine, form, from, to);
    }
    if (sluice_json_get(schema, "type") && !is_all) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "type beside %s is not supported", key);
    }
    if (strcmp(key, "$ref") == 0)
        return sluice_schema_reference_build(b, p->combine, form, from, to);
    return build_any_of(b, p->combine, form, from, to);
}

static void build_word(sluice_automaton *a, uint32_t from, const char *word, uint32_t to)
{
    sluice_automaton_empty(a, sluice_build_text(a, from, word), to);
}

/* null and booleans; the text of a parameter may have them as Python's str writes them. */
static void build_words(sluice_schema_builder *b, unsigned types, sluice_schema_form form,
                        uint32_t from, uint32_t to)
{
    bool text = form == SLUICE_SCHEMA_TEXT;
    if (types & TYPE_NULL) build_word(b->a, from, "null", to);
    if (types & TYPE_NULL && text) build_word(b->a, from, "None", to);
    if (!(types & TYPE_BOOLEAN)) return;
    build_word(b->a, from, "true", to);
    build_word(b->a, from, "false", to);
    if (!text) return;
    build_word(b->a, from, "True", to);
    build_word(b->a, from, "False", to);
}

static sluice_status build_types(sluice_schema_builder *b, const sluice_json_value *schema,
                                 unsigned types, sluice_schema_form form, uint32_t from,
                                 uint32_t to)
{
    build_words(b, types, form, from, to);
    for (unsigned type = TYPE_STRING; type <= TYPE_OBJECT; type *= 2) {
        if (!(types & type)) continue;
        uint32_t behind = from;
        sluice_status status =
            type == TYPE_STRING  ? sluice_schema_string(b, schema, form, from, &behind)
            : type == TYPE_ARRAY ? sluice_schema_array(b, schema, from, &behind)
            : type == TYPE_OBJECT
                ? sluice_schema_object(b, schema, from, &behind)
                : sluice_schema_number(b, schema, type == TYPE_INTEGER, from, &behind);
        SLUICE_TRY(status);
        sluice_automaton_empty(b->a, behind, to);
    }
    return SLUICE_OK;
}

static sluice_status build_schema(sluice_schema_builder *b, const sluice_json_value *schema,
                                  sluice_schema_form form, uint32_t from, uint32_t *to)
{
    if (schema->kind == SLUICE_JSON_IS_FALSE) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "false allows nothing");
    }
    if (schema->kind != SLUICE_JSON_IS_TRUE && schema->kind != SLUICE_JSON_IS_OBJECT) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "a schema is an object or true");
    }
    parts p;
    unsigned types;
    SLUICE_TRY(list_parts(b, schema, &p));
    *to = sluice_automaton_state(b->a);
    if (p.combine) return build_combined(b, schema, &p, form, from, *to);
    SLUICE_TRY(find_types(b, schema, p.applies, &types));
    /* Keywords for numbers apply to either type. */
    unsigned able = types & NUMBERS ? types | NUMBERS : types;
    if (p.applies & ~able) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "a keyword (such as %s) that does not apply to the type",
                                    p.other->key);
    }
    if (types != TYPE_ANY) return build_types(b, schema, types, form, from, *to);
    if (form == SLUICE_SCHEMA_TEXT) {
        *to = sluice_text_form_any(b->a, (sluice_text_form){.in_call = b->json->in_call}, from);
    } else {
        *to = sluice_build_call(b->a, from, sluice_json_rules_value(b->json));
    }
    return SLUICE_OK;
}

sluice_status sluice_schema_build(sluice_schema_builder *b, const sluice_json_value *schema,
                                  sluice_schema_form form, uint32_t from, uint32_t *to)
{
    if (b->depth >= DEPTH_MAX) {
        return sluice_schema_refuse(b, SLUICE_LIMIT, "schemas within schemas deeper than %d",
                                    DEPTH_MAX);
    }
    b->depth++;
    /* Each alternative begins with a state of its own, so that loops of one do not reach another.
     */
    uint32_t start = sluice_automaton_state(b->a);
    sluice_automaton_empty(b->a, from, start);
    sluice_status status = build_schema(b, schema, form, start, to);
    b->depth--;
    if (status == SLUICE_OK && b->a->failed != SLUICE_OK) {
        return sluice_schema_refuse(b, b->a->failed, "this makes the grammar too large");
    }
    return status;
}
