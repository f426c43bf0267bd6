/* The forward pass: one path for decode, prefill, batches of a server, perplexity and training.
 *
 * What: a batch of rows from one or many sequences goes through the layers in order. Every row's
 * result depends on its own sequence alone. States advance only if the whole batch succeeds.
 *
 * When it fails halfway (a read error in a late layer), the GDN memory of earlier layers has moved
 * on and cannot be turned back; keeping a copy would cost a pass over 190 MB a token on the 397B.
 * So the states that took part keep their tokens, are marked stale, and the engine runs their
 * tokens again, cut into the same blocks and thus with the same bits, before the next step
 * (engine/step.c).
 *
 * What it does not do: cut prompts into batches, or sample. */
#ifndef SLUICE_MODEL_FORWARD_H
#define SLUICE_MODEL_FORWARD_H

#include "model/embedding.h"
#include "model/lookahead.h"
#include "model/moe.h"
#include "model/state.h"

typedef struct sluice_forward sluice_forward;

/* One sequence's part of a batch: count tokens that go on from its state. */
typedef struct sluice_forward_part {
    sluice_state *state;
    const int32_t *tokens;
    int32_t count;
    int32_t logits_from; /* logits for tokens [logits_from, count) */
    int32_t bulk;        /* the first so many are the bulk of a prompt (policy.h) */
} sluice_forward_part;

typedef struct sluice_forward_callbacks {
    /* logits [vocab] of one token, valid during the call, in order of parts and tokens, after the
     * states have advanced. May be NULL if no logits are wanted. Stops on failure. */
    sluice_status (*logits)(void *context, int32_t part, int32_t token, const float *logits);
    /* After each layer, if not NULL: routes and hidden rows [rows, hidden]. */
    void (*layer)(void *context, int32_t layer, int32_t rows, const sluice_moe_routes *routes,
                  const float *hidden);
    void *context, *layer_context;
} sluice_forward_callbacks;

typedef struct sluice_forward_options {
    const sluice_model *model;
    sluice_backend *backend;
    sluice_experts *experts;
    const sluice_policy *policy;
    int32_t rows_max;    /* rows of a batch */
    int32_t logits_rows; /* rows of logits computed at a time */
    int32_t lookahead;   /* experts guessed for the next layer, a row; 0: no lookahead */
} sluice_forward_options;

/* Everything in the options must outlive it, except the options. All scratch is taken here and
 * charged to the model's budget. */
sluice_status sluice_forward_new(const sluice_forward_options *options, sluice_forward **out,
                                 sluice_error *err);
void sluice_forward_free(sluice_forward *forward);

/* Bytes that new charges, without the backend's own. */
uint64_t sluice_forward_scratch_bytes(const sluice_config *config, sluice_weight_format embedding,
                                      bool embedding_on_disk, int32_t rows_max, int32_t logits_rows,
                                      int32_t lookahead);

/* Where the time went, summed since new. */
typedef struct sluice_forward_times {
    uint64_t batches, head_batches; /* that ran; that had logits, by groups of logits_rows */
    uint64_t trunk_ns;              /* embedding, mixers, routers, shared experts, sums */
    uint64_t routed_ns;             /* routed experts, waiting included */
    uint64_t head_ns;               /* without what the logits callback does */
    uint64_t uses;                  /* experts that ran, of each row and layer */
} sluice_forward_times;
void sluice_forward_times_get(const sluice_forward *forward, sluice_forward_times *times);

/* See sluice_moe_observe. */
sluice_status sluice_forward_observe(sluice_forward *forward, const sluice_moe_observer *observer,
                                     sluice_error *err);

/* How good the guesses were, summed since new; zeros without lookahead. */
sluice_lookahead_stats sluice_forward_lookahead(const sluice_forward *forward);

/* Each state at most once, count >= 1, rows_max rows at most together. A token outside the
 * vocabulary or a sequence longer than its capacity is refused before anything runs. */
sluice_status sluice_forward_run(sluice_forward *forward, const sluice_forward_part *parts,
                                 int32_t n_parts, const sluice_forward_callbacks *callbacks,
                                 sluice_error *err);

#endif
