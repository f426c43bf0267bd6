/* Files and lines of test data, for the tests of text. A missing file ends the test: data that
 * vanished must not look like a passed test. */
#ifndef SLUICE_TESTS_TEXT_CASES_H
#define SLUICE_TESTS_TEXT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define TEXT_NANO SLUICE_SOURCE_DIR "/models/nano/tokenizer.json"
#define TEXT_TINY SLUICE_SOURCE_DIR "/tests/data/tiny/mlx-2bit-g64/tokenizer.json"
#define TEXT_TOKENIZER_CASES SLUICE_SOURCE_DIR "/tests/data/tokenizer.jsonl"
#define TEXT_CHAT_CASES SLUICE_SOURCE_DIR "/tests/data/chat.jsonl"

/* The bytes of a file, NUL behind them; freed by the caller. */
static inline char *text_read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: cannot open", path);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*length + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    bytes[*length] = 0;
    fclose(file);
    return bytes;
}

/* Calls fn for each line (without its newline), returns how many there were. */
static inline size_t text_each_line(const char *path,
                                    void (*fn)(size_t index, const char *line, size_t length))
{
    size_t length, count = 0;
    char *bytes = text_read_file(path, &length);
    for (char *at = bytes; at < bytes + length;) {
        char *end = memchr(at, '\n', (size_t)(bytes + length - at));
        if (!end) end = bytes + length;
        *end = 0;
        fn(count++, at, (size_t)(end - at));
        at = end + 1;
    }
    free(bytes);
    return count;
}

/* Numbers are reals, since some cases have integers that jansson cannot hold. */
static inline json_t *text_parse(const char *json)
{
    json_error_t error;
    json_t *value =
        json_loads(json, JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    if (!value) fail_msg("%s: %s", json, error.text);
    return value;
}

static inline void text_assert_equal(const char *got, size_t got_length, const char *want,
                                     size_t want_length, const char *what)
{
    if (got_length == want_length && memcmp(got, want, want_length) == 0) return;
    fail_msg("%s: got \"%.*s\", not \"%.*s\"", what, (int)got_length, got, (int)want_length, want);
}

#endif
