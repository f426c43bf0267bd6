/* Whole passes: the loss is the one that serving gives, every gradient is that of central finite
 * differences on the tiny models and of PyTorch on Nano, and neither threads, nor the cache, nor
 * where layer inputs are kept, nor which other adapters there are change a bit.
 *
 * SLUICE_TEST_LONG=1 compares every matrix of the tiny models by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "engine/engine.h"
#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "support/engines.h"
#include "support/folders.h"
#include "support/model_reference.h"
#include "support/random_layer.h"
#include "support/raw_safetensors.h"
#include "support/reference.h"
#include "train/pass.h"

#define RANK_MAX 4
#define NANO_TOKENS 246 /* of the reference batch: 150 and 96 */

/* An engine's model with adapters that are trained. */
typedef struct bench {
    sluice_engine *engine;
    sluice_backend *backend;
    sluice_adapter *adapter;
    sluice_pass *pass;
} bench;

typedef struct setup {
    const char *model;
    int threads;
    uint64_t cache_bytes, inputs_bytes;
    int32_t rows;
} setup;

static void check(sluice_status status, const sluice_error *err)
{
    if (status != SLUICE_OK) fail_msg("%s", err->detail);
}

static void bench_open(bench *b, const setup *how, const sluice_adapter_key *keys, int32_t n)
{
    sluice_engine_options options = engines_options();
    sluice_error err = {0};
    memset(b, 0, sizeof *b);
    options.threads = how->threads ? how->threads : 2;
    options.cache_bytes = how->cache_bytes;
    options.chunk = 64;
    options.context = 64;
    b->engine = engines_open(how->model, &options);
    sluice_model *model = b->engine->model;
    sluice_geometry geometry = model->geometry;
    geometry.low_rank = RANK_MAX;
    sluice_cpu_options cpu = {.rows_max = how->rows,
                              .pool = b->engine->pool,
                              .exact = true,
                              .budget = b->engine->budget,
                              .cpu_flags = sluice_cpu_flags()};
    check(sluice_cpu_backend_new(&geometry, &cpu, &b->backend, &err), &err);
    if (n) {
        check(sluice_adapter_new(model->config, keys, n, true, NULL, &b->adapter, &err), &err);
        sluice_model_attach(model, &b->adapter, 1);
    }
    sluice_pass_options pass = {.model = model,
                                .backend = b->backend,
                                .experts = b->engine->experts,
                                .pool = b->engine->pool,
                                .cpu_flags = cpu.cpu_flags,
                                .adapter = b->adapter,
                                .rows_max = how->rows,
                                .segments_max = 4,
                                .inputs_bytes = how->inputs_bytes,
                                .spill_dir = "."};
    const uint64_t used = sluice_budget_used(b->engine->budget);
    check(sluice_pass_new(&pass, &b->pass, &err), &err);
    /* Each of a dozen allocations is charged by whole pages. */
    const uint64_t charged = sluice_budget_used(b->engine->budget) - used;
    assert_in_range(charged, sluice_pass_bytes(&pass), sluice_pass_bytes(&pass) + 12 * 4096);
}

static void bench_close(bench *b)
{
    sluice_pass_free(b->pass);
    sluice_model_attach(b->engine->model, NULL, 0);
    sluice_adapter_free(b->adapter);
    b->backend->free(b->backend);
    sluice_engine_close(b->engine);
}

/* Every matrix that layers [first, layers) have, and some of their experts. */
static int32_t all_keys(const sluice_config *config, int32_t first, int32_t rank, float scale,
                        int32_t experts, sluice_adapter_key *keys)
{
    int32_t n = 0, in, out;
    for (int32_t layer = first; layer < config->layers; layer++)
        for (int m = 0; m < SLUICE_ADAPTER_MODULES; m++) {
            sluice_adapter_key key = {layer, (sluice_adapter_module)m, -1, rank, scale};
            if (!sluice_adapter_shape(config, layer, key.module, &in, &out)) continue;
            if (m < SLUICE_ADAPTER_EXPERT_GATE) keys[n++] = key;
            for (int32_t e = 0; m >= SLUICE_ADAPTER_EXPERT_GATE && e < experts; e++) {
                key.expert = (7 * e + layer) % config->experts;
                keys[n++] = key;
            }
        }
    return n;
}

