/* A pull reader for JSON text: one token at a time, no tree.
 *
 * It exists beside jansson for two reasons: a tokenizer.json of 12 MB has to be read in a fraction
 * of the time that building its tree takes, and a chat request has to keep numbers as they are
 * written (integers of any size, floats by their text). Strict RFC 8259; nesting is limited. */
#ifndef SLUICE_TOKENIZER_JSON_READER_H
#define SLUICE_TOKENIZER_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tokenizer/text_buffer.h"

#define SLUICE_JSON_DEPTH_MAX 256

typedef enum sluice_json_token {
    SLUICE_JSON_END, /* the document is complete */
    SLUICE_JSON_NULL,
    SLUICE_JSON_FALSE,
    SLUICE_JSON_TRUE,
    SLUICE_JSON_NUMBER, /* text: as written */
    SLUICE_JSON_STRING, /* text: decoded */
    SLUICE_JSON_KEY,    /* text: decoded */
    SLUICE_JSON_ARRAY,
    SLUICE_JSON_ARRAY_END,
    SLUICE_JSON_OBJECT,
    SLUICE_JSON_OBJECT_END
} sluice_json_token;

typedef struct sluice_json_reader {
    const char *name;   /* of the document, for errors */
    sluice_status code; /* of errors: SLUICE_CORRUPT for a file, SLUICE_BAD_INPUT for a request */
    const char *json;
    size_t length, at;
    int expect; /* what the grammar allows next */
    unsigned depth;
    bool is_object[SLUICE_JSON_DEPTH_MAX];
    /* Of the last number, string or key; valid until the next call. */
    const char *text;
    size_t text_length;
    sluice_text_buffer decoded;
} sluice_json_reader;

/* Fails if the bytes are not UTF-8. The bytes must outlive the reader; the name too. */
sluice_status sluice_json_reader_init(sluice_json_reader *reader, const char *name,
                                      sluice_status code, const char *json, size_t length,
                                      sluice_error *err);
void sluice_json_reader_free(sluice_json_reader *reader);

sluice_status sluice_json_next(sluice_json_reader *reader, sluice_json_token *token,
                               sluice_error *err);

/* Reads past the rest of the value whose first token was given. */
sluice_status sluice_json_skip(sluice_json_reader *reader, sluice_json_token first,
                               sluice_error *err);

/* Whether the last text is this string. */
bool sluice_json_text_is(const sluice_json_reader *reader, const char *string);

/* What a token is called in an error. */
const char *sluice_json_token_name(sluice_json_token token);

#endif
