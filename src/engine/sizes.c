/* Sharing out a memory budget (see sizes.h). */
#include "engine/sizes.h"

#include <stdio.h>

#include "base/status.h"
#include "engine/sampler.h"
#include "kernels/cpu_backend.h"
#include "levers/rules.h"
#include "model/forward.h"
#include "os/memory_limit.h"

#define MIB ((uint64_t)1 << 20)
#define CHUNK_MIN 64
#define CHUNK_AUTO_MAX 1024
#define CHUNK_MAX 8192
#define CONTEXT_AUTO_MIN 4096
#define LOGITS_BYTES_MAX (8 * MIB)
#define LOOKAHEAD_DEFAULT 4                /* doc/measurements/streaming.md */
#define EMBEDDING_IN_MEMORY_MAX (64 * MIB) /* above this an untied table stays on disk */
/* What is not charged: structs and lists, and about this much of a tokenizer for each token. */
#define BOOKKEEPING_BYTES (2 * MIB)
#define TOKENIZER_BYTES 128

sluice_status sluice_sizes_machine(uint64_t *memory_bytes, sluice_error *err)
{
    sluice_memory_limit limit;
    SLUICE_TRY(sluice_memory_limit_get("", &limit, err));
    uint64_t usable = limit.usable_bytes, slack = usable / 10;
    if (slack < 512 * MIB) slack = usable / 4 < 512 * MIB ? usable / 4 : 512 * MIB;
    *memory_bytes = usable - slack;
    return SLUICE_OK;
}

static uint64_t state_bytes(const sluice_config *config, const sluice_sizes *sizes)
{
    sluice_state_layout layout;
    sluice_state_layout_init(&layout, config, sizes->context, sizes->kv);
    return layout.bytes;
}

bool sluice_sizes_embedding_on_disk(const sluice_config *config, uint64_t bytes)
{
    return !config->tied && bytes > EMBEDDING_IN_MEMORY_MAX;
}

sluice_status sluice_sizes_measure(const sluice_container *container, sluice_sizes_model *model,
                                   sluice_error *err)
{
    const sluice_config *config = sluice_container_config(container);
    const sluice_trunk_tensor *table = sluice_container_tensor(container, "embed_tokens.weight");
    *model = (sluice_sizes_model){.config = config};
    if (table) model->embedding = table->format;
    model->embedding_on_disk = table && sluice_sizes_embedding_on_disk(config, table->bytes);
    for (int32_t i = 0; i < config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        model->bank_bytes += (uint64_t)file->count * file->layout.bytes;
        if (file->layout.bytes > model->record_bytes) model->record_bytes = file->layout.bytes;
    }
    const sluice_model_options options = {.embedding_on_disk = model->embedding_on_disk};
    return sluice_model_measure(container, &options, &model->trunk_bytes, err);
}

static uint64_t scratch_bytes(const sluice_sizes_model *model, const sluice_engine_options *options,
                              const sluice_sizes *sizes)
{
    const sluice_config *config = model->config;
    sluice_geometry geometry = sluice_model_geometry(config);
    geometry.low_rank = model->low_rank;
    return sluice_forward_scratch_bytes(config, model->embedding, sizes->embedding_on_disk,
                                        sizes->chunk, sizes->logits_rows, sizes->lookahead) +
           sluice_cpu_backend_bytes(&geometry, sizes->chunk, options->threads, options->exact) +
           sluice_sampler_bytes(config->vocab) + BOOKKEEPING_BYTES +
           (uint64_t)config->vocab * TOKENIZER_BYTES;
}

static sluice_status check_options(const sluice_config *config,
                                   const sluice_engine_options *options, sluice_error *err)
{
    if (options->context < 0 || options->context > config->context_max)
        return sluice_fail(err, SLUICE_USAGE, "a context of %d is not between 1 and the model's %d",
                           options->context, config->context_max);
    if (options->chunk % CHUNK_MIN || options->chunk < 0 || options->chunk > CHUNK_MAX)
        return sluice_fail(err, SLUICE_USAGE, "a chunk of %d is not a multiple of %d up to %d",
                           options->chunk, CHUNK_MIN, CHUNK_MAX);
    if (options->sessions < 0)
        return sluice_fail(err, SLUICE_USAGE, "%d sessions", options->sessions);
    return SLUICE_OK;
}

static uint64_t fixed_bytes(const sluice_sizes *sizes)
{
    return sizes->trunk_bytes + (uint64_t)sizes->sessions * sizes->state_bytes +
           sizes->scratch_bytes;
}

