/* HTTP; see http.h. */
#include "server/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "output.h"
#include "server/access.h"
#include "server/deadline.h"
#include "server/hash.h"
#include "server/listen.h"
#include "server/refusal.h"
#include "server/routes.h"
#include "server/scheduler.h"

struct server_http {
    server *server;
    struct MHD_Daemon *daemon;
    server_deadlines *deadlines;
    server_buffer late[2]; /* for clients too slow to send a request, by API */
};

struct server_request {
    server_http *http;
    struct MHD_Connection *connection;
    server_deadline *deadline;
    const server_route *route;
    const char *path; /* libmicrohttpd's, valid while the request is */
    server_api api;
    server_buffer body;
    json_t *json;
    server_error error;
    bool too_large, preflight;
    bool expected;                 /* the scheduler expects jobs of it */
    struct MHD_Response *response; /* what was answered */
    unsigned status;
};

server *server_request_server(const server_request *request)
{
    return request->http->server;
}

json_t *server_request_json(const server_request *request)
{
    return request->json;
}

server_error *server_request_error(server_request *request)
{
    return &request->error;
}

const char *server_request_path(const server_request *request)
{
    return request->path;
}

int server_request_socket(const server_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

void server_request_came(server_request *request)
{
    if (request->expected) server_scheduler_came(request->http->server->scheduler);
    request->expected = false;
}

/* Of the address without its port. */
uint64_t server_request_client(const server_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const unsigned char *bytes = NULL;
    size_t n = 0;
    if (info && info->client_addr && info->client_addr->sa_family == AF_INET) {
        bytes = (const unsigned char *)&((struct sockaddr_in *)(void *)info->client_addr)->sin_addr;
        n = sizeof(struct in_addr);
    } else if (info && info->client_addr && info->client_addr->sa_family == AF_INET6) {
        bytes =
            (const unsigned char *)&((struct sockaddr_in6 *)(void *)info->client_addr)->sin6_addr;
        n = sizeof(struct in6_addr);
    }
    return server_hash(SERVER_HASH_START, bytes, n);
}

static void answer(server_request *request, int status, const char *type,
                   struct MHD_Response *response)
{
    server_request_came(request);
    if (!response) return; /* the connection is then closed */
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == 503 || status == 529) MHD_add_response_header(response, "Retry-After", "1");
    if (status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    server_access_headers(request->http->server, response);
    request->response = response;
    request->status = (unsigned)status;
}

static struct MHD_Response *response_of(server_buffer *buffer)
{
    if (buffer->failed) {
        server_buffer_free(buffer);
        return NULL;
    }
    return MHD_create_response_from_buffer(buffer->length, buffer->bytes, MHD_RESPMEM_MUST_FREE);
}

void server_answer_json(server_request *request, int status, json_t *value)
{
    server_buffer buffer = {0};
    server_buffer_json(&buffer, value);
    server_buffer_text(&buffer, "\n");
    answer(request, status, "application/json", response_of(&buffer));
}

void server_answer_text(server_request *request, const char *type, const char *bytes, size_t length)
{
    answer(
        request, 200, type,
        MHD_create_response_from_buffer(length, (void *)(uintptr_t)bytes, MHD_RESPMEM_MUST_COPY));
}

void server_answer_error(server_request *request)
{
    server_counters *counters = &request->http->server->counters;
    atomic_fetch_add(
        request->error.status >= 500 ? &counters->errors_server : &counters->errors_client, 1);
    server_answer_json(request, server_error_status(request->api, &request->error),
                       server_error_json(request->api, &request->error));
}

/* A stream in libmicrohttpd's hands: what of it was produced but not yet taken. */
typedef struct streaming {
    server_stream stream;
    server_http *http;
    server_deadline *deadline;
    server_buffer pending;
    size_t taken;
    bool over;
} streaming;

static ssize_t stream_read(void *context, uint64_t position, char *out, size_t max)
{
    streaming *s = context;
    (void)position;
    server_deadline_ours(s->http->deadlines, s->deadline);
    while (s->taken == s->pending.length && !s->over) {
        server_buffer_clear(&s->pending);
        s->taken = 0;
        s->over = !s->stream.next(s->stream.context, &s->pending);
        if (s->pending.failed) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = s->pending.length - s->taken;
    if (n > max) n = max;
    if (n == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(out, s->pending.bytes + s->taken, n);
    s->taken += n;
    server_deadline_takes(s->http->deadlines, s->deadline);
    return (ssize_t)n;
}

static void stream_free(void *context)
{
    streaming *s = context;
    s->stream.finish(s->stream.context);
    server_buffer_free(&s->pending);
    free(s);
}

void server_answer_stream(server_request *request, const char *type, server_stream stream)
{
    streaming *s = calloc(1, sizeof *s);
    struct MHD_Response *response = NULL;
    if (s) {
        *s = (streaming){.stream = stream, .http = request->http, .deadline = request->deadline};
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, stream_read, s,
                                                     stream_free);
    }
    if (!response) {
        stream.finish(stream.context);
        free(s);
        return;
    }
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    answer(request, 200, type, response);
}

/* Hands the answer to libmicrohttpd; without one the connection is closed. */
static enum MHD_Result deliver(server_request *request)
{
    if (!request->response) return MHD_NO;
    struct MHD_Response *response = request->response;
    request->response = NULL;
    server_deadline_takes(request->http->deadlines, request->deadline);
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

static const char *header(const server_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* A browser's question before the real request. */
static enum MHD_Result answer_preflight(server_request *request)
{
    answer(request, 204, "text/plain",
           MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT));
    return deliver(request);
}

static void check_headers(server_request *request, const char *method, const char *path)
{
    const server *s = request->http->server;
    server_error *err = &request->error;
    const char *type = header(request, "Content-Type"), *length = header(request, "Content-Length");
    bool other_method = false;
    request->route = server_route_find(method, path, &other_method);
    server_access_check(s, request->connection,
                        request->preflight || (request->route && request->route->open), err);
    if (request->preflight || err->status) return;
    if (!request->route && other_method)
        server_error_set(err, 405, NULL, NULL, "%s is not answered at %.100s", method, path);
    else if (!request->route)
        server_error_set(err, 404, "not_found", NULL, "there is nothing at %.100s", path);
    if (!strcmp(method, "POST") && (!type || strncasecmp(type, "application/json", 16) != 0))
        server_error_set(err, 415, NULL, NULL, "the Content-Type must be application/json");
    if (length && strtoull(length, NULL, 10) > s->options.body_bytes_max)
        server_error_set(err, 413, NULL, NULL, "the body is larger than the limit of %llu bytes",
                         (unsigned long long)s->options.body_bytes_max);
}

static void take_body(server_request *request, const char *bytes, size_t n)
{
    uint64_t max = request->http->server->options.body_bytes_max;
    if (request->too_large || request->body.length + n > max) {
        request->too_large = true;
        server_buffer_free(&request->body);
        return;
    }
    server_buffer_append(&request->body, bytes, n);
}

static void parse_body(server_request *request)
{
    json_error_t why;
    server_error *err = &request->error;
    if (request->too_large) {
        server_error_set(err, 413, NULL, NULL, "the body is larger than the limit of %llu bytes",
                         (unsigned long long)request->http->server->options.body_bytes_max);
    } else if (request->body.failed) {
        server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
    } else {
        request->json =
            json_loadb(request->body.bytes ? request->body.bytes : "", request->body.length,
                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
        if (!request->json)
            server_error_set(err, 400, NULL, NULL,
                             "the body is not valid JSON: line %d column %d: %s", why.line,
                             why.column, why.text);
        else if (!json_is_object(request->json))
            server_error_set(err, 400, NULL, NULL, "the body must be a JSON object");
    }
    server_buffer_free(&request->body);
}

static server_deadline *deadline_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static server_request *request_new(server_http *http, struct MHD_Connection *connection,
                                   const char *method, const char *path)
{
    server_request *request = calloc(1, sizeof *request);
    if (!request) return NULL;
    request->http = http;
    request->connection = connection;
    request->deadline = deadline_of(connection);
    request->path = path;
    request->api = server_route_api(path);
    if (header(request, "anthropic-version")) request->api = SERVER_API_ANTHROPIC;
    request->preflight = http->server->options.cors && !strcmp(method, "OPTIONS");
    atomic_fetch_add(&http->server->counters.requests, 1);
    return request;
}

/* The first line of a request is there. */
static void *on_path(void *context, const char *path, struct MHD_Connection *connection)
{
    server_http *http = context;
    server_deadline *deadline = deadline_of(connection);
    server_api api = server_route_api(path);
    server_refusal_speaks(deadline, api);
    server_deadline_spoke(http->deadlines, deadline);
    server_deadline_sends(http->deadlines, deadline, http->late[api].bytes);
    return NULL;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **kept)
{
    server_http *http = context;
    server_request *request = *kept;
    (void)version;
    if (!request) {
        request = *kept = request_new(http, connection, method, path);
        if (!request) return MHD_NO;
        check_headers(request, method, path);
        if (request->error.status) {
            server_answer_error(request);
            return deliver(request);
        }
        if (request->preflight) return answer_preflight(request);
        request->expected = !strcmp(method, "POST");
        if (request->expected) server_scheduler_expect(http->server->scheduler);
        return MHD_YES;
    }
    if (*upload_size > 0) {
        take_body(request, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    server_deadline_ours(http->deadlines, request->deadline);
    if (!strcmp(method, "POST")) parse_body(request);
    if (request->error.status)
        server_answer_error(request);
    else
        request->route->handle(request);
    return deliver(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **kept,
                         enum MHD_RequestTerminationCode code)
{
    server_http *http = context;
    server_request *request = *kept;
    (void)connection;
    (void)code;
    if (!request) return;
    server_request_came(request);
    server_deadline_sends(http->deadlines, request->deadline, NULL);
    if (request->response) MHD_destroy_response(request->response);
    server_buffer_free(&request->body);
    json_decref(request->json);
    free(request);
    *kept = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    server_http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info ? server_deadline_begin(http->deadlines, info->connect_fd) : NULL;
        server_deadline_sends(http->deadlines, *socket_context,
                              http->late[SERVER_API_OPENAI].bytes);
    } else {
        server_deadline_end(http->deadlines, *socket_context);
        *socket_context = NULL;
    }
}

/* What libmicrohttpd says is about clients that do not speak HTTP: not worth a line each, but an
 * answer. */
static void on_log(void *context, const char *format, va_list args)
{
    const server_http *http = context;
    server_refusal_log(http->deadlines, format, args);
}

/* What a client is told that does not get its request sent. */
static void make_late(server_http *http, server_api api)
{
    server_error err = {0};
    server_error_set(&err, 408, "request_timeout", NULL,
                     "the request took longer than %d s to come", http->server->options.timeout_s);
    server_refusal_response(api, &err, "Request Timeout", &http->late[api]);
}

static void http_free(server_http *http)
{
    server_deadlines_free(http->deadlines);
    server_buffer_free(&http->late[SERVER_API_OPENAI]);
    server_buffer_free(&http->late[SERVER_API_ANTHROPIC]);
    free(http);
}

sluice_status server_http_start(server *s, server_http **out, int *port, sluice_error *err)
{
    int listening;
    server_http *http = calloc(1, sizeof *http);
    if (!http) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory for the server"};
        return err->code;
    }
    http->server = s;
    sluice_status status = server_listen(s->options.host, port, &listening, err);
    if (status == SLUICE_OK) {
        make_late(http, SERVER_API_OPENAI);
        make_late(http, SERVER_API_ANTHROPIC);
        status = server_deadlines_new(s->options.timeout_s, &s->counters.errors_client,
                                      &http->deadlines, err);
        if (status != SLUICE_OK) close(listening);
    }
    if (status != SLUICE_OK) {
        http_free(http);
        return status;
    }
    http->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, http,
        MHD_OPTION_LISTEN_SOCKET, listening, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->options.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 << 10,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_URI_LOG_CALLBACK, on_path, http, MHD_OPTION_END);
    if (!http->daemon) {
        close(listening);
        http_free(http);
        *err = (sluice_error){SLUICE_IO, "the HTTP server could not be started"};
        return err->code;
    }
    *out = http;
    return SLUICE_OK;
}

void server_http_quiesce(server_http *http)
{
    int listening = MHD_quiesce_daemon(http->daemon);
    if (listening >= 0) close(listening);
}

void server_http_stop(server_http *http)
{
    if (!http) return;
    MHD_stop_daemon(http->daemon);
    http_free(http);
}
