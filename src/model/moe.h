/* One mixture-of-experts layer on the rows of a step: router, policy, cache, experts, sum.
 *
 * What: the experts that the step's rows need are requested once each, in ascending order; the
 * shared expert runs while the misses are read; each expert is applied to all of its rows as it
 * lands; the sum is taken in rank order at the end. So a prompt reads an expert at most once a
 * chunk, and neither the cache nor the disk can change a result.
 *
 * Lookahead (lookahead.h) comes when all but the last of the misses have been added, or after the
 * sum if nothing is waited for: the state before the sum guesses worse, and after it the disk has
 * paused already (doc/measurements/streaming.md).
 *
 * What it does not do: decide who runs (policy.h) or where bytes come from (experts/experts.h). */
#ifndef SLUICE_MODEL_MOE_H
#define SLUICE_MODEL_MOE_H

#include "experts/experts.h"
#include "model/lookahead.h"
#include "model/model.h"
#include "model/policy.h"

typedef struct sluice_moe sluice_moe;

/* What the last layer did, for probes: valid until the next run. */
typedef struct sluice_moe_routes {
    int32_t k;
    const int32_t *ids;   /* [rows, k], largest weight first */
    const float *weights; /* [rows, k] */
} sluice_moe_routes;

/* Everything must outlive it. Scratch for rows_max rows is charged to the model's budget. */
sluice_status sluice_moe_new(const sluice_model *model, sluice_backend *backend,
                             sluice_experts *experts, const sluice_policy *policy, int32_t rows_max,
                             sluice_moe **out, sluice_error *err);
void sluice_moe_free(sluice_moe *moe);

/* Bytes that new charges. */
uint64_t sluice_moe_scratch_bytes(const sluice_config *config, int32_t rows_max);

/* h += moe(rmsnorm(h)) for n rows. lookahead guesses for the next layer; NULL for none. After a
 * failure h is undefined and the cache usable. */
sluice_status sluice_moe_run(sluice_moe *moe, int32_t layer, int32_t n, sluice_lookahead *lookahead,
                             sluice_buffer *h, sluice_error *err);

sluice_moe_routes sluice_moe_last(const sluice_moe *moe);

/* Time since new that routed experts took, waiting for the disk included, the shared expert not. */
uint64_t sluice_moe_routed_ns(const sluice_moe *moe);

#endif
