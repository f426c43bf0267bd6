/* Which path is answered by what; see routes.h. */
#include "server/routes.h"

#include <string.h>

#include "server/anthropic.h"
#include "server/openai.h"

static const server_route routes[] = {
    {"GET", "/health", SERVER_API_OPENAI, true, server_health},
    {"GET", "/metrics", SERVER_API_OPENAI, false, server_metrics},
    {"GET", "/v1/models", SERVER_API_OPENAI, false, server_models},
    {"GET", "/v1/models/", SERVER_API_OPENAI, false, server_model}, /* and what follows */
    {"POST", "/v1/chat/completions", SERVER_API_OPENAI, false, server_openai_chat},
    {"POST", "/v1/completions", SERVER_API_OPENAI, false, server_openai_completions},
    {"POST", "/v1/responses", SERVER_API_OPENAI, false, server_openai_responses},
    {"POST", "/v1/messages", SERVER_API_ANTHROPIC, false, server_anthropic_messages},
    {"POST", "/v1/messages/count_tokens", SERVER_API_ANTHROPIC, false, server_anthropic_count},
    {"POST", "/tokenize", SERVER_API_OPENAI, false, server_tokenize},
    {"POST", "/detokenize", SERVER_API_OPENAI, false, server_detokenize},
    {"GET", "/tokenizer_info", SERVER_API_OPENAI, false, server_tokenizer_info},
};

static bool matches(const server_route *route, const char *path)
{
    size_t length = strlen(route->path);
    if (route->path[length - 1] == '/')
        return !strncmp(route->path, path, length) && path[length] != '\0';
    return !strcmp(route->path, path);
}

const server_route *server_route_find(const char *method, const char *path, bool *other_method)
{
    *other_method = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!matches(&routes[i], path)) continue;
        if (!strcmp(routes[i].method, method)) return &routes[i];
        *other_method = true;
    }
    return NULL;
}

server_api server_route_api(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (matches(&routes[i], path)) return routes[i].api;
    return strncmp(path, "/v1/messages", 12) == 0 ? SERVER_API_ANTHROPIC : SERVER_API_OPENAI;
}
