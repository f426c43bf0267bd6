/* One training pass over random tokens, as CSV: what it read, what it had to read at least, and
 * where the time went.
 *
 * Usage: bench_train MODEL [ROWS [CACHE_MB [INPUTS_MB [PASSES]]]]. The adapters are the default
 * ones of `sluice train`: every shared expert and 15% of the routed experts, rank 8. need_mb is
 * what a pass needs with no cache: every expert that its tokens use, once forward and once
 * backward. disk_gb_per_s is what the disk gives when all experts of some layers are swept and
 * nothing is computed, the better of before and after the pass (the first sweep, into memory never
 * touched, does not count); floor_s is need_mb at that speed, of_floor the part of it in a pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "train/pass.h"

#define RANK 8
#define SWEPT_LAYERS 2

static int die(const char *what)
{
    fprintf(stderr, "bench_train: %s\n", what);
    return 1;
}

static int32_t keys_of(const sluice_config *config, sluice_adapter_key *keys)
{
    int32_t n = 0;
    for (int32_t layer = 0; layer < config->layers; layer++)
        for (int m = SLUICE_ADAPTER_SHARED_GATE; m < SLUICE_ADAPTER_MODULES; m++) {
            const bool routed = m >= SLUICE_ADAPTER_EXPERT_GATE;
            const int32_t count = routed ? config->experts * 15 / 100 : 1;
            for (int32_t e = 0; e < count; e++)
                keys[n++] = (sluice_adapter_key){layer, (sluice_adapter_module)m, routed ? e : -1,
                                                 RANK, 2.0f};
        }
    return n;
}

static sluice_status open_adapter(sluice_engine *engine, sluice_adapter **adapter,
                                  sluice_error *err)
{
    const sluice_config *config = engine->model->config;
    sluice_adapter_key *keys =
        calloc((size_t)config->layers * 3 * ((size_t)config->experts + 1), sizeof *keys);
    if (!keys) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a list");
    const sluice_status status =
        sluice_adapter_new(config, keys, keys_of(config, keys), true, engine->budget, adapter, err);
    free(keys);
    if (status == SLUICE_OK) {
        sluice_adapter_init(*adapter, 1);
        sluice_model_attach(engine->model, adapter, 1);
    }
    return status;
}

static sluice_status open_pass(sluice_engine *engine, int32_t rows, uint64_t inputs_bytes,
                               sluice_adapter *adapter, sluice_backend **backend,
                               sluice_pass **pass, sluice_error *err)
{
    sluice_geometry geometry = engine->model->geometry;
    geometry.low_rank = RANK;
    const sluice_cpu_options cpu = {.rows_max = rows,
                                    .pool = engine->pool,
                                    .exact = true,
                                    .budget = engine->budget,
                                    .cpu_flags = sluice_cpu_flags()};
    const sluice_status status = sluice_cpu_backend_new(&geometry, &cpu, backend, err);
    if (status != SLUICE_OK) return status;
    const sluice_pass_options options = {.model = engine->model,
                                         .backend = *backend,
                                         .experts = engine->experts,
                                         .pool = engine->pool,
                                         .cpu_flags = cpu.cpu_flags,
                                         .adapter = adapter,
                                         .rows_max = rows,
                                         .segments_max = 4,
                                         .inputs_bytes = inputs_bytes,
                                         .spill_dir = "."};
    return sluice_pass_new(&options, pass, err);
}

/* Bytes a second of reading every expert of the first layers as a pass does; the larger of it and
 * what speed was. */
static sluice_status sweep(sluice_engine *engine, double *speed, sluice_error *err)
{
    const int32_t experts = engine->info.experts;
    const int32_t layers = engine->info.layers < SWEPT_LAYERS ? engine->info.layers : SWEPT_LAYERS;
    sluice_experts_stats before, after;
    int32_t *all = calloc((size_t)experts, sizeof *all), id = 0;
    sluice_status status = SLUICE_OK;
    if (!all) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a list");
    for (int32_t e = 0; e < experts; e++)
        all[e] = e;
    sluice_experts_stats_get(engine->experts, &before);
    const uint64_t start = sluice_clock_ns();
    for (int32_t layer = 0; layer < layers && status == SLUICE_OK; layer++) {
        const void *record;
        sluice_experts_request(engine->experts, layer, all, experts, SLUICE_EXPERTS_DEMAND);
        while ((status = sluice_experts_next(engine->experts, &id, &record, err)) == SLUICE_OK &&
               id >= 0)
            sluice_experts_release(engine->experts, layer, id);
        if (layer + 1 < layers)
            sluice_experts_request(engine->experts, layer + 1, all, experts, SLUICE_EXPERTS_SWEEP);
    }
    sluice_experts_stats_get(engine->experts, &after);
    const double seconds = (double)(sluice_clock_ns() - start) / 1e9;
    const double now = (double)(after.bytes_read - before.bytes_read) / seconds;
    if (now > *speed) *speed = now;
    free(all);
    return status;
}

