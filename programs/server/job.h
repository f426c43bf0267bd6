/* A job: tokens to go on from, how, and what has come of it so far.
 *
 * It is shared by the connection that waits for it and the scheduler that works on it; whoever lets
 * go last frees it. The request never changes after submission; the result only grows, under the
 * job's lock. */
#ifndef SLUICE_PROGRAMS_SERVER_JOB_H
#define SLUICE_PROGRAMS_SERVER_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/buffer.h"
#include "server/error.h"
#include "sluice/grammar.h"
#include "sluice/sluice.h"

enum { SERVER_STOPS_MAX = 16, SERVER_TOP_MAX = 20 };

typedef struct server_job_request {
    sluice_ids prompt; /* owned */
    /* Places in the prompt worth keeping the state of, or 0: the end of the system's turn, the end
     * of the last turn before the answer. */
    int32_t prefix_end, turn_end;
    bool keep;    /* the state behind the answer is worth keeping too */
    bool to_file; /* and across restarts */
    bool thinking;
    int32_t thinking_max; /* tokens of it, and then it is ended; 0: no limit */
    int32_t tokens_max;
    sluice_sampling sampling;
    char *stops[SERVER_STOPS_MAX]; /* owned; matched behind any thinking */
    size_t n_stops;
    int32_t top;             /* logprobs of so many likeliest tokens beside the drawn; -1: none */
    bool prompt_logprobs;    /* of the prompt's tokens too */
    sluice_grammar *grammar; /* owned; NULL: free text */
    uint64_t client;         /* jobs of one client take turns with those of others */
} server_job_request;

typedef enum server_finish {
    SERVER_RUNNING,
    SERVER_FINISH_STOP,
    SERVER_FINISH_STOP_TEXT, /* one of the stops: the text ends before it */
    SERVER_FINISH_LENGTH,
    SERVER_FINISH_CANCELLED,
    SERVER_FINISH_FAILED
} server_finish;

typedef struct server_logprob {
    int32_t token; /* -1: none */
    float logprob;
} server_logprob;

typedef struct server_job {
    server_job_request request;
    atomic_int references;
    atomic_bool cancelled;
    uint64_t arrived_us;

    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t changed;
    server_finish finish;
    size_t stop;        /* which of the stops */
    server_error error; /* of SERVER_FINISH_FAILED */
    int32_t cached;     /* tokens of the prompt whose state was there already */
    int32_t *tokens;    /* [tokens_max], of the answer; the stop token is not among them */
    int32_t count;
    server_buffer text;       /* what may be shown of it */
    server_logprob *logprobs; /* [tokens_max][1 + top]: the drawn token, then the likeliest */
    server_logprob *prompt_logprobs; /* [prompt][1 + top] */

    struct server_job *next; /* in the queue */
} server_job;

/* Takes over what request owns, also when it fails (NULL: no memory). One reference. */
server_job *server_job_new(server_job_request *request);
void server_job_request_free(server_job_request *request);
server_job *server_job_share(server_job *job);
void server_job_release(server_job *job); /* NULL is allowed */

/* Nobody waits for it any more: the scheduler drops it before its next step. */
void server_job_cancel(server_job *job);

typedef enum server_wait {
    SERVER_WAIT_MORE,  /* there is more than was seen, or it is over */
    SERVER_WAIT_QUIET, /* nothing came for quiet_ms */
    SERVER_WAIT_GONE   /* the client closed its socket */
} server_wait;
server_wait server_job_wait(server_job *job, int32_t tokens_seen, size_t text_seen, int socket,
                            int quiet_ms);

/* ---- for the scheduler ---- */

void server_job_token(server_job *job, int32_t token, const server_logprob *logprobs,
                      const char *text, size_t length);
void server_job_end(server_job *job, server_finish finish, const char *text, size_t length);
void server_job_fail(server_job *job, const sluice_error *err);

/* Says that the server's limit of seconds is over; the job is yet to be ended, as failed. */
void server_job_late(server_job *job, int32_t seconds);

uint64_t server_job_age_us(const server_job *job); /* since it was made */

#endif
