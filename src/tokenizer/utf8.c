/* UTF-8: see utf8.h. */
#include "tokenizer/utf8.h"

#include <string.h>

static unsigned char_at(const char *text, size_t at)
{
    return (unsigned char)text[at];
}

/* The length that a first byte announces and the range of the byte behind it (table 3-7 of the
 * Unicode standard); 0 for a byte that begins nothing. */
static size_t lead(unsigned byte, unsigned *low, unsigned *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (byte < 0x80) return 1;
    if (byte < 0xC2) return 0;
    if (byte < 0xE0) return 2;
    if (byte < 0xF0) {
        if (byte == 0xE0) *low = 0xA0;
        if (byte == 0xED) *high = 0x9F;
        return 3;
    }
    if (byte > 0xF4) return 0;
    if (byte == 0xF0) *low = 0x90;
    if (byte == 0xF4) *high = 0x8F;
    return 4;
}

sluice_utf8_result sluice_utf8_step(const char *text, size_t length, size_t *step,
                                    uint32_t *codepoint)
{
    unsigned low, high, first = char_at(text, 0);
    size_t wanted = lead(first, &low, &high);
    *step = 1;
    if (wanted == 0) return SLUICE_UTF8_INVALID;
    uint32_t value = wanted == 1 ? first : first & (0x7Fu >> wanted);
    for (size_t at = 1; at < wanted; at++) {
        *step = at;
        if (at == length) return SLUICE_UTF8_INCOMPLETE;
        unsigned byte = char_at(text, at);
        if (byte < low || byte > high) return SLUICE_UTF8_INVALID;
        value = value << 6 | (byte & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *step = wanted;
    *codepoint = value;
    return SLUICE_UTF8_VALID;
}

size_t sluice_utf8_check(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t word;
        while (length - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if (word & UINT64_C(0x8080808080808080)) break;
            at += sizeof word;
        }
        if (at == length) break;
        if (char_at(text, at) < 0x80) {
            at++;
            continue;
        }
        size_t step;
        uint32_t codepoint;
        if (sluice_utf8_step(text + at, length - at, &step, &codepoint) != SLUICE_UTF8_VALID) {
            return at;
        }
        at += step;
    }
    return length;
}

size_t sluice_utf8_encode(uint32_t codepoint, char bytes[4])
{
    if (codepoint < 0x80) {
        bytes[0] = (char)codepoint;
        return 1;
    }
    size_t length = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t at = length - 1; at > 0; at--) {
        bytes[at] = (char)(0x80 | (codepoint & 0x3F));
        codepoint >>= 6;
    }
    bytes[0] = (char)((0xF00u >> length & 0xFF) | codepoint);
    return length;
}

uint32_t sluice_utf8_decode(const char *text, size_t *step)
{
    unsigned first = char_at(text, 0);
    size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    uint32_t value = length == 1 ? first : first & (0x7Fu >> length);
    for (size_t at = 1; at < length; at++)
        value = value << 6 | (char_at(text, at) & 0x3F);
    *step = length;
    return value;
}

size_t sluice_utf8_previous(const char *text, size_t end)
{
    do
        end--;
    while (end > 0 && (char_at(text, end) & 0xC0) == 0x80);
    return end;
}

bool sluice_utf8_is_white_space(uint32_t codepoint)
{
    if (codepoint < 0x80) return codepoint == ' ' || (codepoint >= 9 && codepoint <= 13);
    switch (codepoint) {
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000: return true;
    default: return codepoint >= 0x2000 && codepoint <= 0x200A;
    }
}

bool sluice_utf8_is_python_space(uint32_t codepoint)
{
    return (codepoint >= 0x1C && codepoint <= 0x1F) || sluice_utf8_is_white_space(codepoint);
}
