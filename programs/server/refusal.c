/* Refusals past libmicrohttpd; see refusal.h. */
#include "server/refusal.h"

#include <string.h>

/* libmicrohttpd has a thread for each connection, which ends with it. NULL: it has not sent a whole
 * first line. */
static _Thread_local server_deadline *connection;
static _Thread_local server_api connection_api;

void server_refusal_speaks(server_deadline *deadline, server_api api)
{
    connection = deadline;
    connection_api = api;
}

void server_refusal_response(server_api api, const server_error *err, const char *reason,
                             server_buffer *out)
{
    server_buffer body = {0};
    server_buffer_json(&body, server_error_json(api, err));
    server_buffer_printf(out,
                         "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                         server_error_status(api, err), reason, body.length);
    server_buffer_append(out, body.bytes ? body.bytes : "", body.length);
    if (out->failed || body.failed) server_buffer_free(out);
    server_buffer_free(&body);
}

static const char *say(unsigned status, server_error *err)
{
    switch (status) {
    case 413:
        server_error_set(err, 413, NULL, NULL, "the Content-Length is larger than any limit");
        return "Content Too Large";
    case 414:
        server_error_set(err, 414, NULL, NULL, "the request's first line is too long");
        return "URI Too Long";
    case 431:
        server_error_set(err, 431, NULL, NULL, "the request's headers are too large");
        return "Request Header Fields Too Large";
    case 505:
        server_error_set(err, 505, NULL, NULL, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        return "HTTP Version Not Supported";
    default:
        server_error_set(err, 400, NULL, NULL, "the request is malformed: this is not HTTP");
        return "Bad Request";
    }
}

void server_refusal_log(server_deadlines *deadlines, const char *format, va_list args)
{
    static const char refused[] = "Error processing request (HTTP response code is %u ";
    server_error err = {0};
    server_buffer response = {0};
    if (strncmp(format, refused, sizeof refused - 1) != 0) return;
    const char *reason = say(va_arg(args, unsigned), &err);
    server_refusal_response(connection ? connection_api : SERVER_API_OPENAI, &err, reason,
                            &response);
    if (response.length) server_deadline_refuse(deadlines, connection, response.bytes);
    server_buffer_free(&response);
}