static sluice_config config_of(const char *model)
{
    sluice_engine *engine = engines_open(model, NULL);
    const sluice_config config = *engine->model->config;
    sluice_engine_close(engine);
    return config;
}

static sluice_pass_result run(bench *b, const sluice_train_batch *batch, float scale)
{
    sluice_pass_result result;
    sluice_error err = {0};
    check(sluice_pass_run(b->pass, batch, scale, &result, &err), &err);
    return result;
}

/* Two sequences of random tokens, a third of them without a target. */
#define TINY_ROWS 14
static const sluice_segment tiny_segments[] = {{0, 9, 0}, {9, 5, 0}};

static sluice_train_batch tiny_batch(int32_t vocab, int32_t tokens[TINY_ROWS],
                                     int32_t targets[TINY_ROWS])
{
    sluice_rng rng;
    sluice_rng_seed(&rng, 11);
    for (int i = 0; i < TINY_ROWS; i++) {
        tokens[i] = (int32_t)sluice_rng_below(&rng, (uint64_t)vocab);
        targets[i] = i % 3 ? (int32_t)sluice_rng_below(&rng, (uint64_t)vocab) : -1;
    }
    return (sluice_train_batch){TINY_ROWS, tokens, targets, 2, tiny_segments};
}

static void random_values(sluice_adapter *adapter, uint64_t seed)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    for (size_t i = 0; i < adapter->count; i++)
        adapter->values[i] = 0.1f * random_normal(&rng);
}

/* The loss along a direction in the adapters' values, and what our gradient says of it. */
typedef struct along {
    const bench *b;
    model_reference *truth;
    const sluice_train_batch *batch;
    double *direction; /* [count] */
} along;

static void check_along(const along *a, const char *what)
{
    const double step = 1e-5;
    const sluice_adapter *adapter = a->b->adapter;
    double *values = model_reference_values(a->truth), loss[2], ours = 0.0, size = 0.0;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < adapter->count; i++)
            values[i] = (double)adapter->values[i] + (side ? step : -step) * a->direction[i];
        loss[side] = model_reference_loss(a->truth, a->batch);
    }
    for (size_t i = 0; i < adapter->count; i++) {
        const double part = (double)adapter->gradients[i] * a->direction[i];
        ours += part;
        size += part * part;
    }
    const double expected = (loss[1] - loss[0]) / (2 * step);
    if (fabs(ours - expected) > 1e-3 * (fabs(expected) + sqrt(size)))
        fail_msg("%s: %.9g, by differences %.9g", what, ours, expected);
}

/* Sets the direction on one factor of an entry, to random numbers. */
static void point(const along *a, const sluice_adapter_entry *entry, int factor, sluice_rng *rng)
{
    const float *from = factor ? entry->b : entry->a;
    const int64_t count = (int64_t)entry->key.rank * (factor ? entry->out : entry->in);
    for (int64_t i = 0; i < count; i++)
        a->direction[from - a->b->adapter->values + i] = (double)random_normal(rng);
}

