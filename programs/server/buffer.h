/* Bytes that grow. A buffer that ran out of memory says so (failed) and ignores what follows, so
 * that writers need to look only once. */
#ifndef SLUICE_PROGRAMS_SERVER_BUFFER_H
#define SLUICE_PROGRAMS_SERVER_BUFFER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct server_buffer {
    char *bytes;
    size_t length, capacity;
    bool failed;
} server_buffer;

void server_buffer_free(server_buffer *buffer); /* and is then empty again */
void server_buffer_clear(server_buffer *buffer);
void server_buffer_append(server_buffer *buffer, const char *bytes, size_t length);
void server_buffer_text(server_buffer *buffer, const char *text);
void server_buffer_printf(server_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Compact JSON of value, which is released; NULL fails the buffer. */
void server_buffer_json(server_buffer *buffer, json_t *value);

/* One server-sent event; event may be NULL. value is released. */
void server_buffer_event(server_buffer *buffer, const char *event, json_t *value);

#endif
