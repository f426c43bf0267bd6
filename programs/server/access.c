/* Who may ask; see access.h. */
#include "server/access.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool server_access_is_loopback(const char *host)
{
    return !strcmp(host, "localhost") || !strcmp(host, "::1") || !strncmp(host, "127.", 4);
}

/* Takes the same time wherever they differ: the time tells only the length of what was sent. */
static bool same_secret(const char *secret, const char *given)
{
    size_t length = strlen(secret), n = strlen(given);
    volatile unsigned char difference = length != n;
    for (size_t i = 0; i < n; i++)
        difference |= (unsigned char)(given[i] ^ secret[length ? i % length : 0]);
    return difference == 0;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static void check_key(const server *s, struct MHD_Connection *connection, server_error *err)
{
    const char *bearer = header(connection, "Authorization");
    const char *key = header(connection, "x-api-key");
    if (bearer && !strncasecmp(bearer, "Bearer ", 7)) key = bearer + 7;
    if (!key)
        server_error_set(err, 401, "invalid_api_key", NULL,
                         "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY");
    else if (!same_secret(s->options.api_key, key))
        server_error_set(err, 401, "invalid_api_key", NULL, "the API key is wrong");
}

/* A page that was loaded from a name which now points to 127.0.0.1 sends that name. */
static void check_host(const server *s, struct MHD_Connection *connection, server_error *err)
{
    const char *given = header(connection, "Host");
    char name[256];
    if (!given || !server_access_is_loopback(s->options.host) || s->options.api_key) return;
    snprintf(name, sizeof name, "%s", given[0] == '[' ? given + 1 : given);
    name[strcspn(name, given[0] == '[' ? "]" : ":")] = '\0';
    if (!server_access_is_loopback(name))
        server_error_set(err, 403, NULL, NULL,
                         "this server answers to localhost alone, not to '%.100s'", name);
}

/* Browsers say whose script is asking. */
static void check_origin(const server *s, struct MHD_Connection *connection, server_error *err)
{
    const char *origin = header(connection, "Origin"), *cors = s->options.cors;
    if (!origin || (cors && (!strcmp(cors, "*") || !strcmp(cors, origin)))) return;
    server_error_set(err, 403, NULL, NULL, "requests from the origin '%.100s' are not allowed",
                     origin);
}

void server_access_check(const server *s, struct MHD_Connection *connection, bool open,
                         server_error *err)
{
    check_host(s, connection, err);
    check_origin(s, connection, err);
    if (s->options.api_key && !open) check_key(s, connection, err);
}

void server_access_headers(const server *s, struct MHD_Response *response)
{
    if (!s->options.cors) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", s->options.cors);
    MHD_add_response_header(response, "Access-Control-Allow-Headers", "*, Authorization");
    MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST");
    MHD_add_response_header(response, "Vary", "Origin");
}
