/* Looks for stop strings in a text that comes in pieces, and holds back what may become one. */
#ifndef SLUICE_PROGRAMS_SERVER_STOP_TEXT_H
#define SLUICE_PROGRAMS_SERVER_STOP_TEXT_H

#include "server/buffer.h"

typedef struct server_stop_text {
    char *const *stops; /* borrowed */
    size_t n_stops;
    bool thinking; /* nothing stops before </think> */
    server_buffer held;
    size_t given; /* of held, by the last call */
} server_stop_text;

/* Takes a piece. *out, *length: what can be given out now, valid until the next call. Returns which
 * stop was found, and then everything before it is given out; -1: none yet. */
int server_stop_text_feed(server_stop_text *stop, const char *text, size_t length, const char **out,
                          size_t *out_length);

/* The text ends: what is still held back. */
void server_stop_text_finish(server_stop_text *stop, const char **out, size_t *out_length);
void server_stop_text_free(server_stop_text *stop);

#endif
