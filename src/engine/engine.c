/* Opening and closing an engine: every part in order, each charged to one budget.
 *
 * Order matters: the expert cache comes last, so that it takes what the parts before it left, and
 * closing goes the other way. Sessions are made by their users, from memory kept aside for them. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "kernels/cpu_backend.h"
#include "model/expert_layers.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/topology.h"

sluice_engine_options sluice_engine_options_default(void)
{
    return (sluice_engine_options){.exact = true};
}

static sluice_status open_tokenizer(sluice_engine *engine, const char *dir, sluice_error *err)
{
    char *path = sluice_file_join(dir, "tokenizer.json");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = SLUICE_OK;
    if (sluice_file_exists(path)) status = sluice_tokenizer_open(path, &engine->tokenizer, err);
    free(path);
    if (status != SLUICE_OK) return status;
    return sluice_stop_ids_load(dir, engine->tokenizer,
                                sluice_container_config(engine->container)->vocab, engine->stop_ids,
                                &engine->info.n_stop_ids, err);
}

/* One thread per core unless it is said otherwise. */
static sluice_status open_pool(sluice_engine *engine, sluice_error *err)
{
    int threads = engine->options.threads;
    sluice_topology topology;
    if (threads < 0 || threads > SLUICE_PROCESSORS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d threads are not between 1 and %d", threads,
                           SLUICE_PROCESSORS_MAX);
    sluice_topology_get("", &topology);
    if (threads == 0) engine->options.threads = threads = topology.threads;
    return sluice_pool_new(threads, sluice_topology_ties(&topology, threads), &engine->pool, err);
}

static sluice_status open_backend(sluice_engine *engine, sluice_error *err)
{
    const char *cpu = engine->options.cpu ? engine->options.cpu : "auto";
    sluice_cpu_options options = {
        .rows_max = engine->sizes.chunk,
        .pool = engine->pool,
        .exact = engine->options.exact,
        .budget = engine->budget,
    };
    SLUICE_TRY(sluice_cpu_flags_parse(cpu, &options.cpu_flags, err));
    return sluice_cpu_backend_new(&engine->model->geometry, &options, &engine->backend, err);
}

static void note_routes(void *context, int32_t layer, const int32_t *ids, int32_t n)
{
    const sluice_engine *engine = context;
    if (engine->warm) sluice_warm_count(engine->warm, layer, ids, n);
    if (engine->options.routes)
        engine->options.routes(engine->options.routes_context, layer, ids, n);
}

static sluice_status open_warm(sluice_engine *engine, sluice_error *err)
{
    if (!engine->options.warm_start) return SLUICE_OK;
    const sluice_config *config = engine->model->config;
    SLUICE_TRY(sluice_warm_new(config->layers, config->experts, engine->model->fingerprint,
                               &engine->warm, err));
    sluice_warm_start(engine->warm, engine->experts);
    return SLUICE_OK;
}

static sluice_status open_experts(sluice_engine *engine, sluice_error *err)
{
    const sluice_config *config = sluice_container_config(engine->container);
    sluice_experts_layer *layers;
    SLUICE_TRY(sluice_expert_layers(engine->container, &layers, err));
    sluice_experts_options options = {
        .layers = layers,
        .n_layers = config->layers,
        .cache_bytes = engine->sizes.cache_bytes,
        .slots_min = config->top_k,
        .io = engine->options.io,
        .io_engine = engine->io,
        .policy = engine->options.cache_policy,
        .verify = engine->options.verify_reads,
        .budget = engine->budget,
        .trace = note_routes,
        .trace_context = engine,
    };
    sluice_status status = sluice_experts_open(&options, &engine->experts, err);
    free(layers);
    return status;
}