static sluice_status refuse(const sluice_sizes *sizes, sluice_error *err)
{
    double mb = 1e6;
    return sluice_fail(err, SLUICE_NO_MEMORY,
                       "%.1f MB of memory are not enough: the trunk needs %.1f MB, %d session%s of "
                       "%d tokens %.1f MB, "
                       "scratch for %d rows %.1f MB, the expert cache at least %.1f MB, together "
                       "%.1f MB; allow more, "
                       "or a shorter context",
                       (double)sizes->memory_bytes / mb, (double)sizes->trunk_bytes / mb,
                       sizes->sessions, sizes->sessions == 1 ? "" : "s", sizes->context,
                       (double)((uint64_t)sizes->sessions * sizes->state_bytes) / mb, sizes->chunk,
                       (double)sizes->scratch_bytes / mb, (double)sizes->cache_floor_bytes / mb,
                       (double)(fixed_bytes(sizes) + sizes->cache_floor_bytes) / mb);
}

/* The model's own context, halved until the sessions take an eighth of the budget at most. */
static void choose_context(const sluice_config *config, const sluice_engine_options *options,
                           sluice_sizes *sizes)
{
    sizes->context = options->context ? options->context : config->context_max;
    sizes->state_bytes = state_bytes(config, sizes);
    while (!options->context && sizes->context > CONTEXT_AUTO_MIN &&
           (uint64_t)sizes->sessions * sizes->state_bytes > sizes->memory_bytes / 8) {
        sizes->context =
            sizes->context / 2 > CONTEXT_AUTO_MIN ? sizes->context / 2 : CONTEXT_AUTO_MIN;
        sizes->state_bytes = state_bytes(config, sizes);
    }
}

/* A long chunk reads each expert less often, so scratch may take an eighth of the budget. */
static void choose_chunk(const sluice_sizes_model *model, const sluice_engine_options *options,
                         sluice_sizes *sizes)
{
    sizes->chunk = options->chunk ? options->chunk : CHUNK_AUTO_MAX;
    sizes->scratch_bytes = scratch_bytes(model, options, sizes);
    while (!options->chunk && sizes->chunk > CHUNK_MIN &&
           (sizes->scratch_bytes > sizes->memory_bytes / 8 || sizes->chunk / 2 >= sizes->context)) {
        sizes->chunk /= 2;
        sizes->scratch_bytes = scratch_bytes(model, options, sizes);
    }
}

static void choose_logits_rows(const sluice_config *config, sluice_sizes *sizes)
{
    uint64_t rows = LOGITS_BYTES_MAX / ((uint64_t)config->vocab * sizeof(float));
    sizes->logits_rows = rows < 1 ? 1 : rows > CHUNK_MIN ? CHUNK_MIN : (int32_t)rows;
}

uint64_t sluice_sizes_floor(const sluice_sizes *sizes)
{
    return fixed_bytes(sizes) + sizes->cache_floor_bytes;
}

sluice_status sluice_sizes_plan(const sluice_sizes_model *model,
                                const sluice_engine_options *options, uint64_t memory_bytes,
                                sluice_sizes *sizes, sluice_error *err)
{
    const sluice_config *config = model->config;
    SLUICE_TRY(check_options(config, options, err));
    *sizes = (sluice_sizes){.memory_bytes = memory_bytes,
                            .trunk_bytes = model->trunk_bytes,
                            .bank_bytes = model->bank_bytes,
                            .embedding_on_disk = model->embedding_on_disk};
    sizes->sessions = options->sessions ? options->sessions : 1;
    sizes->cache_floor_bytes =
        (uint64_t)(config->top_k + SLUICE_CACHE_SLOTS_SPARE) * model->record_bytes;
    SLUICE_TRY(sluice_rules_kv(&options->levers, &sizes->kv, err));
    choose_context(config, options, sizes);
    choose_logits_rows(config, sizes);
    sizes->lookahead = options->lookahead < 0   ? 0
                       : options->lookahead > 0 ? options->lookahead
                                                : LOOKAHEAD_DEFAULT;
    choose_chunk(model, options, sizes);

    uint64_t fixed = fixed_bytes(sizes);
    if (memory_bytes < fixed || memory_bytes - fixed < sizes->cache_floor_bytes)
        return refuse(sizes, err);
    uint64_t left = memory_bytes - fixed;
    sizes->cache_bytes = left < sizes->bank_bytes ? left : sizes->bank_bytes;
    if (sizes->cache_bytes < sizes->cache_floor_bytes)
        sizes->cache_bytes = sizes->cache_floor_bytes;
    if (options->cache_bytes) {
        if (options->cache_bytes < sizes->cache_floor_bytes || options->cache_bytes > left)
            return sluice_fail(
                err, SLUICE_NO_MEMORY,
                "an expert cache of %.1f MB is not between the "
                "%.1f MB that a step needs and the %.1f MB that the budget of %.1f MB "
                "leaves",
                (double)options->cache_bytes / 1e6, (double)sizes->cache_floor_bytes / 1e6,
                (double)left / 1e6, (double)memory_bytes / 1e6);
        sizes->cache_bytes = options->cache_bytes;
    }
    return SLUICE_OK;
}
