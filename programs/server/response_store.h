/* Conversations behind responses, for previous_response_id: in memory up to a limit, and with
 * --state in files. Thread-safe. */
#ifndef SLUICE_PROGRAMS_SERVER_RESPONSE_STORE_H
#define SLUICE_PROGRAMS_SERVER_RESPONSE_STORE_H

#include <jansson.h>

#include "server/store.h"

typedef struct server_response_store server_response_store;

/* files: NULL without --state. NULL: no memory. */
server_response_store *server_response_store_new(server_store *files);
void server_response_store_free(server_response_store *store);

/* messages is only read. Without memory it is forgotten at once. */
void server_response_store_put(server_response_store *store, const char *id,
                               const json_t *messages);

/* The messages of a response, a new reference; NULL: it is not known. */
json_t *server_response_store_get(server_response_store *store, const char *id);

#endif
