/* Bytes that grow; see buffer.h. */
#include "server/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void server_buffer_free(server_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (server_buffer){0};
}

void server_buffer_clear(server_buffer *buffer)
{
    buffer->length = 0;
    if (buffer->bytes) buffer->bytes[0] = '\0';
}

/* Room for length more bytes and a NUL. */
static bool reserve(server_buffer *buffer, size_t length)
{
    if (buffer->failed) return false;
    size_t wanted = buffer->length + length + 1;
    if (wanted <= buffer->capacity) return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity < wanted)
        capacity *= 2;
    char *grown = realloc(buffer->bytes, capacity);
    if (!grown) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return true;
}

void server_buffer_append(server_buffer *buffer, const char *bytes, size_t length)
{
    if (!reserve(buffer, length)) return;
    if (length) memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    buffer->bytes[buffer->length] = '\0';
}

void server_buffer_text(server_buffer *buffer, const char *text)
{
    server_buffer_append(buffer, text, strlen(text));
}

void server_buffer_printf(server_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || !reserve(buffer, (size_t)length)) return;
    va_start(args, format);
    vsnprintf(buffer->bytes + buffer->length, (size_t)length + 1, format, args);
    va_end(args);
    buffer->length += (size_t)length;
}

static int append_json(const char *bytes, size_t length, void *context)
{
    server_buffer *buffer = context;
    server_buffer_append(buffer, bytes, length);
    return buffer->failed ? -1 : 0;
}

void server_buffer_json(server_buffer *buffer, json_t *value)
{
    if (!value || json_dump_callback(value, append_json, buffer,
                                     JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) != 0)
        buffer->failed = true;
    json_decref(value);
}

void server_buffer_event(server_buffer *buffer, const char *event, json_t *value)
{
    if (event) server_buffer_printf(buffer, "event: %s\n", event);
    server_buffer_text(buffer, "data: ");
    server_buffer_json(buffer, value);
    server_buffer_text(buffer, "\n\n");
}
