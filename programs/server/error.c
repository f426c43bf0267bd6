/* Errors of requests; see error.h. */
#include "server/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool server_error_set(server_error *err, int status, const char *code, const char *param,
                      const char *format, ...)
{
    va_list args;
    if (err->status) return false;
    err->status = status;
    err->code = code;
    snprintf(err->param, sizeof err->param, "%s", param ? param : "");
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return false;
}

bool server_error_from(server_error *err, const sluice_error *from)
{
    const char *detail = from->detail[0] ? from->detail : sluice_status_text(from->code);
    switch (from->code) {
    case SLUICE_BAD_INPUT:
    case SLUICE_USAGE:
    case SLUICE_UNSUPPORTED:
    case SLUICE_LIMIT: return server_error_set(err, 400, NULL, NULL, "%s", detail);
    case SLUICE_NO_MEMORY: return server_error_set(err, 503, "overloaded", NULL, "%s", detail);
    default: return server_error_set(err, 500, NULL, NULL, "%s", detail);
    }
}

static const char *openai_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static const char *anthropic_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

/* The message may have been cut within a character. */
static json_t *message_json(const char *message)
{
    for (size_t length = strlen(message), cut = 0; cut <= length && cut < 4; cut++) {
        json_t *text = json_stringn(message, length - cut);
        if (text) return text;
    }
    return json_string("the request is malformed");
}

json_t *server_error_json(server_api api, const server_error *err)
{
    if (api == SERVER_API_ANTHROPIC)
        return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type",
                         anthropic_type(err->status), "message", message_json(err->message));
    return json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message", message_json(err->message),
                     "type", openai_type(err->status), "param", err->param[0] ? err->param : NULL,
                     "code", err->code);
}

int server_error_status(server_api api, const server_error *err)
{
    return api == SERVER_API_ANTHROPIC && err->status == 503 ? 529 : err->status;
}
