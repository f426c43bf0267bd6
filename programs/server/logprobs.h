/* Log probabilities of tokens, from the model's own logits: before penalties, temperature and
 * constraints. */
#ifndef SLUICE_PROGRAMS_SERVER_LOGPROBS_H
#define SLUICE_PROGRAMS_SERVER_LOGPROBS_H

#include "server/job.h"

/* out [1 + top]: token, then the likeliest in order (ties to the lower id). */
void server_logprobs(const float *logits, int32_t vocab, int32_t token, int32_t top,
                     server_logprob *out);

#endif
