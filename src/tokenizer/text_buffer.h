/* Bytes that grow. An append that finds no memory marks the buffer as failed and later appends do
 * nothing, so that callers check once, when they take the result. */
#ifndef SLUICE_TOKENIZER_TEXT_BUFFER_H
#define SLUICE_TOKENIZER_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "sluice/text.h"

/* Zero-initialise. */
typedef struct sluice_text_buffer {
    char *bytes;
    size_t length, capacity;
    bool failed;
} sluice_text_buffer;

/* Makes room for more bytes behind length; NULL and failed if there is no memory. */
char *sluice_text_buffer_reserve(sluice_text_buffer *buffer, size_t more);
void sluice_text_buffer_append(sluice_text_buffer *buffer, const char *bytes, size_t length);
void sluice_text_buffer_append_character(sluice_text_buffer *buffer, uint32_t codepoint);
/* Drops the first bytes. */
void sluice_text_buffer_consume(sluice_text_buffer *buffer, size_t length);
void sluice_text_buffer_free(sluice_text_buffer *buffer);

/* Moves the bytes into out, NUL-terminated; SLUICE_NO_MEMORY if an append has failed. The buffer is
 * empty afterwards in both cases. */
sluice_status sluice_text_buffer_take(sluice_text_buffer *buffer, sluice_text *out,
                                      sluice_error *err);

static inline void sluice_text_buffer_append_byte(sluice_text_buffer *buffer, char byte)
{
    sluice_text_buffer_append(buffer, &byte, 1);
}

static inline void sluice_text_buffer_append_string(sluice_text_buffer *buffer, const char *string)
{
    sluice_text_buffer_append(buffer, string, strlen(string));
}

#endif
