/* Which path is answered by what. */
#ifndef SLUICE_PROGRAMS_SERVER_ROUTES_H
#define SLUICE_PROGRAMS_SERVER_ROUTES_H

#include "server/http.h"

typedef struct server_route {
    const char *method, *path;
    server_api api;
    bool open; /* needs no key */
    void (*handle)(server_request *request);
} server_route;

/* NULL: no such path; *other_method then says whether the path is known with another one. */
const server_route *server_route_find(const char *method, const char *path, bool *other_method);

/* The error shape of a path that may be unknown. */
server_api server_route_api(const char *path);

void server_health(server_request *request);
void server_models(server_request *request);
void server_model(server_request *request);
void server_metrics(server_request *request);
void server_tokenize(server_request *request);
void server_detokenize(server_request *request);
void server_tokenizer_info(server_request *request);

#endif