static void check_tiny(const char *name)
{
    static const char *const factors[] = {"A", "B"};
    sluice_adapter_key keys[400];
    char path[FOLDERS_PATH_MAX], what[128];
    int32_t tokens[TINY_ROWS], targets[TINY_ROWS];
    const bool every = getenv("SLUICE_TEST_LONG") != NULL;
    snprintf(path, sizeof path, "%s", engines_source_path(name));
    const sluice_config config = config_of(path);
    bench b;
    bench_open(&b, &(setup){.model = path, .rows = TINY_ROWS}, keys,
               all_keys(&config, 0, 2, 1.5f, config.experts, keys));
    random_values(b.adapter, 3);
    const sluice_train_batch batch = tiny_batch(config.vocab, tokens, targets);
    const sluice_pass_result result = run(&b, &batch, 1.0f);
    model_reference *truth = model_reference_new(b.engine->model, b.adapter);
    const double loss = model_reference_loss(truth, &batch);
    assert_true(fabs(loss - result.nll) < 1e-4 * loss);
    sluice_rng rng;
    sluice_rng_seed(&rng, 8);
    along a = {&b, truth, &batch, calloc(b.adapter->count, sizeof(double))};
    assert_non_null(a.direction);
    for (int m = 0; m < SLUICE_ADAPTER_MODULES; m++)
        for (int factor = 0; factor < 2; factor++) {
            memset(a.direction, 0, b.adapter->count * sizeof *a.direction);
            for (int32_t i = 0; i < b.adapter->n_entries; i++) {
                const sluice_adapter_entry *entry = &b.adapter->entries[i];
                if (entry->key.module != (sluice_adapter_module)m) continue;
                point(&a, entry, factor, &rng);
                if (!every) continue;
                snprintf(what, sizeof what, "%s: layer %d, %s, expert %d, %s", name,
                         entry->key.layer, sluice_adapter_module_name(entry->key.module),
                         entry->key.expert, factors[factor]);
                check_along(&a, what);
                memset(a.direction, 0, b.adapter->count * sizeof *a.direction);
            }
            snprintf(what, sizeof what, "%s: %s, %s", name,
                     sluice_adapter_module_name((sluice_adapter_module)m), factors[factor]);
            if (!every) check_along(&a, what);
        }
    free(a.direction);
    model_reference_free(truth);
    bench_close(&b);
}

static void gradients_of_the_tiny_models_are_those_of_finite_differences(void **state)
{
    (void)state;
    check_tiny("tests/data/tiny/hf-bf16-flat");
    check_tiny("tests/data/tiny/hf-split-f32-sharded");
    check_tiny("tests/data/tiny/mlx-2bit-g64");
    check_tiny("tests/data/tiny/mlx-8bit-g32");
}

/* The batch of tests/data/train/make_reference.py. */
static const sluice_segment nano_segments[] = {{0, 150, 0}, {150, 96, 0}};

static sluice_train_batch nano_batch(int32_t tokens[NANO_TOKENS], int32_t targets[NANO_TOKENS])
{
    reference *all = reference_load(engines_source_path("models/nano/reference.json"));
    memcpy(tokens, all->cases[2].ids, 150 * sizeof *tokens);
    memcpy(tokens + 150, all->cases[2].ids + 200, 96 * sizeof *tokens);
    reference_free(all);
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < nano_segments[s].count; i++) {
            const int32_t row = nano_segments[s].row + i;
            targets[row] = i % 5 && i + 1 < nano_segments[s].count ? tokens[row + 1] : -1;
        }
    return (sluice_train_batch){NANO_TOKENS, tokens, targets, 2, nano_segments};
}

/* The numbers of make_reference.py. */
static void nano_values(const sluice_adapter *adapter)
{
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_entry *entry = &adapter->entries[i];
        for (uint64_t factor = 0; factor < 2; factor++) {
            float *to = factor ? entry->b : entry->a;
            const uint64_t place = ((uint64_t)entry->key.layer * 16 + entry->key.module) * 1024 +
                                   (uint64_t)(entry->key.expert + 1);
            const int64_t count = (int64_t)entry->key.rank * (factor ? entry->out : entry->in);
            for (int64_t j = 0; j < count; j++) {
                uint64_t state = ((place * 2 + factor) << 32) + (uint64_t)j;
                state *= 0x9e3779b97f4a7c15u;
                const uint64_t z = sluice_rng_splitmix(&state);
                to[j] = (float)((double)(z >> 40) / (1 << 23) - 1.0) / 16.0f;
            }
        }
    }
}

static void open_nano(bench *b, const setup *how)
{
    static sluice_adapter_key keys[400];
    const sluice_config config = config_of(NULL);
    bench_open(b, how, keys, all_keys(&config, 0, 4, 2.0f, 12, keys));
    nano_values(b->adapter);
}

