/* HTTP: listening, limits, and requests as whole bodies.
 *
 * What: a thread per connection (libmicrohttpd), so that a handler may wait for its answer. The
 * body is read whole and within limits of bytes and time; who may ask is checked before it is read;
 * JSON that is malformed, not UTF-8 or nested too deep never reaches a handler. Every error has the
 * shape of the API that was asked.
 *
 * What it does not do: know what any path means (routes.c), or TLS (put a proxy in front). */
#ifndef SLUICE_PROGRAMS_SERVER_HTTP_H
#define SLUICE_PROGRAMS_SERVER_HTTP_H

#include <jansson.h>
#include <sys/types.h>

#include "server/buffer.h"
#include "server/error.h"
#include "server/server.h"

typedef struct server_http server_http;
typedef struct server_request server_request;

/* Binds, listens and answers until stopped. *port: what was asked for, or what 0 became.
 * SLUICE_IO names host and port. */
sluice_status server_http_start(server *s, server_http **out, int *port, sluice_error *err);
void server_http_quiesce(server_http *http); /* accept no more connections */
void server_http_stop(server_http *http);    /* close all, wait for their threads, free */

/* ---- for handlers ---- */

server *server_request_server(const server_request *request);
json_t *server_request_json(const server_request *request); /* the body; NULL for GET */
server_error *server_request_error(server_request *request);
const char *server_request_path(const server_request *request);
int server_request_socket(const server_request *request);
uint64_t server_request_client(const server_request *request); /* who asks, for fairness */

/* Its jobs are submitted. (Answering says so too.) */
void server_request_came(server_request *request);

/* Each request is answered by exactly one of these. value is released. */
void server_answer_json(server_request *request, int status, json_t *value);
void server_answer_text(server_request *request, const char *type, const char *bytes,
                        size_t length);
void server_answer_error(server_request *request); /* its error, in its API's shape */

/* An answer that comes in pieces. next appends to out, waiting as long as it must; false: this was
 * the last piece. finish is called once, also when the client went away. */
typedef struct server_stream {
    bool (*next)(void *context, server_buffer *out);
    void (*finish)(void *context);
    void *context;
} server_stream;
void server_answer_stream(server_request *request, const char *type, server_stream stream);

#endif
