/* Fuzzes the tokenizer: the input is a tokenizer.json and, behind the first NUL byte, a text to
 * encode with it. Input without a NUL byte is a text for a small tokenizer that is always good, so
 * that the encoder is reached at once. What can be encoded must decode to a text that encodes to
 * something. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/text.h"

/* A character of the byte-level alphabet for each byte, as UTF-8. */
static size_t spell_byte(int byte, char out[4])
{
    static const char escaped[] = "\"\\";
    int visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    int codepoint = byte;
    if (!visible) {
        codepoint = byte <= 0x20 ? 0x100 + byte : byte <= 0xA0 ? 0x121 + byte - 0x7F : 0x143;
    }
    if (codepoint < 0x80) {
        size_t length = 0;
        if (strchr(escaped, codepoint)) out[length++] = '\\';
        out[length++] = (char)codepoint;
        return length;
    }
    out[0] = (char)(0xC0 | codepoint >> 6);
    out[1] = (char)(0x80 | (codepoint & 0x3F));
    return 2;
}

static sluice_tokenizer *open_good(void)
{
    static char json[8192];
    static const char head[] =
        "{\"added_tokens\":[{\"id\":300,\"content\":\"<s>\",\"special\":true},"
        "{\"id\":301,\"content\":\"e\\u0301\",\"normalized\":true,\"lstrip\":true},"
        "{\"id\":302,\"content\":\"xy\",\"single_word\":true,\"rstrip\":true}],"
        "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\"},"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"ab\":256,\"bc\":257,"
        "\"abc\":258,\"aa\":259";
    static const char tail[] = "},\"merges\":[\"a b\",[\"b\",\"c\"],\"ab c\",[\"a\",\"a\"]]}}";
    size_t length = sizeof head - 1;
    memcpy(json, head, length);
    for (int byte = 0; byte < 256; byte++) {
        char character[4];
        int bytes = (int)spell_byte(byte, character);
        length += (size_t)snprintf(json + length, sizeof json - length, ",\"%.*s\":%d", bytes,
                                   character, byte);
    }
    memcpy(json + length, tail, sizeof tail);
    sluice_tokenizer *tokenizer;
    sluice_error err;
    if (sluice_tokenizer_open_bytes("good", json, strlen(json), &tokenizer, &err) != SLUICE_OK) {
        fprintf(stderr, "%s\n", err.detail);
        abort();
    }
    return tokenizer;
}

static void encode(const sluice_tokenizer *tokenizer, const char *text, size_t length)
{
    sluice_span half = {length / 3, length - length / 3};
    for (int way = 0; way < 3; way++) {
        sluice_ids ids;
        sluice_error err;
        sluice_status status =
            way == 2
                ? sluice_tokenizer_encode_trusted(tokenizer, text, length, &half, 1, &ids, &err)
                : sluice_tokenizer_encode(tokenizer, text, length, (sluice_special)way, &ids, &err);
        if (status != SLUICE_OK) continue;
        sluice_text back;
        if (sluice_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, &err) ==
            SLUICE_OK) {
            sluice_ids again;
            if (sluice_tokenizer_encode(tokenizer, back.bytes, back.length, SLUICE_SPECIAL_NEVER,
                                        &again, &err) == SLUICE_OK) {
                sluice_ids_free(&again);
            } else if (err.code == SLUICE_BAD_INPUT) {
                abort(); /* decoded text must be UTF-8 */
            }
            sluice_text_free(&back);
        }
        sluice_ids_free(&ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sluice_tokenizer *good;
    if (!good) good = open_good();
    const char *bytes = (const char *)data;
    const char *end = size ? memchr(bytes, 0, size) : NULL;
    if (!end) {
        encode(good, size ? bytes : "", size);
        return 0;
    }
    size_t length = (size_t)(end - bytes);
    sluice_tokenizer *tokenizer;
    sluice_error err = {0};
    if (sluice_tokenizer_open_bytes("fuzz", bytes, length, &tokenizer, &err) == SLUICE_OK) {
        encode(tokenizer, end + 1, size - length - 1);
        sluice_tokenizer_close(tokenizer);
    } else if (!err.detail[0]) {
        abort(); /* a failure says why */
    }
    return 0;
}