static void gradients_of_nano_are_those_of_pytorch(void **state)
{
    bench b;
    int32_t tokens[NANO_TOKENS], targets[NANO_TOKENS];
    (void)state;
    raw_file file =
        raw_file_load(engines_source_path("tests/data/train/nano_gradients.safetensors"));
    const float *loss = (const float *)(const void *)raw_file_find(&file, "loss", NULL);
    const float *norms = (const float *)(const void *)raw_file_find(&file, "norms", NULL);
    const float *samples = (const float *)(const void *)raw_file_find(&file, "samples", NULL);
    open_nano(&b, &(setup){.rows = NANO_TOKENS, .inputs_bytes = UINT64_MAX});
    const sluice_train_batch batch = nano_batch(tokens, targets);
    const sluice_pass_result result = run(&b, &batch, 1.0f / 195);
    assert_int_equal(result.targets, 195);
    assert_true(fabs(result.nll / 195 - (double)loss[0]) < 1e-4);
    assert_int_equal(b.adapter->n_entries, 350);
    double worst = 0.0;
    for (int32_t i = 0; i < 2 * b.adapter->n_entries; i++) {
        const sluice_adapter_entry *entry = &b.adapter->entries[i / 2];
        const float *ours = i % 2 ? entry->db : entry->da;
        const int64_t count = (int64_t)entry->key.rank * (i % 2 ? entry->out : entry->in);
        double square = 0.0, apart = 0.0, sampled = 0.0;
        for (int64_t j = 0; j < count; j++)
            square += (double)ours[j] * (double)ours[j];
        for (int64_t j = 0; j < 64; j++) {
            const double theirs = (double)samples[i * 64 + j];
            const double d = (double)ours[j * count / 64] - theirs;
            apart += d * d;
            sampled += theirs * theirs;
        }
        const double by_norm = fabs(sqrt(square) - (double)norms[i]) / ((double)norms[i] + 1e-30);
        const double by_samples = sqrt(apart / (sampled + 1e-30));
        if (by_norm > worst) worst = by_norm;
        if (by_samples > worst) worst = by_samples;
        if (by_norm > 1e-2 || by_samples > 1e-2)
            fail_msg("layer %d, %s, expert %d, %s: norm %.6g, not %.6g; samples %.2g apart",
                     entry->key.layer, sluice_adapter_module_name(entry->key.module),
                     entry->key.expert, i % 2 ? "B" : "A", sqrt(square), (double)norms[i],
                     by_samples);
    }
    printf("largest difference to PyTorch: %.2g of a gradient, loss %.7f, not %.7f\n", worst,
           result.nll / 195, (double)loss[0]);
    raw_file_free(&file);
    bench_close(&b);
}

static void the_loss_is_the_one_that_serving_gives(void **state)
{
    bench b;
    int32_t tokens[NANO_TOKENS], targets[NANO_TOKENS];
    (void)state;
    bench_open(&b, &(setup){.rows = NANO_TOKENS}, NULL, 0);
    const sluice_train_batch batch = nano_batch(tokens, targets);
    const sluice_pass_result result = run(&b, &batch, 1.0f);
    double nll = 0.0;
    sluice_engine_options options = engines_options();
    sluice_engine *engine = engines_open(NULL, &options);
    for (int s = 0; s < 2; s++) {
        const sluice_segment *segment = &nano_segments[s];
        sluice_session *session = engines_session(engine);
        engines_rows rows = engines_rows_new(engine, segment->count);
        engines_step(engine, &(sluice_input){session, tokens + segment->row, segment->count, 0}, 1,
                     engines_rows_keep, &rows);
        for (int32_t i = 0; i < segment->count; i++) {
            const float *logits = rows.logits + (size_t)i * (size_t)rows.vocab;
            double sum = 0.0;
            if (targets[segment->row + i] < 0) continue;
            for (int32_t v = 0; v < rows.vocab; v++)
                sum += exp((double)logits[v]);
            nll += log(sum) - (double)logits[targets[segment->row + i]];
        }
        engines_rows_free(&rows);
        sluice_session_close(session);
    }
    sluice_engine_close(engine);
    assert_true(fabs(result.nll - nll) < 1e-5 * result.targets);
    bench_close(&b);
}

