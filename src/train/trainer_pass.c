/* Experts and a pass in the memory that is left (see trainer.h). */
#include <stdlib.h>

#include "base/status.h"
#include "model/expert_layers.h"
#include "train/trainer.h"

#define SLOTS_SPARE 4                         /* beside one row's experts, so that reads overlap */
#define BOOKKEEPING_BYTES ((uint64_t)2 << 20) /* structs and lists, not charged */
#define TOKENIZER_BYTES 128                   /* about, of a token of the vocabulary */
#define INPUTS_SHARE 4                        /* of what is left, for layer inputs: a fourth */

static void note_routes(void *context, int32_t layer, const int32_t *ids, int32_t n)
{
    const sluice_trainer *trainer = context;
    if (trainer->engine.routes)
        trainer->engine.routes(trainer->engine.routes_context, layer, ids, n);
}

static sluice_status open_experts(sluice_trainer *trainer, uint64_t cache_bytes, sluice_error *err)
{
    const sluice_config *config = trainer->config;
    sluice_experts_layer *layers;
    SLUICE_TRY(sluice_expert_layers(trainer->container, &layers, err));
    const sluice_experts_options options = {
        .layers = layers,
        .n_layers = config->layers,
        .cache_bytes = cache_bytes,
        .slots_min = config->top_k,
        .io = trainer->engine.io,
        .policy = trainer->engine.cache_policy,
        .verify = trainer->engine.verify_reads,
        .budget = trainer->budget,
        .trace = note_routes,
        .trace_context = trainer,
    };
    const sluice_status status = sluice_experts_open(&options, &trainer->experts, err);
    free(layers);
    return status;
}

static uint64_t bank_bytes(const sluice_trainer *trainer)
{
    uint64_t bytes = 0;
    for (int32_t i = 0; i < trainer->config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(trainer->container, i);
        bytes += (uint64_t)file->count * file->layout.bytes;
    }
    return bytes;
}

uint64_t sluice_trainer_cache_min(const sluice_trainer *trainer)
{
    uint64_t record = 0;
    for (int32_t i = 0; i < trainer->config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(trainer->container, i);
        if (file->layout.bytes > record) record = file->layout.bytes;
    }
    return (uint64_t)(trainer->config->top_k + SLOTS_SPARE) * record;
}

uint64_t sluice_trainer_left(const sluice_trainer *trainer)
{
    const uint64_t used =
        sluice_budget_used(trainer->budget) + BOOKKEEPING_BYTES +
        (uint64_t)trainer->config->vocab * TOKENIZER_BYTES +
        (trainer->adapter ? (uint64_t)trainer->adapter->n_entries * SLUICE_TRAINER_ENTRY_BYTES : 0);
    return trainer->memory > used ? trainer->memory - used : 0;
}

static sluice_pass_options pass_options(const sluice_trainer *trainer, sluice_adapter *adapter)
{
    return (sluice_pass_options){.model = trainer->model,
                                 .backend = trainer->backend,
                                 .pool = trainer->pool,
                                 .cpu_flags = trainer->cpu_flags,
                                 .adapter = adapter,
                                 .gradients = adapter ? trainer->gradients : NULL,
                                 .rank_max = adapter ? trainer->options.rank : 0,
                                 .rows_max = trainer->rows_max,
                                 .segments_max = trainer->segments_max,
                                 .spill_dir = trainer->options.out};
}

uint64_t sluice_trainer_pass_bytes(const sluice_trainer *trainer)
{
    sluice_pass_options options = pass_options(trainer, NULL);
    options.rank_max = trainer->options.rank;
    return sluice_pass_bytes(&options);
}

/* The cache of experts, after everything else has its part of what is left. */
static sluice_status share_out(sluice_trainer *trainer, sluice_pass_options *options,
                               uint64_t *cache, sluice_error *err)
{
    const uint64_t all = bank_bytes(trainer), floor = sluice_trainer_cache_min(trainer);
    const uint64_t left = sluice_trainer_left(trainer);
    options->inputs_bytes = left / INPUTS_SHARE;
    uint64_t pass = sluice_pass_bytes(options);
    if (pass + floor > left) {
        options->inputs_bytes = 0;
        pass = sluice_pass_bytes(options);
    }
    if (pass + floor > left)
        return sluice_fail(err, SLUICE_NO_MEMORY,
                           "%.1f MB of memory are not enough to train: trunk, samples, adapter and "
                           "its optimiser take %.1f MB, a pass over %d tokens %.1f MB, the expert "
                           "cache at least %.1f MB; allow more, or a shorter context",
                           (double)trainer->memory / 1e6, (double)(trainer->memory - left) / 1e6,
                           options->rows_max, (double)pass / 1e6, (double)floor / 1e6);
    *cache = left - pass < all ? left - pass : all;
    if (trainer->engine.cache_bytes) {
        if (trainer->engine.cache_bytes < floor || trainer->engine.cache_bytes > left - pass)
            return sluice_fail(err, SLUICE_NO_MEMORY,
                               "an expert cache of %.1f MB is not between the %.1f MB that a step "
                               "needs and the %.1f MB that the budget leaves",
                               (double)trainer->engine.cache_bytes / 1e6, (double)floor / 1e6,
                               (double)(left - pass) / 1e6);
        *cache = trainer->engine.cache_bytes;
    }
    if (*cache < floor) *cache = floor;
    return SLUICE_OK;
}

sluice_status sluice_trainer_open_pass(sluice_trainer *trainer, sluice_adapter *adapter,
                                       sluice_error *err)
{
    uint64_t cache = 0;
    sluice_pass_options options = pass_options(trainer, adapter);
    trainer->attached[0] = adapter;
    sluice_model_attach(trainer->model, trainer->attached, adapter != NULL);
    SLUICE_TRY(share_out(trainer, &options, &cache, err));
    SLUICE_TRY(open_experts(trainer, cache, err));
    options.experts = trainer->experts;
    return sluice_pass_new(&options, &trainer->pass, err);
}

void sluice_trainer_close_pass(sluice_trainer *trainer)
{
    sluice_pass_free(trainer->pass);
    if (trainer->experts) sluice_experts_close(trainer->experts);
    trainer->pass = NULL;
    trainer->experts = NULL;
}
