/* The engine's side of samplers; what they do is told in sluice/sampler.h.
 *
 * The exponential is our own and all sums are in double, in order of rank, so that the same logits
 * and seed give the same token everywhere. */
#ifndef SLUICE_ENGINE_SAMPLER_H
#define SLUICE_ENGINE_SAMPLER_H

#include "base/memory.h"
#include "sluice/sampler.h"

/* budget may be NULL; what is charged to it is sluice_sampler_bytes. */
sluice_status sluice_sampler_new(int32_t vocab, sluice_budget *budget, sluice_sampler **out,
                                 sluice_error *err);
uint64_t sluice_sampler_bytes(int32_t vocab);

#endif