static void threads_cache_and_spilled_inputs_do_not_change_a_bit(void **state)
{
    static const setup setups[] = {
        {.threads = 2, .rows = NANO_TOKENS, .inputs_bytes = UINT64_MAX},
        {.threads = 1, .rows = NANO_TOKENS, .cache_bytes = 700000, .inputs_bytes = 0},
        {.threads = 3, .rows = NANO_TOKENS + 7, .cache_bytes = 4000000, .inputs_bytes = 1400000},
    };
    int32_t tokens[NANO_TOKENS], targets[NANO_TOKENS];
    const sluice_train_batch batch = nano_batch(tokens, targets);
    float *first = NULL;
    (void)state;
    for (int i = 0; i < 3; i++) {
        bench b;
        open_nano(&b, &setups[i]);
        const sluice_pass_result result = run(&b, &batch, 1.0f);
        const size_t bytes = b.adapter->count * sizeof *first;
        assert_true(result.nll > 0.0);
        if (!first) {
            first = malloc(bytes);
            assert_non_null(first);
            memcpy(first, b.adapter->gradients, bytes);
        }
        assert_memory_equal(first, b.adapter->gradients, bytes);
        bench_close(&b);
    }
    free(first);
}

/* The same tokens as one batch, and sequence by sequence. */
static void gradients_of_several_passes_add_up(void **state)
{
    sluice_adapter_key keys[400];
    int32_t tokens[TINY_ROWS], targets[TINY_ROWS];
    char path[FOLDERS_PATH_MAX];
    bench b;
    (void)state;
    snprintf(path, sizeof path, "%s", engines_source_path("tests/data/tiny/mlx-8bit-g32"));
    const sluice_config config = config_of(path);
    bench_open(&b, &(setup){.model = path, .rows = TINY_ROWS}, keys,
               all_keys(&config, 0, 2, 1.0f, 3, keys));
    random_values(b.adapter, 4);
    const sluice_train_batch batch = tiny_batch(config.vocab, tokens, targets);
    const size_t bytes = b.adapter->count * sizeof(float);
    run(&b, &batch, 0.25f);
    float *whole = malloc(bytes);
    assert_non_null(whole);
    memcpy(whole, b.adapter->gradients, bytes);
    memset(b.adapter->gradients, 0, bytes);
    for (int s = 0; s < 2; s++) {
        const sluice_segment alone = {0, tiny_segments[s].count, 0};
        const int32_t row = tiny_segments[s].row;
        const sluice_train_batch part = {alone.count, tokens + row, targets + row, 1, &alone};
        run(&b, &part, 0.25f);
    }
    double apart = 0.0, size = 0.0;
    for (size_t i = 0; i < b.adapter->count; i++) {
        const double d = (double)whole[i] - (double)b.adapter->gradients[i];
        apart += d * d;
        size += (double)whole[i] * (double)whole[i];
    }
    assert_true(size > 0.0 && apart < 1e-10 * size);
    free(whole);
    bench_close(&b);
}

