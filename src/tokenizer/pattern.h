/* Rewrites a regular expression of a tokenizer.json for PCRE2.
 *
 * The reference runs these patterns with Oniguruma in Ruby's syntax. Where the two agree the text
 * is copied; where the same letters mean different sets (\s, \w, \v) they are spelled out; what has
 * no exact counterpart is refused rather than nearly right. */
#ifndef SLUICE_TOKENIZER_PATTERN_H
#define SLUICE_TOKENIZER_PATTERN_H

#include <stddef.h>

#include "base/status.h"
#include "tokenizer/text_buffer.h"

/* Appends the pattern for PCRE2. SLUICE_UNSUPPORTED names what has no counterpart. */
sluice_status sluice_pattern_rewrite(const char *name, const char *pattern, size_t length,
                                     sluice_text_buffer *to, sluice_error *err);

#endif
