/* From logits to a token: penalties, temperature, truncation, a seeded draw.
 *
 * In this order: repetition penalty (over every token seen), presence and frequency penalties (over
 * generated tokens), temperature, top-k, min-p, top-p, draw. Each truncation works on what the one
 * before it left, renormalised. Equal logits rank by the lower id.
 *
 * The same logits and seed give the same token on every machine: the exponential is our own and all
 * sums are in double, in order of rank.
 *
 * What it does not do: know stop tokens, or allocate after it was made. */
#ifndef SLUICE_ENGINE_SAMPLER_H
#define SLUICE_ENGINE_SAMPLER_H

#include "base/memory.h"
#include "sluice/sluice.h"

typedef struct sluice_sampler sluice_sampler;

/* budget may be NULL; what is charged to it is sluice_sampler_bytes. */
sluice_status sluice_sampler_new(int32_t vocab, sluice_budget *budget, sluice_sampler **out,
                                 sluice_error *err);
uint64_t sluice_sampler_bytes(int32_t vocab);
void sluice_sampler_free(sluice_sampler *sampler);

/* Starts a generation; a parameter outside its range is SLUICE_USAGE. */
sluice_status sluice_sampler_begin(sluice_sampler *sampler, const sluice_sampling *sampling,
                                   sluice_error *err);

/* Notes tokens for the penalties: of the prompt, or generated. They must be in the vocabulary. */
void sluice_sampler_see(sluice_sampler *sampler, const int32_t *tokens, int32_t count,
                        bool generated);

/* Draws from logits [vocab]. A logit that is NaN or +infinity is SLUICE_CORRUPT. */
sluice_status sluice_sampler_draw(sluice_sampler *sampler, const float *logits, int32_t *token,
                                  sluice_error *err);

#endif
