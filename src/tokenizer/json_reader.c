/* A pull reader for JSON text: see json_reader.h. */
#include "tokenizer/json_reader.h"

#include "tokenizer/utf8.h"

enum {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING
};

static sluice_status fail(const sluice_json_reader *reader, size_t at, const char *what,
                          sluice_error *err)
{
    return sluice_fail(err, reader->code, "%s: not JSON at byte %zu: %s", reader->name, at, what);
}

sluice_status sluice_json_reader_init(sluice_json_reader *reader, const char *name,
                                      sluice_status code, const char *json, size_t length,
                                      sluice_error *err)
{
    *reader = (sluice_json_reader){.name = name, .code = code, .json = json, .length = length};
    size_t valid = sluice_utf8_check(json, length);
    if (valid < length) {
        return sluice_fail(err, code, "%s: byte %zu is not UTF-8", name, valid);
    }
    return SLUICE_OK;
}

void sluice_json_reader_free(sluice_json_reader *reader)
{
    sluice_text_buffer_free(&reader->decoded);
}

static void skip_space(sluice_json_reader *reader)
{
    const char *json = reader->json;
    size_t at = reader->at, length = reader->length;
    while (at < length &&
           (json[at] == ' ' || json[at] == '\n' || json[at] == '\t' || json[at] == '\r')) {
        at++;
    }
    reader->at = at;
}

/* Four hexadecimal digits behind \u. */
static bool read_hex(const sluice_json_reader *reader, size_t at, uint32_t *unit)
{
    if (reader->length - at < 4) return false;
    *unit = 0;
    for (size_t i = 0; i < 4; i++) {
        char digit = reader->json[at + i];
        unsigned value;
        if (digit >= '0' && digit <= '9') {
            value = (unsigned)(digit - '0');
        } else if ((digit | 32) >= 'a' && (digit | 32) <= 'f') {
            value = (unsigned)((digit | 32) - 'a' + 10);
        } else {
            return false;
        }
        *unit = *unit << 4 | value;
    }
    return true;
}

