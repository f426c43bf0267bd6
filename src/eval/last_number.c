/* The last number of a text (see last_number.h).
 *
 * The usual harness takes the last match of (-?[$0-9.,]{2,})|(-?[0-9]+), drops "$", "," and a
 * final "." and compares text. This finds the same number, and compares by value besides: "$18.00"
 * is 18. */
#include "eval/last_number.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool belongs(char c)
{
    return is_digit(c) || c == '$' || c == ',' || c == '.';
}

/* Digits and one point of text, without "$", "," and leading zeros, at most room of them; false if
 * more. */
static bool keep_digits(const char *text, size_t length, char *out, size_t room, size_t *kept)
{
    bool point = false;
    *kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]) && (text[i] != '.' || point)) continue;
        if (text[i] == '0' && *kept == 0) continue;
        point = point || text[i] == '.';
        if (*kept == room) return false;
        out[(*kept)++] = text[i];
    }
    return true;
}

bool sluice_last_number(const char *text, size_t length, char number[SLUICE_NUMBER_BYTES])
{
    char digits[SLUICE_NUMBER_BYTES - 3]; /* without a sign, a leading 0, the end */
    size_t end = length, begin, n;
    while (end > 0 && !is_digit(text[end - 1]))
        end--;
    if (end == 0) return false;
    for (begin = end; begin > 0 && belongs(text[begin - 1]);)
        begin--;
    bool negative = begin > 0 && text[begin - 1] == '-';
    if (!keep_digits(text + begin, end - begin, digits, sizeof digits, &n)) return false;
    if (memchr(digits, '.', n))
        while (digits[n - 1] == '0' || digits[n - 1] == '.')
            if (digits[--n] == '.') break;
    char *to = number;
    if (negative && n) *to++ = '-';
    if (!n || digits[0] == '.') *to++ = '0';
    memcpy(to, digits, n);
    to[n] = '\0';
    return true;
}
