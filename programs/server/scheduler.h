/* The scheduler: one thread that runs the engine for everybody.
 *
 * Continuous batching: each step takes one row of every sequence that answers and a slice of the
 * prompts that are still being read: of one, or of several short ones, so that an expert is read
 * once for all of them, and long prompts delay others by a slice at most. Jobs join as soon as a
 * place is free and leave as soon as they end or their client does. The next job is the oldest of
 * the client that has the fewest in the batch; the next slice goes to the prompt that has had the
 * fewest.
 *
 * What a job gets does not depend on its company: the engine computes rows independently. */
#ifndef SLUICE_PROGRAMS_SERVER_SCHEDULER_H
#define SLUICE_PROGRAMS_SERVER_SCHEDULER_H

#include "server/job.h"
#include "server/keep.h"
#include "server/server.h"

typedef struct server_scheduler server_scheduler;

/* Opens the sequences (options.parallel of them) and starts the thread. */
sluice_status server_scheduler_start(server *s, server_scheduler **out, sluice_error *err);

/* Shares the job until it has ended. err: the queue is full, or the server is going down. */
bool server_scheduler_submit(server_scheduler *scheduler, server_job *job, server_error *err);

/* A request is being read that may bring jobs; it has brought them, or will not. While nothing runs
 * the scheduler waits some milliseconds for those that are on their way, so that requests which
 * come together begin together and share what their prompts read. */
void server_scheduler_expect(server_scheduler *scheduler);
void server_scheduler_came(server_scheduler *scheduler);

/* No more jobs from now on. */
void server_scheduler_drain(server_scheduler *scheduler);
bool server_scheduler_is_idle(server_scheduler *scheduler);
void server_scheduler_cancel(server_scheduler *scheduler); /* the rest; the thread ends */
void server_scheduler_free(server_scheduler *scheduler);   /* after that */

typedef struct server_scheduler_state {
    int32_t active, prefilling, queued;
    uint64_t steps, rows; /* rows: tokens that went through in all steps */
    bool draining;
    sluice_stats engine; /* as of the last step */
    server_keep_stats keep;
} server_scheduler_state;
void server_scheduler_look(server_scheduler *scheduler, server_scheduler_state *out);

#endif
