/* Deadlines of connections: a client may neither send its request nor take its answer at leisure.
 *
 * libmicrohttpd's own timeout starts again with every byte, which a slow client sends one of now
 * and then. So each connection says which of three things it is doing and since when, and a thread
 * shuts down the sockets of those that take too long. */
#ifndef SLUICE_PROGRAMS_SERVER_DEADLINE_H
#define SLUICE_PROGRAMS_SERVER_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

typedef struct server_deadlines server_deadlines;
typedef struct server_deadline server_deadline;

sluice_status server_deadlines_new(int seconds, server_deadlines **out, sluice_error *err);
void server_deadlines_free(server_deadlines *deadlines); /* after all connections have ended */

/* NULL without memory. The socket must stay open until server_deadline_end. */
server_deadline *server_deadline_begin(server_deadlines *deadlines, int socket);
void server_deadline_end(server_deadlines *deadlines, server_deadline *deadline);

/* The client is at it: its time begins now. Or we are, and take what we need. NULL is allowed. */
void server_deadline_client(server_deadlines *deadlines, server_deadline *deadline);
void server_deadline_server(server_deadlines *deadlines, server_deadline *deadline);

#endif
