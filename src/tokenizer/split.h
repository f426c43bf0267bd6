/* One Split pre-tokenizer: a pattern that cuts text into its matches and what lies between them. */
#ifndef SLUICE_TOKENIZER_SPLIT_H
#define SLUICE_TOKENIZER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct sluice_split sluice_split;

/* pattern: a regular expression as the reference reads it, or if literal a plain string. name
 * stands for the file in errors. Immutable: any number of threads may match with it. */
sluice_status sluice_split_new(const char *name, const char *pattern, size_t length, bool literal,
                               sluice_split **out, sluice_error *err);
void sluice_split_free(sluice_split *split);

/* What one thread needs to match. Zero-initialise. */
typedef struct sluice_split_scratch {
    struct pcre2_real_match_data_8 *match;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
} sluice_split_scratch;

void sluice_split_scratch_free(sluice_split_scratch *scratch);

/* The first match at or behind from, possibly empty, in a text of valid UTF-8 that is all the
 * pattern sees; begin and end are length if there is none. SLUICE_LIMIT: the pattern needs more
 * steps than PCRE2 allows. */
sluice_status sluice_split_find(const sluice_split *split, sluice_split_scratch *scratch,
                                const char *text, size_t length, size_t from, size_t *begin,
                                size_t *end, sluice_error *err);

#endif
