/* A sequence: one place of the running batch, and the job that has it.
 *
 * Session and sampler are made once and used again. The engine's thread alone uses sequences. */
#ifndef SLUICE_PROGRAMS_SERVER_SEQUENCE_H
#define SLUICE_PROGRAMS_SERVER_SEQUENCE_H

#include "server/job.h"
#include "server/keep.h"
#include "server/server.h"
#include "server/stop_text.h"
#include "sluice/sampler.h"

enum {
    SERVER_BLOCK = 64
}; /* slices of prompts end at multiples of it, as do states kept of them */

typedef struct server_sequence {
    server *server;
    sluice_session *session;
    sluice_sampler *sampler;

    server_job *job; /* NULL: the place is free */
    sluice_constraint *constraint;
    sluice_detokenizer *detokenizer;
    server_stop_text stop;
    int32_t prefilled;    /* tokens of the prompt that have run */
    int32_t slices;       /* steps that it took part in while its prompt ran, for fairness */
    int32_t next;         /* drawn, to be run */
    bool thinking;        /* the answer has not got beyond it */
    int32_t fed;          /* of it, what the step under way runs: next is drawn before it is over */
    server_finish finish; /* decided while the step runs; told when it is over */
} server_sequence;

sluice_status server_sequence_open(server *s, server_sequence *out, sluice_error *err);
void server_sequence_close(server_sequence *sequence);

/* Takes the job's reference, and whatever state of its prompt is kept. If it fails the job has been
 * told, and the place stays free. */
bool server_sequence_begin(server_sequence *sequence, server_job *job, server_keep *keep);
bool server_sequence_decodes(const server_sequence *sequence);

/* How much of the prompt runs in the next step, size at most; none (or less) if that is less than
 * what is left up to the end of a block. */
int32_t server_sequence_slice(const server_sequence *sequence, int32_t size);

/* Logits behind a token of the prompt (at: which) or of the answer (at: -1). scratch [vocab]. */
void server_sequence_logits(server_sequence *sequence, int32_t at, const float *logits,
                            float *scratch);

/* count tokens of the prompt have run. */
void server_sequence_advance(server_sequence *sequence, int32_t count, server_keep *keep);

/* Tells the job and frees the place. err: why it failed, or NULL. */
void server_sequence_end(server_sequence *sequence, server_finish finish, server_keep *keep,
                         const sluice_error *err);

#endif
