/* A JSON document as a tree: see json_value.h. Values and strings live in chunks that are freed
 * together. */
#include "tokenizer/json_value.h"

#include <stdlib.h>

#define CHUNK_BYTES 16384

struct sluice_json_chunk {
    struct sluice_json_chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

typedef struct builder {
    sluice_json_reader *reader;
    sluice_json_document *document;
} builder;

static void *take(builder *b, size_t bytes, sluice_error *err)
{
    size_t wanted = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct sluice_json_chunk *chunk = b->document->chunks;
    if (!chunk || chunk->size - chunk->used < wanted) {
        size_t size = wanted > CHUNK_BYTES ? wanted : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + size);
        if (!chunk) {
            sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to read it", b->reader->name);
            return NULL;
        }
        *chunk = (struct sluice_json_chunk){b->document->chunks, 0, size};
        b->document->chunks = chunk;
    }
    void *memory = (char *)chunk->bytes + chunk->used;
    chunk->used += wanted;
    return memory;
}

static const char *copy_text(builder *b, sluice_error *err)
{
    char *copy = take(b, b->reader->text_length + 1, err);
    if (!copy) return NULL;
    memcpy(copy, b->reader->text, b->reader->text_length);
    copy[b->reader->text_length] = 0;
    return copy;
}

static int compare_keys(const sluice_json_value *a, const sluice_json_value *b)
{
    size_t shorter = a->key_length < b->key_length ? a->key_length : b->key_length;
    int order = memcmp(a->key, b->key, shorter);
    if (order) return order;
    return a->key_length < b->key_length ? -1 : a->key_length > b->key_length;
}

/* A member and its place, for sorting. */
typedef struct member {
    sluice_json_value *value;
    size_t place;
} member;

static int compare_members(const void *left, const void *right)
{
    const member *a = left, *b = right;
    int order = compare_keys(a->value, b->value);
    if (order) return order;
    return a->place < b->place ? -1 : 1;
}

static void replace_content(sluice_json_value *to, const sluice_json_value *from)
{
    const sluice_json_value *next = to->next;
    const char *key = to->key;
    *to = *from;
    to->key = key;
    to->next = next;
}

/* Of equal keys keeps the first place and the last value. Sorted, since a hostile request may have
 * very many members. */
static sluice_status unite_members(builder *b, sluice_json_value *object, sluice_error *err)
{
    if (object->count < 2) return SLUICE_OK;
    member *members = malloc(object->count * sizeof *members);
    if (!members) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to read it", b->reader->name);
    }
    size_t count = 0;
    for (const sluice_json_value *at = object->first; at; at = at->next) {
        members[count] = (member){(sluice_json_value *)at, count};
        count++;
    }
    qsort(members, count, sizeof *members, compare_members);
    bool dropped = false;
    for (size_t i = 0, last; i < count; i = last + 1) {
        for (last = i; last + 1 < count; last++) {
            if (compare_keys(members[i].value, members[last + 1].value) != 0) break;
            members[last + 1].value->key = NULL;
            dropped = true;
        }
        if (last > i) replace_content(members[i].value, members[last].value);
    }
    free(members);
    if (!dropped) return SLUICE_OK;
    const sluice_json_value **link = &object->first;
    while (*link) {
        if ((*link)->key) {
            link = &((sluice_json_value *)*link)->next;
        } else {
            *link = (*link)->next;
            object->count--;
        }
    }
    return SLUICE_OK;
}

static sluice_status build_value(builder *b, sluice_json_token token, sluice_json_value *value,
                                 sluice_error *err);

static sluice_status build_children(builder *b, sluice_json_value *parent, sluice_error *err)
{
    const sluice_json_value **link = &parent->first;
    for (;;) {
        sluice_json_token token;
        SLUICE_TRY(sluice_json_next(b->reader, &token, err));
        if (token == SLUICE_JSON_ARRAY_END || token == SLUICE_JSON_OBJECT_END) break;
        sluice_json_value *child = take(b, sizeof *child, err);
        if (!child) return SLUICE_NO_MEMORY;
        *child = (sluice_json_value){0};
        if (token == SLUICE_JSON_KEY) {
            child->key_length = b->reader->text_length;
            child->key = copy_text(b, err);
            if (!child->key) return SLUICE_NO_MEMORY;
            SLUICE_TRY(sluice_json_next(b->reader, &token, err));
        }
        SLUICE_TRY(build_value(b, token, child, err));
        *link = child;
        link = &child->next;
        parent->count++;
    }
    return parent->kind == SLUICE_JSON_IS_OBJECT ? unite_members(b, parent, err) : SLUICE_OK;
}

