/* A JSON document as a tree that keeps what a chat request needs: the order of members, strings
 * with any character, and numbers as they are written. Of equal keys the last value counts, at the
 * place of the first, as in Python. Read-only after parsing; freed as a whole. */
#ifndef SLUICE_TOKENIZER_JSON_VALUE_H
#define SLUICE_TOKENIZER_JSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "tokenizer/json_reader.h"

typedef enum sluice_json_kind {
    SLUICE_JSON_IS_NULL,
    SLUICE_JSON_IS_FALSE,
    SLUICE_JSON_IS_TRUE,
    SLUICE_JSON_IS_NUMBER,
    SLUICE_JSON_IS_STRING,
    SLUICE_JSON_IS_ARRAY,
    SLUICE_JSON_IS_OBJECT
} sluice_json_kind;

typedef struct sluice_json_value sluice_json_value;
struct sluice_json_value {
    sluice_json_kind kind;
    const char *text; /* of a string or number */
    size_t length;
    const char *key; /* of an object's member */
    size_t key_length;
    const sluice_json_value *first, *next; /* children of a container, siblings */
    size_t count;                          /* children */
};

typedef struct sluice_json_document {
    const sluice_json_value *root;
    struct sluice_json_chunk *chunks;
} sluice_json_document;

/* name and code: of errors, as in json_reader.h. The bytes are not kept. */
sluice_status sluice_json_parse(const char *name, sluice_status code, const char *json,
                                size_t length, sluice_json_document *out, sluice_error *err);

/* The tree of the value whose first token a reader has just given. */
sluice_status sluice_json_read_value(sluice_json_reader *reader, sluice_json_token first,
                                     sluice_json_document *out, sluice_error *err);
void sluice_json_document_free(sluice_json_document *document);

/* The member of an object; NULL if there is none or value is no object (or NULL). */
const sluice_json_value *sluice_json_get(const sluice_json_value *value, const char *key);
const sluice_json_value *sluice_json_get_bytes(const sluice_json_value *value, const char *key,
                                               size_t length);

/* NULL is of no kind. */
bool sluice_json_is(const sluice_json_value *value, sluice_json_kind kind);
bool sluice_json_is_string(const sluice_json_value *value, const char *string);

/* Whether Python takes it for true; NULL (nothing) is false. */
bool sluice_json_is_truthy(const sluice_json_value *value);

#endif
