/* UTF-8: checking, stepping through it, and the two kinds of white space that the reference knows.
 */
#ifndef SLUICE_TOKENIZER_UTF8_H
#define SLUICE_TOKENIZER_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sluice_utf8_result {
    SLUICE_UTF8_VALID,     /* a character */
    SLUICE_UTF8_INVALID,   /* the longest prefix that could begin a character, or one byte */
    SLUICE_UTF8_INCOMPLETE /* the text ends within what may become a character */
} sluice_utf8_result;

/* Looks at the first character of length >= 1 bytes: *step receives the bytes it takes, *codepoint
 * the character if it is valid. Ill-formed parts are cut as the Unicode standard (3.9,
 * "substitution of maximal subparts") and Rust's from_utf8_lossy cut them. */
sluice_utf8_result sluice_utf8_step(const char *text, size_t length, size_t *step,
                                    uint32_t *codepoint);

/* The offset of the first byte that is not UTF-8, or length. */
size_t sluice_utf8_check(const char *text, size_t length);

/* Writes 1 to 4 bytes, returns how many. */
size_t sluice_utf8_encode(uint32_t codepoint, char bytes[4]);

/* The character at text (which must be valid UTF-8), and the bytes that it takes. */
uint32_t sluice_utf8_decode(const char *text, size_t *step);

/* The start of the character that ends at end (in valid UTF-8, end > 0). */
size_t sluice_utf8_previous(const char *text, size_t end);

/* The property White_Space: what \s means in regular expressions of the reference. */
bool sluice_utf8_is_white_space(uint32_t codepoint);

/* What Python's str.isspace accepts: White_Space and the separators U+001C to U+001F. */
bool sluice_utf8_is_python_space(uint32_t codepoint);

#endif