static void report(const sluice_engine *engine, int32_t rows, double speed,
                   const sluice_pass_result *r)
{
    struct rusage usage;
    const double s = (double)(r->forward_ns + r->head_ns + r->backward_ns) / 1e9;
    const double read = (double)(r->bytes_forward + r->bytes_backward);
    const double need = (double)(r->needed_forward + r->needed_backward);
    getrusage(RUSAGE_SELF, &usage);
    printf("%s,%d,%d,%d,%d,%.0f,%.0f,%.0f,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.0f,%.2f,%.2f,%.2f\n",
           engine->info.name, engine->info.layers, rows, engine->info.threads,
           sluice_experts_slots(engine->experts), need / 1e6, (double)r->bytes_forward / 1e6,
           (double)r->bytes_backward / 1e6, (double)r->forward_ns / 1e9, (double)r->head_ns / 1e9,
           (double)r->backward_ns / 1e9, s, (double)r->wait_ns / 1e9, read / s / 1e9,
           (double)usage.ru_maxrss * 1024 / 1e6, speed / 1e9, need / speed, need / speed / s);
    fflush(stdout);
}

static sluice_status run(sluice_engine *engine, sluice_pass *pass, int32_t rows, int passes,
                         double speed, sluice_error *err)
{
    int32_t *tokens = calloc(2 * (size_t)rows, sizeof *tokens);
    if (!tokens) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d tokens", rows);
    const sluice_segment segment = {0, rows, 0};
    const sluice_train_batch batch = {rows, tokens, tokens + rows, 1, &segment};
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    sluice_status status = SLUICE_OK;
    for (int i = 0; i < passes && status == SLUICE_OK; i++) {
        sluice_pass_result result;
        for (int32_t t = 0; t < 2 * rows; t++)
            tokens[t] = (int32_t)sluice_rng_below(&rng, (uint64_t)engine->info.vocab);
        status = sluice_pass_run(pass, &batch, 1.0f / (float)rows, &result, err);
        if (status == SLUICE_OK) status = sweep(engine, &speed, err);
        if (status == SLUICE_OK) report(engine, rows, speed, &result);
    }
    free(tokens);
    return status;
}

int main(int argc, char **argv)
{
    const int32_t rows = argc > 2 ? atoi(argv[2]) : 256;
    const uint64_t mb = 1000000, cache = (argc > 3 ? (uint64_t)atoi(argv[3]) : 1000) * mb;
    const uint64_t inputs = (argc > 4 ? (uint64_t)atoi(argv[4]) : 4000) * mb;
    sluice_engine_options options = sluice_engine_options_default();
    sluice_engine *engine;
    sluice_backend *backend = NULL;
    sluice_adapter *adapter = NULL;
    sluice_pass *pass = NULL;
    sluice_error err = {0};
    if (argc < 2 || rows < 1) return die("usage: bench_train MODEL [ROWS [CACHE_MB [INPUTS_MB]]]");
    options.chunk = 64;
    options.context = 64;
    options.cache_bytes = cache;
    if (sluice_engine_open(argv[1], &options, &engine, &err) != SLUICE_OK) return die(err.detail);
    double speed = 0.0;
    sluice_status status = sweep(engine, &speed, &err);
    speed = 0.0;
    if (status == SLUICE_OK) status = sweep(engine, &speed, &err);
    if (status == SLUICE_OK) status = open_adapter(engine, &adapter, &err);
    if (status == SLUICE_OK)
        status = open_pass(engine, rows, inputs, adapter, &backend, &pass, &err);
    printf("model,layers,rows,threads,slots,need_mb,forward_mb,backward_mb,forward_s,head_s,"
           "backward_s,pass_s,wait_s,gb_per_s,peak_mb,disk_gb_per_s,floor_s,of_floor\n");
    if (status == SLUICE_OK)
        status = run(engine, pass, rows, argc > 5 ? atoi(argv[5]) : 1, speed, &err);
    sluice_pass_free(pass);
    if (backend) backend->free(backend);
    sluice_model_attach(engine->model, NULL, 0);
    sluice_adapter_free(adapter);
    sluice_engine_close(engine);
    return status == SLUICE_OK ? 0 : die(err.detail);
}