static sluice_status open_forward(sluice_engine *engine, sluice_error *err)
{
    size_t chunk = (size_t)engine->sizes.chunk;
    engine->parts = calloc(chunk, sizeof *engine->parts);
    engine->part_inputs = calloc(chunk, sizeof *engine->part_inputs);
    engine->part_offsets = calloc(chunk, sizeof *engine->part_offsets);
    if (!engine->parts || !engine->part_inputs || !engine->part_offsets)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for batches of %zu rows", chunk);
    sluice_forward_options options = {
        .model = engine->model,
        .backend = engine->backend,
        .experts = engine->experts,
        .policy = &engine->policy,
        .rows_max = engine->sizes.chunk,
        .logits_rows = engine->sizes.logits_rows,
        .lookahead = engine->sizes.lookahead,
    };
    return sluice_forward_new(&options, &engine->forward, err);
}

/* What a batch goes through; the bench reckons its floor from it. */
static void fill_sizes(sluice_engine *engine)
{
    const sluice_model *model = engine->model;
    sluice_model_info *info = &engine->info;
    int32_t count;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(engine->container, &count);
    for (int32_t i = 0; i < count; i++)
        if (strncmp(tensors[i].name, "layers.", 7) == 0) info->trunk_bytes += tensors[i].bytes;
    info->head_bytes = sluice_weight_bytes(model->head.format, model->head.rows, model->head.cols);
    for (int32_t i = 0; i < model->config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(engine->container, i);
        if (file->layout.bytes > info->record_bytes) info->record_bytes = file->layout.bytes;
    }
    info->bank_bytes = engine->sizes.bank_bytes;
    info->cache_bytes = (uint64_t)sluice_experts_slots(engine->experts) * info->record_bytes;
    info->chunk = engine->sizes.chunk;
    info->threads = sluice_pool_threads(engine->pool);
}

static void fill_info(sluice_engine *engine, const char *dir)
{
    const sluice_config *config = engine->model->config;
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    size_t bytes = length - start < sizeof engine->name ? length - start : sizeof engine->name - 1;
    memcpy(engine->name, dir + start, bytes);
    engine->info.name = engine->name;
    engine->info.layers = config->layers;
    engine->info.hidden = config->hidden;
    engine->info.vocab = config->vocab;
    engine->info.experts = config->experts;
    engine->info.top_k = config->top_k;
    engine->info.context_max = config->context_max;
    engine->info.context = engine->sizes.context;
    engine->info.stop_ids = engine->stop_ids;
    engine->info.adapters = engine->adapter_names;
    fill_sizes(engine);
}

static sluice_status choose_k(sluice_engine *engine, sluice_error *err)
{
    int32_t top_k = sluice_container_config(engine->container)->top_k, k = engine->options.k;
    if (k < 0 || k > top_k)
        return sluice_fail(err, SLUICE_USAGE, "k is %d; this model runs 1 to %d experts a token", k,
                           top_k);
    engine->info.k = k ? k : top_k;
    return SLUICE_OK;
}

static sluice_status lock_trunk(const sluice_model *model, sluice_error *err)
{
    SLUICE_TRY(sluice_memory_lock(model->matrices, model->matrices_bytes, "the trunk", err));
    return sluice_memory_lock(model->vectors, model->vectors_bytes, "the trunk", err);
}

