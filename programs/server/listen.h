/* The listening socket, made here so that its errors name host and port. */
#ifndef SLUICE_PROGRAMS_SERVER_LISTEN_H
#define SLUICE_PROGRAMS_SERVER_LISTEN_H

#include "sluice/status.h"

/* host: an address or a name; *port 0 becomes what the system chose. */
sluice_status server_listen(const char *host, int *port, int *out, sluice_error *err);

#endif