static void nothing_is_read_below_the_lowest_adapter(void **state)
{
    sluice_adapter_key keys[400], some[400];
    int32_t tokens[TINY_ROWS], targets[TINY_ROWS], n = 0;
    char path[FOLDERS_PATH_MAX];
    bench all, top;
    (void)state;
    snprintf(path, sizeof path, "%s", engines_source_path("tests/data/tiny/hf-bf16-flat"));
    const sluice_config config = config_of(path);
    const sluice_train_batch batch = tiny_batch(config.vocab, tokens, targets);
    const int32_t count = all_keys(&config, 0, 2, 1.0f, 3, keys), last = config.layers - 1;
    for (int32_t i = 0; i < count; i++) /* the last layer's shared expert and one routed one */
        if (keys[i].layer == last && keys[i].module >= SLUICE_ADAPTER_SHARED_GATE &&
            (keys[i].expert < 0 || keys[i].expert == last % config.experts))
            some[n++] = keys[i];
    bench_open(&all, &(setup){.model = path, .rows = TINY_ROWS}, keys, count);
    bench_open(&top, &(setup){.model = path, .rows = TINY_ROWS}, some, n);
    assert_int_equal(sluice_pass_lowest(top.pass), last);
    /* The same terms everywhere: those of the others are zero, and so change nothing forward. */
    random_values(top.adapter, 5);
    for (int32_t i = 0; i < top.adapter->n_entries; i++) {
        const sluice_adapter_entry *from = &top.adapter->entries[i];
        const sluice_adapter_entry *to =
            sluice_adapter_find(all.adapter, last, from->key.module, from->key.expert);
        memcpy(to->a, from->a, (size_t)(2 * from->in) * sizeof(float));
        memcpy(to->b, from->b, (size_t)(2 * from->out) * sizeof(float));
    }
    const sluice_pass_result whole = run(&all, &batch, 1.0f), part = run(&top, &batch, 1.0f);
    const uint64_t record = sluice_container_experts(top.engine->container, last)->layout.bytes;
    assert_true(whole.needed_backward == whole.needed_forward);
    assert_true(part.needed_forward == whole.needed_forward);
    assert_true(part.needed_backward <= record);
    assert_true(whole.nll == part.nll);
    for (int32_t i = 0; i < top.adapter->n_entries; i++) {
        const sluice_adapter_entry *ours = &top.adapter->entries[i];
        const sluice_adapter_entry *other =
            sluice_adapter_find(all.adapter, last, ours->key.module, ours->key.expert);
        assert_memory_equal(ours->da, other->da, (size_t)(2 * ours->in) * sizeof(float));
        assert_memory_equal(ours->db, other->db, (size_t)(2 * ours->out) * sizeof(float));
    }
    bench_close(&all);
    bench_close(&top);
}

static void batches_that_do_not_hold_together_are_refused(void **state)
{
    int32_t tokens[TINY_ROWS], targets[TINY_ROWS];
    char path[FOLDERS_PATH_MAX];
    sluice_pass_result result;
    sluice_error err = {0};
    bench b;
    (void)state;
    snprintf(path, sizeof path, "%s", engines_source_path("tests/data/tiny/mlx-8bit-g32"));
    const sluice_config config = config_of(path);
    bench_open(&b, &(setup){.model = path, .rows = TINY_ROWS}, NULL, 0);
    const sluice_train_batch good = tiny_batch(config.vocab, tokens, targets);
    const sluice_segment later = {0, TINY_ROWS, 3}, shorter = {0, TINY_ROWS - 1, 0},
                         longer = {0, TINY_ROWS + 1, 0};
    const sluice_segment *const wrong[] = {&later, &shorter, &longer};
    for (int i = 0; i < 3; i++) {
        sluice_train_batch batch = good;
        batch.segments = wrong[i];
        batch.n_segments = 1;
        assert_int_equal(sluice_pass_run(b.pass, &batch, 0, &result, &err), SLUICE_BAD_INPUT);
    }
    sluice_train_batch batch = good;
    batch.rows = TINY_ROWS + 1;
    assert_int_equal(sluice_pass_run(b.pass, &batch, 0, &result, &err), SLUICE_LIMIT);
    targets[3] = config.vocab;
    assert_int_equal(sluice_pass_run(b.pass, &good, 0, &result, &err), SLUICE_BAD_INPUT);
    targets[3] = 0;
    tokens[2] = -1;
    assert_int_equal(sluice_pass_run(b.pass, &good, 0, &result, &err), SLUICE_BAD_INPUT);
    tokens[2] = 0;
    assert_int_equal(sluice_pass_run(b.pass, &good, 0, &result, &err), SLUICE_OK);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_the_tiny_models_are_those_of_finite_differences),
        cmocka_unit_test(gradients_of_nano_are_those_of_pytorch),
        cmocka_unit_test(the_loss_is_the_one_that_serving_gives),
        cmocka_unit_test(threads_cache_and_spilled_inputs_do_not_change_a_bit),
        cmocka_unit_test(gradients_of_several_passes_add_up),
        cmocka_unit_test(nothing_is_read_below_the_lowest_adapter),
        cmocka_unit_test(batches_that_do_not_hold_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