static sluice_status open_parts(sluice_engine *engine, const char *model, const char *dir,
                                sluice_error *err)
{
    uint64_t memory = engine->options.memory_bytes;
    sluice_sizes_model needs;
    SLUICE_TRY(sluice_container_open_over(dir, engine->options.expert_folders,
                                          engine->options.n_expert_folders, &engine->container,
                                          err));
    SLUICE_TRY(open_pool(engine, err));
    SLUICE_TRY(choose_k(engine, err));
    if (!memory) SLUICE_TRY(sluice_sizes_machine(&memory, err));
    SLUICE_TRY(sluice_sizes_measure(engine->container, &needs, err));
    SLUICE_TRY(sluice_budget_new(memory, &engine->budget, err));
    SLUICE_TRY(sluice_engine_adapters_open(engine, &needs, err));
    SLUICE_TRY(sluice_sizes_plan(&needs, &engine->options, memory, &engine->sizes, err));
    SLUICE_TRY(open_tokenizer(engine, dir, err));
    sluice_model_options model_options = {.embedding_on_disk = engine->sizes.embedding_on_disk,
                                          .budget = engine->budget};
    SLUICE_TRY(sluice_model_open(engine->container, &model_options, &engine->model, err));
    if (engine->options.lock_trunk) SLUICE_TRY(lock_trunk(engine->model, err));
    engine->model->geometry.low_rank = needs.low_rank;
    sluice_model_attach(engine->model, engine->adapters, engine->options.n_adapters);
    SLUICE_TRY(open_backend(engine, err));
    sluice_state_layout_init(&engine->layout, engine->model->config, engine->sizes.context,
                             engine->sizes.kv);
    SLUICE_TRY(
        sluice_sampler_new(engine->model->config->vocab, engine->budget, &engine->sampler, err));
    SLUICE_TRY(open_experts(engine, err));
    if (engine->options.prefault) sluice_experts_touch(engine->experts, engine->pool);
    SLUICE_TRY(open_warm(engine, err));
    engine->pressure = (sluice_pressure){
        .root = "",
        .interval_us = SLUICE_PRESSURE_INTERVAL_US,
        .slots_min = (int32_t)(engine->sizes.cache_floor_bytes / needs.record_bytes),
        .record_bytes = needs.record_bytes,
    };
    SLUICE_TRY(sluice_engine_open_levers(engine, model, dir, err));
    SLUICE_TRY(open_forward(engine, err));
    return SLUICE_OK;
}

sluice_status sluice_engine_open_over(const char *model, const sluice_engine_options *options,
                                      sluice_io *io, sluice_engine **out, sluice_error *err)
{
    sluice_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for an engine");
    engine->options = options ? *options : sluice_engine_options_default();
    engine->io = io;
    char *dir = NULL;
    sluice_status status = sluice_model_locate(model, &engine->options, &dir, err);
    if (status == SLUICE_OK) status = open_parts(engine, model, dir, err);
    if (status == SLUICE_OK) fill_info(engine, dir);
    free(dir);
    if (status != SLUICE_OK) {
        sluice_engine_close(engine);
        return status;
    }
    *out = engine;
    return SLUICE_OK;
}

sluice_status sluice_engine_open(const char *model, const sluice_engine_options *options,
                                 sluice_engine **out, sluice_error *err)
{
    return sluice_engine_open_over(model, options, NULL, out, err);
}

void sluice_engine_close(sluice_engine *engine)
{
    if (!engine) return;
    sluice_forward_free(engine->forward);
    sluice_warm_free(engine->warm);
    if (engine->experts) sluice_experts_close(engine->experts);
    sluice_sampler_free(engine->sampler);
    if (engine->backend) engine->backend->free(engine->backend);
    sluice_model_close(engine->model);
    for (int32_t i = 0; i < SLUICE_ADAPTERS_MAX; i++)
        sluice_adapter_free(engine->adapters[i]);
    if (engine->pool) sluice_pool_free(engine->pool);
    sluice_tokenizer_close(engine->tokenizer);
    if (engine->container) sluice_container_close(engine->container);
    sluice_budget_free(engine->budget);
    sluice_rules_free(&engine->rules);
    free(engine->parts);
    free(engine->part_inputs);
    free(engine->part_offsets);
    free(engine);
}

const sluice_tokenizer *sluice_engine_tokenizer(const sluice_engine *engine)
{
    return engine->tokenizer;
}

const sluice_model_info *sluice_engine_info(const sluice_engine *engine)
{
    return &engine->info;
}

void sluice_engine_probe(sluice_engine *engine, const sluice_probe *probe)
{
    engine->probe = probe ? *probe : (sluice_probe){0};
}