/* Recursion is bounded by the reader's limit on nesting. */
static sluice_status build_value(builder *b, sluice_json_token token, sluice_json_value *value,
                                 sluice_error *err)
{
    switch (token) {
    case SLUICE_JSON_NULL: value->kind = SLUICE_JSON_IS_NULL; return SLUICE_OK;
    case SLUICE_JSON_FALSE: value->kind = SLUICE_JSON_IS_FALSE; return SLUICE_OK;
    case SLUICE_JSON_TRUE: value->kind = SLUICE_JSON_IS_TRUE; return SLUICE_OK;
    case SLUICE_JSON_NUMBER:
    case SLUICE_JSON_STRING:
        value->kind = token == SLUICE_JSON_NUMBER ? SLUICE_JSON_IS_NUMBER : SLUICE_JSON_IS_STRING;
        value->length = b->reader->text_length;
        value->text = copy_text(b, err);
        return value->text ? SLUICE_OK : SLUICE_NO_MEMORY;
    case SLUICE_JSON_ARRAY: value->kind = SLUICE_JSON_IS_ARRAY; break;
    default: value->kind = SLUICE_JSON_IS_OBJECT; break;
    }
    return build_children(b, value, err);
}

sluice_status sluice_json_read_value(sluice_json_reader *reader, sluice_json_token first,
                                     sluice_json_document *out, sluice_error *err)
{
    *out = (sluice_json_document){0};
    builder b = {reader, out};
    sluice_json_value *root = take(&b, sizeof *root, err);
    if (!root) return SLUICE_NO_MEMORY;
    *root = (sluice_json_value){0};
    out->root = root;
    sluice_status status = build_value(&b, first, root, err);
    if (status != SLUICE_OK) sluice_json_document_free(out);
    return status;
}

sluice_status sluice_json_parse(const char *name, sluice_status code, const char *json,
                                size_t length, sluice_json_document *out, sluice_error *err)
{
    *out = (sluice_json_document){0};
    sluice_json_reader reader;
    SLUICE_TRY(sluice_json_reader_init(&reader, name, code, json, length, err));
    sluice_json_token token;
    sluice_status status = sluice_json_next(&reader, &token, err);
    if (status == SLUICE_OK) status = sluice_json_read_value(&reader, token, out, err);
    if (status == SLUICE_OK) status = sluice_json_next(&reader, &token, err);
    sluice_json_reader_free(&reader);
    if (status != SLUICE_OK) sluice_json_document_free(out);
    return status;
}

void sluice_json_document_free(sluice_json_document *document)
{
    while (document->chunks) {
        struct sluice_json_chunk *chunk = document->chunks;
        document->chunks = chunk->next;
        free(chunk);
    }
    document->root = NULL;
}

const sluice_json_value *sluice_json_get_bytes(const sluice_json_value *value, const char *key,
                                               size_t length)
{
    if (!sluice_json_is(value, SLUICE_JSON_IS_OBJECT)) return NULL;
    for (const sluice_json_value *at = value->first; at; at = at->next) {
        if (at->key_length == length && memcmp(at->key, key, length) == 0) return at;
    }
    return NULL;
}

const sluice_json_value *sluice_json_get(const sluice_json_value *value, const char *key)
{
    return sluice_json_get_bytes(value, key, strlen(key));
}

bool sluice_json_is(const sluice_json_value *value, sluice_json_kind kind)
{
    return value && value->kind == kind;
}

bool sluice_json_is_string(const sluice_json_value *value, const char *string)
{
    return sluice_json_is(value, SLUICE_JSON_IS_STRING) && value->length == strlen(string) &&
           memcmp(value->text, string, value->length) == 0;
}

/* Zero in any spelling: no digit but 0 before the exponent. A float too small for a double is zero
 * too, but nobody asks for that. */
static bool is_zero(const sluice_json_value *number)
{
    for (size_t i = 0; i < number->length; i++) {
        char byte = number->text[i];
        if (byte == 'e' || byte == 'E') break;
        if (byte >= '1' && byte <= '9') return false;
    }
    return true;
}

bool sluice_json_is_truthy(const sluice_json_value *value)
{
    if (!value) return false;
    switch (value->kind) {
    case SLUICE_JSON_IS_TRUE: return true;
    case SLUICE_JSON_IS_NUMBER: return !is_zero(value);
    case SLUICE_JSON_IS_STRING: return value->length > 0;
    case SLUICE_JSON_IS_ARRAY:
    case SLUICE_JSON_IS_OBJECT: return value->count > 0;
    default: return false;
    }
}
