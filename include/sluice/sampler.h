/* Samplers: from logits to a token, for programs that run sluice_engine_step themselves.
 *
 * sluice_generate draws with the same object. In this order: repetition penalty (over every token
 * seen), presence and frequency penalties (over generated tokens), temperature, top-k, min-p,
 * top-p, draw. Each truncation works on what the one before it left, renormalised. Equal logits
 * rank by the lower id. The same logits and seed give the same token on every machine.
 *
 * A sampler belongs to one sequence and one thread at a time, and does not allocate after it was
 * made. It knows no stop tokens. */
#ifndef SLUICE_SAMPLER_H
#define SLUICE_SAMPLER_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_sampler sluice_sampler;

/* A sampler for the engine's vocabulary, charged to its budget; freed before the engine is closed.
 */
sluice_status sluice_engine_sampler_new(sluice_engine *engine, sluice_sampler **out,
                                        sluice_error *err);
void sluice_sampler_free(sluice_sampler *sampler); /* NULL is allowed */

/* Starts a generation; a parameter outside its range is SLUICE_USAGE. */
sluice_status sluice_sampler_begin(sluice_sampler *sampler, const sluice_sampling *sampling,
                                   sluice_error *err);

/* Notes tokens for the penalties: of the prompt, or generated. They must be in the vocabulary. */
void sluice_sampler_see(sluice_sampler *sampler, const int32_t *tokens, int32_t count,
                        bool generated);

/* Draws from logits [vocab]; -infinity is a token that may not come. A logit that is NaN or
 * +infinity is SLUICE_CORRUPT. */
sluice_status sluice_sampler_draw(sluice_sampler *sampler, const float *logits, int32_t *token,
                                  sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
