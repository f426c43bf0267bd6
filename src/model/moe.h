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

typedef struct sluice_moe_step {
    int32_t layer, rows;
    const uint8_t *bulk;         /* [rows]: the bulk of a prompt (policy.h); NULL: none is */
    sluice_lookahead *lookahead; /* guesses for the next layer; NULL: nobody does */
} sluice_moe_step;

/* h += moe(rmsnorm(h)) for the step's rows. After a failure h is undefined and the cache usable. */
sluice_status sluice_moe_run(sluice_moe *moe, const sluice_moe_step *step, sluice_buffer *h,
                             sluice_error *err);

/* Guesses for the first layer, by what has been embedded. */
void sluice_moe_guess_first(const sluice_moe *moe, sluice_lookahead *lookahead, int32_t n,
                            const sluice_buffer *h);

sluice_moe_routes sluice_moe_last(const sluice_moe *moe);

/* Summed since new. */
typedef struct sluice_moe_counts {
    uint64_t uses;      /* experts of each row that ran: several rows may share a read */
    uint64_t routed_ns; /* that routed experts took, waiting for the disk included, the shared
                           expert not */
} sluice_moe_counts;
sluice_moe_counts sluice_moe_counts_get(const sluice_moe *moe);

/* One row of one layer: the parts of the sum, before it is taken. Valid during the call. */
typedef struct sluice_moe_observation {
    int32_t layer, row;
    int32_t k;
    const int32_t *ids;   /* [k], largest weight first */
    const float *weights; /* [k], of the sum; behind the last that ran they are zero */
    const float *gates;   /* [experts], what the router said of all of them */
    const float *outputs; /* [k, hidden]; undefined where the weight is zero */
    const float *shared;  /* [hidden] */
    const float *stream;  /* [hidden], the residual stream, without this layer's experts */
} sluice_moe_observation;

typedef struct sluice_moe_observer {
    void (*see)(void *context, const sluice_moe_observation *seen);
    void *context;
} sluice_moe_observer;

/* Shows every row of every layer from now on, layer after layer, rows ascending; NULL ends it. The
 * observer must outlive that. Not for daily use: a row takes a copy of everything. */
sluice_status sluice_moe_observe(sluice_moe *moe, const sluice_moe_observer *observer,
                                 sluice_error *err);

#endif
