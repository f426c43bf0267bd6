/* Text whose parts differ in trust: the bytes, and which of them a template wrote itself. */
#ifndef SLUICE_TOKENIZER_ROPE_H
#define SLUICE_TOKENIZER_ROPE_H

#include <stdbool.h>
#include <stddef.h>

#include "sluice/text.h"
#include "tokenizer/text_buffer.h"

/* Zero-initialise. As with a text buffer, a failed append marks text as failed. */
typedef struct sluice_rope {
    sluice_text_buffer text;
    sluice_span *trusted; /* sorted, neither empty nor touching */
    size_t count, capacity;
} sluice_rope;

void sluice_rope_append(sluice_rope *rope, const char *bytes, size_t length, bool trusted);

/* Marks the bytes from begin to the end as the template's own. */
void sluice_rope_trust(sluice_rope *rope, size_t begin);

/* Appends bytes [begin, end) of another rope with their trust. */
void sluice_rope_append_slice(sluice_rope *rope, const sluice_rope *from, size_t begin, size_t end);
void sluice_rope_free(sluice_rope *rope);

#endif
