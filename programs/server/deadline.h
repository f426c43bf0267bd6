/* Deadlines of connections: a client may neither send its request nor take its answer at leisure.
 *
 * libmicrohttpd's own timeout starts again with every byte, which a slow client sends one of now
 * and then. So each connection says whose turn it is and since when, and a thread shuts down the
 * sockets of clients that take too long. One that is still sending is told first: the answer is
 * written to the socket past libmicrohttpd, which has sent nothing of its own then and cannot any
 * more. */
#ifndef SLUICE_PROGRAMS_SERVER_DEADLINE_H
#define SLUICE_PROGRAMS_SERVER_DEADLINE_H

#include <stdatomic.h>

#include "sluice/status.h"

typedef struct server_deadlines server_deadlines;
typedef struct server_deadline server_deadline;

/* told: counts those that were told that they are late; it must outlive the deadlines. */
sluice_status server_deadlines_new(int seconds, atomic_ullong *told, server_deadlines **out,
                                   sluice_error *err);
void server_deadlines_free(server_deadlines *deadlines); /* after all connections have ended */

/* NULL without memory. The socket must stay open until server_deadline_end. */
server_deadline *server_deadline_begin(server_deadlines *deadlines, int socket);
void server_deadline_end(server_deadlines *deadlines, server_deadline *deadline);

/* It has sent the first line of a request. */
void server_deadline_spoke(server_deadlines *deadlines, server_deadline *deadline);

/* Whose turn begins now; without a deadline (NULL) nothing happens.
 * sends: the client's, to send a request. late: the whole HTTP response for one that does not get
 *     done, which must outlive the deadlines; NULL: none, as between requests.
 * takes: the client's, to take an answer.
 * ours: we take what time we need. */
void server_deadline_sends(server_deadlines *deadlines, server_deadline *deadline,
                           const char *late);
void server_deadline_takes(server_deadlines *deadlines, server_deadline *deadline);
void server_deadline_ours(server_deadlines *deadlines, server_deadline *deadline);

/* Tells a client at once, and takes what it still sends until it closes the connection, for seconds
 * at most. NULL: the one connection that has not sent a first line; if there are several, none is
 * told. Only from the connection's own thread. */
void server_deadline_refuse(server_deadlines *deadlines, server_deadline *deadline,
                            const char *response);

#endif
