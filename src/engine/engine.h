/* The engine's and the session's insides, for the files of this room. */
#ifndef SLUICE_ENGINE_ENGINE_H
#define SLUICE_ENGINE_ENGINE_H

#include "base/pool.h"
#include "engine/pressure.h"
#include "engine/sampler.h"
#include "engine/sizes.h"
#include "engine/warm.h"
#include "levers/rules.h"
#include "model/forward.h"
#include "sluice/sluice.h"

#define SLUICE_STOP_IDS_MAX 16

struct sluice_engine {
    sluice_engine_options options; /* strings are not kept */
    sluice_sizes sizes;
    sluice_container *container;
    sluice_budget *budget;
    sluice_pool *pool;
    sluice_backend *backend;
    sluice_model *model;
    sluice_adapter *adapters[SLUICE_ADAPTERS_MAX]; /* attached to the model */
    sluice_io *io; /* that reads experts instead of the chosen one; NULL, or a test's, not owned */
    sluice_experts *experts;
    sluice_pressure pressure;
    sluice_warm *warm; /* NULL without warm_start */
    sluice_rules rules;
    sluice_policy policy;
    sluice_state_layout layout;
    sluice_forward *forward;
    sluice_tokenizer *tokenizer;
    sluice_sampler *sampler;
    sluice_model_info info;
    char name[256], adapter_names[512];
    int32_t stop_ids[SLUICE_STOP_IDS_MAX];
    sluice_probe probe;                  /* layer is NULL when it is off */
    sluice_forward_part *parts;          /* [chunk], of the batch being put together */
    int32_t *part_inputs, *part_offsets; /* [chunk]: which input, and where in it, a part is from */
    sluice_stats stats;                  /* the fields that the engine counts itself */
    sluice_forward_times times_base;     /* what the forward pass had counted at the last reset */
    sluice_experts_stats experts_base;   /* what the cache had counted at the last reset */
    sluice_lookahead_stats lookahead_base; /* what had been guessed at the last reset */
};

struct sluice_session {
    sluice_engine *engine;
    sluice_state *state;
    int32_t done;     /* tokens of the step under way that have run (step.c) */
    int32_t bulk_end; /* position: tokens before it are the bulk of a prompt (model/policy.h) */
    /* A generated token that ended an answer early: it belongs to the session but has not run yet.
     * It lies behind the state's tokens. */
    bool pending;
};

/* sluice_engine_open with experts read by io, which must outlive the engine: for tests over a
 * simulated disk. NULL is sluice_engine_open. */
sluice_status sluice_engine_open_over(const char *model, const sluice_engine_options *options,
                                      sluice_io *io, sluice_engine **out, sluice_error *err);

/* Reads the options' adapters (adapters.c), adds what they need to needs, and fills in the names.
 * The first thing that is charged to the engine's budget. */
sluice_status sluice_engine_adapters_open(sluice_engine *engine, sluice_sizes_model *needs,
                                          sluice_error *err);

/* The stop ids of a container's folder: <|im_end|>, <|endoftext|> and generation_config.json's
 * eos_token_id. Returns how many. */
sluice_status sluice_stop_ids_load(const char *dir, const sluice_tokenizer *tokenizer,
                                   int32_t vocab, int32_t *ids, int32_t *count, sluice_error *err);

/* Policy and rules, from options.levers: after model and experts. model: as for opening, may be
 * NULL; dir: the container's folder. */
sluice_status sluice_engine_open_levers(sluice_engine *engine, const char *model, const char *dir,
                                        sluice_error *err);

/* Runs what the session owes: a replay after a failed step, a pending token. */
sluice_status sluice_session_settle(sluice_session *session, sluice_error *err);

/* sluice_engine_step without the statistics and without a sentence for what the callback returns.
 */
sluice_status sluice_step_run(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                              sluice_logits_fn on_logits, void *context, sluice_error *err);

#endif