/* The escape at reader->at (behind the backslash). */
static sluice_status read_escape(sluice_json_reader *reader, sluice_error *err)
{
    size_t start = reader->at - 1;
    if (reader->at == reader->length) return fail(reader, start, "a string does not end", err);
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char letter = reader->json[reader->at++];
    if (letter != 'u') {
        const char *found = letter ? strchr(letters, letter) : NULL;
        if (!found) return fail(reader, start, "an unknown escape", err);
        sluice_text_buffer_append_byte(&reader->decoded, meanings[found - letters]);
        return SLUICE_OK;
    }
    uint32_t unit, low;
    if (!read_hex(reader, reader->at, &unit)) {
        return fail(reader, start, "\\u needs four hexadecimal digits", err);
    }
    reader->at += 4;
    if (unit >= 0xD800 && unit <= 0xDFFF) {
        const char *next = reader->json + reader->at;
        if (unit > 0xDBFF || reader->length - reader->at < 6 || next[0] != '\\' || next[1] != 'u' ||
            !read_hex(reader, reader->at + 2, &low) || low < 0xDC00 || low > 0xDFFF) {
            return fail(reader, start, "half of a surrogate pair", err);
        }
        reader->at += 6;
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    sluice_text_buffer_append_character(&reader->decoded, unit);
    return SLUICE_OK;
}

/* The string whose quote is at reader->at. Without escapes, text points into the document. */
static sluice_status read_string(sluice_json_reader *reader, sluice_error *err)
{
    size_t start = reader->at++, begin = reader->at;
    bool escaped = false;
    for (;;) {
        size_t at = reader->at;
        const unsigned char *bytes = (const unsigned char *)reader->json;
        while (at < reader->length && bytes[at] != '"' && bytes[at] != '\\' && bytes[at] >= 0x20) {
            at++;
        }
        reader->at = at;
        if (at == reader->length) return fail(reader, start, "a string does not end", err);
        if (bytes[at] < 0x20) return fail(reader, at, "a control character in a string", err);
        if (bytes[at] == '"' && !escaped) {
            reader->text = reader->json + begin;
            reader->text_length = at - begin;
            break;
        }
        if (!escaped) reader->decoded.length = 0;
        escaped = true;
        sluice_text_buffer_append(&reader->decoded, reader->json + begin, at - begin);
        if (bytes[at] == '"') {
            reader->text = reader->decoded.length ? reader->decoded.bytes : "";
            reader->text_length = reader->decoded.length;
            break;
        }
        reader->at++;
        SLUICE_TRY(read_escape(reader, err));
        begin = reader->at;
    }
    reader->at++;
    if (reader->decoded.failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a string", reader->name);
    }
    return SLUICE_OK;
}

static bool read_digits(sluice_json_reader *reader)
{
    size_t start = reader->at;
    while (reader->at < reader->length && reader->json[reader->at] >= '0' &&
           reader->json[reader->at] <= '9') {
        reader->at++;
    }
    return reader->at > start;
}

static bool accept(sluice_json_reader *reader, char first, char second)
{
    if (reader->at == reader->length) return false;
    char byte = reader->json[reader->at];
    if (byte != first && byte != second) return false;
    reader->at++;
    return true;
}

static sluice_status read_number(sluice_json_reader *reader, sluice_error *err)
{
    size_t start = reader->at;
    accept(reader, '-', '-');
    bool good = accept(reader, '0', '0') || read_digits(reader);
    if (good && accept(reader, '.', '.')) good = read_digits(reader);
    if (good && accept(reader, 'e', 'E')) {
        accept(reader, '+', '-');
        good = read_digits(reader);
    }
    if (!good) return fail(reader, start, "expected a value", err);
    reader->text = reader->json + start;
    reader->text_length = reader->at - start;
    return SLUICE_OK;
}

static bool read_word(sluice_json_reader *reader, const char *word)
{
    size_t length = strlen(word);
    if (reader->length - reader->at < length) return false;
    if (memcmp(reader->json + reader->at, word, length) != 0) return false;
    reader->at += length;
    return true;
}

static void value_done(sluice_json_reader *reader)
{
    reader->expect = reader->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static sluice_status open_container(sluice_json_reader *reader, bool is_object, sluice_error *err)
{
    if (reader->depth == SLUICE_JSON_DEPTH_MAX) {
        return sluice_fail(err, reader->code, "%s: JSON nested deeper than %d at byte %zu",
                           reader->name, SLUICE_JSON_DEPTH_MAX, reader->at);
    }
    reader->is_object[reader->depth++] = is_object;
    reader->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    reader->at++;
    return SLUICE_OK;
}

static sluice_status read_value(sluice_json_reader *reader, sluice_json_token *token,
                                sluice_error *err)
{
    switch (reader->json[reader->at]) {
    case '"':
        *token = SLUICE_JSON_STRING;
        SLUICE_TRY(read_string(reader, err));
        break;
    case '{': *token = SLUICE_JSON_OBJECT; return open_container(reader, true, err);
    case '[': *token = SLUICE_JSON_ARRAY; return open_container(reader, false, err);
    default:
        if (read_word(reader, "null")) {
            *token = SLUICE_JSON_NULL;
        } else if (read_word(reader, "true")) {
            *token = SLUICE_JSON_TRUE;
        } else if (read_word(reader, "false")) {
            *token = SLUICE_JSON_FALSE;
        } else {
            *token = SLUICE_JSON_NUMBER;
            SLUICE_TRY(read_number(reader, err));
        }
    }
    value_done(reader);
    return SLUICE_OK;
}

static sluice_status read_key(sluice_json_reader *reader, sluice_json_token *token,
                              sluice_error *err)
{
    *token = SLUICE_JSON_KEY;
    if (reader->json[reader->at] != '"') return fail(reader, reader->at, "expected a key", err);
    SLUICE_TRY(read_string(reader, err));
    skip_space(reader);
    if (!accept(reader, ':', ':')) return fail(reader, reader->at, "expected a colon", err);
    reader->expect = EXPECT_VALUE;
    return SLUICE_OK;
}

sluice_status sluice_json_next(sluice_json_reader *reader, sluice_json_token *token,
                               sluice_error *err)
{
    skip_space(reader);
    bool inside = reader->depth > 0;
    bool is_object = inside && reader->is_object[reader->depth - 1];
    if (reader->expect == EXPECT_NOTHING) {
        if (reader->at < reader->length) {
            return fail(reader, reader->at, "something follows the document", err);
        }
        *token = SLUICE_JSON_END;
        return SLUICE_OK;
    }
    if (reader->at == reader->length) return fail(reader, reader->at, "the text ends early", err);
    bool may_end = reader->expect == EXPECT_VALUE_OR_END || reader->expect == EXPECT_KEY_OR_END ||
                   reader->expect == EXPECT_COMMA_OR_END;
    if (may_end && accept(reader, is_object ? '}' : ']', is_object ? '}' : ']')) {
        *token = is_object ? SLUICE_JSON_OBJECT_END : SLUICE_JSON_ARRAY_END;
        reader->depth--;
        value_done(reader);
        return SLUICE_OK;
    }
    if (reader->expect == EXPECT_COMMA_OR_END) {
        if (!accept(reader, ',', ',')) return fail(reader, reader->at, "expected a comma", err);
        skip_space(reader);
        if (reader->at == reader->length) {
            return fail(reader, reader->at, "the text ends early", err);
        }
        reader->expect = is_object ? EXPECT_KEY : EXPECT_VALUE;
    }
    if (reader->expect == EXPECT_KEY || reader->expect == EXPECT_KEY_OR_END) {
        return read_key(reader, token, err);
    }
    return read_value(reader, token, err);
}

sluice_status sluice_json_skip(sluice_json_reader *reader, sluice_json_token first,
                               sluice_error *err)
{
    if (first != SLUICE_JSON_ARRAY && first != SLUICE_JSON_OBJECT) return SLUICE_OK;
    unsigned outside = reader->depth - 1;
    while (reader->depth > outside) {
        sluice_json_token token;
        SLUICE_TRY(sluice_json_next(reader, &token, err));
    }
    return SLUICE_OK;
}

bool sluice_json_text_is(const sluice_json_reader *reader, const char *string)
{
    return reader->text_length == strlen(string) &&
           memcmp(reader->text, string, reader->text_length) == 0;
}

const char *sluice_json_token_name(sluice_json_token token)
{
    switch (token) {
    case SLUICE_JSON_NULL: return "null";
    case SLUICE_JSON_FALSE:
    case SLUICE_JSON_TRUE: return "a boolean";
    case SLUICE_JSON_NUMBER: return "a number";
    case SLUICE_JSON_STRING: return "a string";
    case SLUICE_JSON_ARRAY: return "an array";
    case SLUICE_JSON_OBJECT: return "an object";
    default: return "the end";
    }
}
