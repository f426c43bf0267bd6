/* Bytes that grow: see text_buffer.h. */
#include "tokenizer/text_buffer.h"

#include <stdlib.h>

#include "tokenizer/utf8.h"

char *sluice_text_buffer_reserve(sluice_text_buffer *buffer, size_t more)
{
    if (buffer->failed) return NULL;
    /* One byte beyond is kept for the NUL of sluice_text_buffer_take. */
    if (more >= SIZE_MAX / 2 - buffer->length) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->length + more + 1;
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity * 2 : 64;
        if (capacity < needed) capacity = needed;
        char *bytes = realloc(buffer->bytes, capacity);
        if (!bytes) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->length;
}

void sluice_text_buffer_append(sluice_text_buffer *buffer, const char *bytes, size_t length)
{
    char *to = length ? sluice_text_buffer_reserve(buffer, length) : NULL;
    if (!to) return;
    memcpy(to, bytes, length);
    buffer->length += length;
}

void sluice_text_buffer_append_character(sluice_text_buffer *buffer, uint32_t codepoint)
{
    char bytes[4];
    sluice_text_buffer_append(buffer, bytes, sluice_utf8_encode(codepoint, bytes));
}

void sluice_text_buffer_consume(sluice_text_buffer *buffer, size_t length)
{
    if (!length) return;
    memmove(buffer->bytes, buffer->bytes + length, buffer->length - length);
    buffer->length -= length;
}

void sluice_text_buffer_free(sluice_text_buffer *buffer)
{
    free(buffer->bytes);
    memset(buffer, 0, sizeof *buffer);
}

sluice_status sluice_text_buffer_take(sluice_text_buffer *buffer, sluice_text *out,
                                      sluice_error *err)
{
    sluice_text_buffer_reserve(buffer, 0);
    if (buffer->failed) {
        sluice_text_buffer_free(buffer);
        *out = (sluice_text){0};
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a text");
    }
    buffer->bytes[buffer->length] = 0;
    *out = (sluice_text){buffer->bytes, buffer->length};
    memset(buffer, 0, sizeof *buffer);
    return SLUICE_OK;
}

void sluice_text_free(sluice_text *text)
{
    if (!text) return;
    free(text->bytes);
    *text = (sluice_text){0};
}
