/* Who may ask: the key, the Host header against DNS rebinding, and other origins' scripts. */
#ifndef SLUICE_PROGRAMS_SERVER_ACCESS_H
#define SLUICE_PROGRAMS_SERVER_ACCESS_H

#include <microhttpd.h>

#include "server/error.h"
#include "server/server.h"

/* Whether host (as for --host) is this machine alone. */
bool server_access_is_loopback(const char *host);

/* Sets err where the request is refused. open: needs no key. */
void server_access_check(const server *s, struct MHD_Connection *connection, bool open,
                         server_error *err);

/* The headers that let scripts of --cors ORIGIN read the answer; none without it. */
void server_access_headers(const server *s, struct MHD_Response *response);

#endif
