/* Refusals before or in place of libmicrohttpd's answers: whole responses in the API's error shape,
 * written to the socket past it.
 *
 * libmicrohttpd refuses what is not HTTP by itself, with pages of HTML, and lets nobody change
 * them; but just before it does so it logs a line, from the thread of the connection. That is the
 * moment to say the same in JSON and to close the connection for sending, so that the page goes
 * nowhere. Should another version log something else, clients get its pages again, and nothing
 * worse. */
#ifndef SLUICE_PROGRAMS_SERVER_REFUSAL_H
#define SLUICE_PROGRAMS_SERVER_REFUSAL_H

#include <stdarg.h>

#include "server/buffer.h"
#include "server/deadline.h"
#include "server/error.h"

/* A whole HTTP response that ends its connection. Empty without memory. */
void server_refusal_response(server_api api, const server_error *err, const char *reason,
                             server_buffer *out);

/* This thread's connection has sent a first line, whose path belongs to api. */
void server_refusal_speaks(server_deadline *deadline, server_api api);

/* What libmicrohttpd logs in this thread. */
void server_refusal_log(server_deadlines *deadlines, const char *format, va_list args);

#endif
