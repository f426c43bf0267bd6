/* The request of /v1/completions: prompts as text or as token ids, one or many. */
#ifndef SLUICE_PROGRAMS_SERVER_COMPLETION_REQUEST_H
#define SLUICE_PROGRAMS_SERVER_COMPLETION_REQUEST_H

#include "server/sampling.h"
#include "server/server.h"

typedef struct server_completion {
    sluice_ids *prompts; /* [count], owned */
    size_t count;
    server_sampling sampling;
    server_job_request stops; /* only its stops; owned */
    int64_t tokens_max;
    int32_t top;         /* as of a job */
    const char *grammar; /* GBNF, the request's; NULL: free text */
    bool echo, stream, include_usage;
} server_completion;

/* err is set where it is refused. request must outlive out. */
void server_completion_read(const server *s, json_t *request, server_completion *out,
                            server_error *err);
void server_completion_free(server_completion *completion);

/* The i-th prompt as a job's request, which takes it over. err: the grammar is refused. */
server_job_request server_completion_job(const server *s, server_completion *completion, size_t i,
                                         uint64_t client, server_error *err);

#endif
