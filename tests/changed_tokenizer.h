/* Tokenizers for tests: the tiny one (its tokens are bytes), opened as it is or with changes. */
#ifndef SLUICE_TESTS_CHANGED_TOKENIZER_H
#define SLUICE_TESTS_CHANGED_TOKENIZER_H

#include "text_cases.h"

#include "sluice/text.h"

static inline sluice_tokenizer *open_file(const char *path)
{
    sluice_tokenizer *tokenizer;
    sluice_error err;
    if (sluice_tokenizer_open(path, &tokenizer, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return tokenizer;
}

static inline void assert_ids(const sluice_ids *got, const json_t *want, const char *what)
{
    if (got->count != json_array_size(want)) {
        fail_msg("%s: %zu ids, not %zu", what, got->count, json_array_size(want));
    }
    for (size_t i = 0; i < got->count; i++) {
        int id = (int)json_number_value(json_array_get(want, i));
        if (got->ids[i] != id) fail_msg("%s: id %zu is %d, not %d", what, i, got->ids[i], id);
    }
}

/* The tiny tokenizer (bytes only) as JSON to change. */
static inline json_t *tiny(void)
{
    size_t length;
    char *bytes = text_read_file(TEXT_TINY, &length);
    json_t *file = json_loads(bytes, 0, NULL);
    assert_non_null(file);
    free(bytes);
    return file;
}

static inline sluice_status open_json(json_t *file, sluice_tokenizer **tokenizer, sluice_error *err)
{
    char *json = json_dumps(file, 0);
    sluice_status status =
        sluice_tokenizer_open_bytes("test.json", json, strlen(json), tokenizer, err);
    free(json);
    json_decref(file);
    return status;
}

static inline sluice_tokenizer *open_changed(json_t *file)
{
    sluice_tokenizer *tokenizer;
    sluice_error err;
    if (open_json(file, &tokenizer, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return tokenizer;
}

static inline void set(json_t *file, const char *member, const char *json)
{
    json_object_set_new(file, member, json_loads(json, JSON_DECODE_ANY, NULL));
}

static inline void set_model(json_t *file, const char *member, const char *json)
{
    set(json_object_get(file, "model"), member, json);
}

static inline void add_vocab(json_t *file, const char *token, int id)
{
    json_object_set_new(json_object_get(json_object_get(file, "model"), "vocab"), token,
                        json_integer(id));
}

static inline void assert_encodes(const sluice_tokenizer *tokenizer, const char *text,
                                  const char *want)
{
    sluice_ids ids;
    json_t *list = text_parse(want);
    assert_int_equal(sluice_tokenizer_encode(tokenizer, text, strlen(text),
                                             SLUICE_SPECIAL_EVERYWHERE, &ids, NULL),
                     SLUICE_OK);
    assert_ids(&ids, list, text);
    sluice_ids_free(&ids);
    json_decref(list);
}

/* Adds ab, bc, abc with merges of both forms. In the tiny vocabulary "a" is 64 and so on. */
static inline json_t *with_merges(const char *merges)
{
    json_t *file = tiny();
    add_vocab(file, "ab", 263);
    add_vocab(file, "bc", 264);
    add_vocab(file, "abc", 265);
    set_model(file, "merges", merges);
    return file;
}

#endif
