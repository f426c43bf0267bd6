/* Adapters: what they add is what their definition says; what must not change a result does not
 * change a bit of it with them either; and they are read back as they were written. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/peft.h"
#include "base/rng.h"
#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "os/folder.h"
#include "support/engines.h"
#include "support/folders.h"
#include "support/random_layer.h"
#include "support/raw_safetensors.h"

#define TOKENS 70

static sluice_config nano;
static char dir[FOLDERS_PATH_MAX];
static int32_t tokens[TOKENS];

/* Every module of every layer, and every fifth expert. */
static sluice_adapter *all_modules(int32_t rank, uint64_t seed)
{
    static sluice_adapter_key keys[8192];
    int32_t n = 0, in, out;
    for (int32_t layer = 0; layer < nano.layers; layer++)
        for (int m = 0; m < SLUICE_ADAPTER_MODULES; m++) {
            const sluice_adapter_module module = (sluice_adapter_module)m;
            if (!sluice_adapter_shape(&nano, layer, module, &in, &out)) continue;
            if (module < SLUICE_ADAPTER_EXPERT_GATE) {
                keys[n++] = (sluice_adapter_key){layer, module, -1, rank, 0.5f};
                continue;
            }
            for (int32_t e = layer % 5; e < nano.experts; e += 5)
                keys[n++] = (sluice_adapter_key){layer, module, e, rank, 0.5f};
        }
    sluice_adapter *adapter;
    sluice_rng rng;
    assert_int_equal(sluice_adapter_new(&nano, keys, n, false, NULL, &adapter, NULL), SLUICE_OK);
    sluice_adapter_init(adapter, seed);
    sluice_rng_seed(&rng, seed);
    for (int32_t i = 0; i < adapter->n_entries; i++)
        for (int32_t j = 0; j < adapter->entries[i].out * rank; j++)
            adapter->entries[i].b[j] = 0.02f * random_normal(&rng);
    return adapter;
}

static const char *write_as(const sluice_adapter *adapter, const char *name, bool by_expert)
{
    const sluice_peft_write_options options = {"nano", by_expert};
    sluice_error err = {0};
    const char *path = folders_path(dir, name);
    if (sluice_peft_write(adapter, &nano, &options, path, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return path;
}

static engines_rows logits_of(sluice_engine *engine)
{
    engines_rows rows = engines_rows_new(engine, TOKENS);
    sluice_session *session = engines_session(engine);
    const sluice_input input = {session, tokens, TOKENS, 0};
    engines_step(engine, &input, 1, engines_rows_keep, &rows);
    sluice_session_close(session);
    return rows;
}

static engines_rows logits_with(sluice_engine_options options, const sluice_adapter_choice *choices,
                                int32_t n)
{
    options.context = 256;
    options.adapters = choices;
    options.n_adapters = n;
    sluice_engine *engine = engines_open(NULL, &options);
    engines_rows rows = logits_of(engine);
    sluice_engine_close(engine);
    return rows;
}

static double distance(const engines_rows *a, const engines_rows *b)
{
    double most = 0.0;
    for (int64_t i = 0; i < (int64_t)a->count * a->vocab; i++)
        most = fmax(most, fabs((double)a->logits[i] - (double)b->logits[i]));
    return most;
}

static void assert_same_bits(const engines_rows *a, const engines_rows *b, const char *what)
{
    assert_int_equal(a->count, b->count);
    if (memcmp(a->logits, b->logits, (size_t)a->count * (size_t)a->vocab * sizeof(float)) != 0)
        fail_msg("%s: logits differ by up to %g", what, distance(a, b));
}

static void an_operation_adds_scale_b_a_x(void **state)
{
    const sluice_geometry g = {.hidden = 40,
                               .vocab = 16,
                               .layers = 1,
                               .rms_eps = 1e-6f,
                               .experts = 2,
                               .top_k = 1,
                               .expert_width = 24,
                               .shared_width = 24,
                               .low_rank = 8};
    enum { ROWS = 5, RANK = 3 };
    random_layer layer;
    sluice_pool *pool;
    sluice_backend *be;
    sluice_buffer *x, *y, *merged;
    float got[ROWS * 40], want[ROWS * 40];
    (void)state;
    random_layer_init(&layer, &g, (sluice_weight_format){SLUICE_WEIGHT_F32, 32, 0, 0}, 9);
    assert_int_equal(sluice_pool_new(2, NULL, &pool, NULL), SLUICE_OK);
    sluice_cpu_options options = {.rows_max = ROWS, .pool = pool, .exact = true};
    assert_int_equal(sluice_cpu_flags_parse("auto", &options.cpu_flags, NULL), SLUICE_OK);
    assert_int_equal(sluice_cpu_backend_new(&g, &options, &be, NULL), SLUICE_OK);
    be->buffer_new(be, sizeof got, "test", &x, NULL);
    be->buffer_new(be, sizeof got, "test", &y, NULL);
    be->buffer_new(be, sizeof got, "test", &merged, NULL);
    be->buffer_write(be, x, 0, random_floats(&layer, ROWS * 40, 0.0f, 1.0f), sizeof got);

    /* The same expert with its terms beside the matrices, and multiplied out into them. */
    sluice_expert_weights dense = layer.expert, adapted = layer.expert;
    sluice_weight *const matrices[] = {&adapted.gate, &adapted.up, &adapted.down};
    sluice_weight *const products[] = {&dense.gate, &dense.up, &dense.down};
    sluice_low_rank terms[3][2];
    for (int i = 0; i < 3; i++) {
        const int32_t rows = matrices[i]->rows, cols = matrices[i]->cols;
        float *full = random_floats(&layer, (int64_t)rows * cols, 0.0f, 0.0f);
        memcpy(full, layer.expert_reference[i], (size_t)rows * (size_t)cols * sizeof *full);
        for (int t = 0; t < 2; t++) {
            const float *a = random_floats(&layer, RANK * cols, 0.0f, 0.3f);
            const float *b = random_floats(&layer, RANK * rows, 0.0f, 0.3f);
            terms[i][t] = (sluice_low_rank){RANK, 0.5f + (float)t, a, b, t ? NULL : &terms[i][1]};
            for (int32_t o = 0; o < rows; o++)
                for (int32_t c = 0; c < cols; c++)
                    for (int r = 0; r < RANK; r++)
                        full[o * cols + c] += (0.5f + (float)t) * b[r * rows + o] * a[r * cols + c];
        }
        matrices[i]->low_rank = &terms[i][0];
        float *panels = aligned_alloc(64, sluice_weight_bytes(products[i]->format, rows, cols));
        assert_non_null(panels);
        sluice_weight_pack_plain(products[i]->format, rows, cols, full, panels);
        products[i]->data = panels;
    }
    const int32_t rows[ROWS] = {4, 2, 0, 1, 3}, slots[ROWS] = {0, 1, 2, 3, 4};
    be->experts(be, &(sluice_expert_call){adapted, rows, slots, ROWS}, 1, x, y);
    be->experts(be, &(sluice_expert_call){dense, rows, slots, ROWS}, 1, x, merged);
    be->buffer_read(be, y, 0, got, sizeof got);
    be->buffer_read(be, merged, 0, want, sizeof want);
    for (int i = 0; i < ROWS * 40; i++)
        if (fabsf(got[i] - want[i]) > 2e-4f * (1.0f + fabsf(want[i])))
            fail_msg("element %d is %g, merged weights give %g", i, (double)got[i],
                     (double)want[i]);
    /* A row alone is the same row. */
    be->experts(be, &(sluice_expert_call){adapted, rows + 1, slots, 1}, 1, x, merged);
    be->buffer_read(be, merged, 0, want, 40 * sizeof *want);
    assert_memory_equal(want, got + 40, 40 * sizeof *want);

    for (int i = 0; i < 3; i++)
        free((void *)(uintptr_t)products[i]->data);
    be->buffer_free(be, x);
    be->buffer_free(be, y);
    be->buffer_free(be, merged);
    be->free(be);
    sluice_pool_free(pool);
    random_layer_free(&layer);
}

static void both_forms_are_read_back_to_the_bit(void **state)
{
    sluice_adapter *adapter = all_modules(3, 5);
    (void)state;
    for (int by_expert = 0; by_expert < 2; by_expert++) {
        const char *path = write_as(adapter, by_expert ? "by-expert" : "fused", by_expert);
        const char *file = folders_path(path, "adapter_model.safetensors");
        sluice_adapter *again;
        sluice_error err = {0};
        const size_t bytes = folders_file_bytes(file);
        const uint64_t told = sluice_peft_bytes(adapter, by_expert);
        assert_true(bytes > told && bytes - told < 1 << 20);
        path = folders_path(dir, by_expert ? "by-expert" : "fused");
        if (sluice_peft_read(path, &nano, 1.0f, NULL, &again, &err) != SLUICE_OK)
            fail_msg("%s", err.detail);
        assert_int_equal(again->n_entries, adapter->n_entries);
        for (int32_t i = 0; i < adapter->n_entries; i++) {
            const sluice_adapter_key *x = &adapter->entries[i].key, *y = &again->entries[i].key;
            assert_int_equal(x->layer, y->layer);
            assert_int_equal(x->module, y->module);
            assert_int_equal(x->expert, y->expert);
            assert_int_equal(x->rank, y->rank);
            assert_true(x->scale == y->scale);
        }
        assert_memory_equal(adapter->values, again->values, adapter->bytes);
        assert_string_equal(again->name, by_expert ? "by-expert" : "fused");
        sluice_adapter_free(again);
    }
    sluice_adapter_free(adapter);
}

static void settings_change_no_bit_of_an_adapted_answer(void **state)
{
    sluice_adapter *adapter = all_modules(4, 6);
    char path[FOLDERS_PATH_MAX];
    (void)state;
    strcpy(path, write_as(adapter, "identity", true));
    const sluice_adapter_choice one = {path, 1.0f}, none = {path, 0.0f};
    sluice_engine_options options = engines_options();
    engines_rows plain = logits_with(options, NULL, 0), base = logits_with(options, &one, 1);
    engines_rows zero = logits_with(options, &none, 1);
    assert_true(distance(&plain, &base) > 0.5);
    assert_same_bits(&plain, &zero, "an adapter times zero");
    engines_rows_free(&zero);

    options.threads = 1;
    options.chunk = 64;
    options.cache_bytes = 1 << 20;
    options.cpu = "scalar";
    engines_rows other = logits_with(options, &one, 1);
    assert_same_bits(&base, &other, "one thread, small chunks, a small cache, plain C");
    engines_rows_free(&other);
    engines_rows_free(&plain);
    engines_rows_free(&base);
    sluice_adapter_free(adapter);
}

static void adapters_add_up(void **state)
{
    sluice_adapter *one = all_modules(2, 7), *two = all_modules(4, 8);
    char first[FOLDERS_PATH_MAX], second[FOLDERS_PATH_MAX];
    (void)state;
    strcpy(first, write_as(one, "first", true));
    strcpy(second, write_as(two, "second", false));
    const sluice_adapter_choice halves[] = {{first, 0.5f}, {first, 0.5f}}, whole = {first, 1.0f};
    const sluice_adapter_choice both[] = {{first, 1.0f}, {second, -0.25f}};
    engines_rows a = logits_with(engines_options(), halves, 2);
    engines_rows b = logits_with(engines_options(), &whole, 1);
    engines_rows c = logits_with(engines_options(), both, 2);
    assert_true(distance(&a, &b) < 2e-2);
    assert_true(distance(&b, &c) > 0.1);
    engines_rows_free(&a);
    engines_rows_free(&b);
    engines_rows_free(&c);

    sluice_engine_options options = engines_options();
    options.adapters = both;
    options.n_adapters = 2;
    sluice_engine *engine = engines_open(NULL, &options);
    assert_string_equal(sluice_engine_info(engine)->adapters, "first, second:-0.25");
    sluice_engine_close(engine);
    sluice_adapter_free(one);
    sluice_adapter_free(two);
}

static void expect_refused(const char *path, const sluice_config *config, sluice_status status,
                           const char *words)
{
    sluice_adapter *adapter = NULL;
    sluice_error err = {0};
    assert_int_equal(sluice_peft_read(path, config, 1.0f, NULL, &adapter, &err), status);
    assert_null(adapter);
    if (!strstr(err.detail, words)) fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
}

static void what_does_not_fit_is_refused(void **state)
{
    sluice_adapter *adapter = all_modules(2, 9);
    char path[FOLDERS_PATH_MAX], config[FOLDERS_PATH_MAX];
    sluice_config other = nano;
    (void)state;
    strcpy(path, write_as(adapter, "refused", false));
    strcpy(config, folders_path(path, "adapter_config.json"));
    other.layers = 4;
    expect_refused(path, &other, SLUICE_BAD_INPUT, "another model");
    other = nano;
    other.hidden = 512;
    expect_refused(path, &other, SLUICE_BAD_INPUT, "another model");
    other = nano;
    other.experts = 60;
    expect_refused(path, &other, SLUICE_BAD_INPUT, "another model");
    static const char *const configs[][2] = {
        {"{\"peft_type\": \"LORA\", \"use_dora\": true}", "use_dora"},
        {"{\"peft_type\": \"IA3\"}", "IA3"},
        {"{\"peft_type\": \"LORA\", \"bias\": \"all\"}", "biases"},
        {"{\"peft_type\": \"LORA\", \"modules_to_save\": [\"lm_head\"]}", "whole modules"},
        {"{\"peft_type\": \"LORA\", \"alpha_pattern\": {\"[qk]_proj\": 3}}", "alpha pattern"}};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        folders_save(config, configs[i][0], strlen(configs[i][0]));
        expect_refused(path, &nano, SLUICE_UNSUPPORTED, configs[i][1]);
    }
    folders_save(config, "{", 1);
    expect_refused(path, &nano, SLUICE_CORRUPT, "adapter_config.json");
    sluice_adapter_free(adapter);
}

/* Fused experts as they were before PEFT 0.19.1: lora_A is as wide as the outputs. */
static void exchanged_inputs_and_outputs_are_named(void **state)
{
    static const char config[] = "{\"peft_type\": \"LORA\"}";
    const int64_t experts = nano.experts, wide = 2 * nano.expert_width, hidden = nano.hidden;
    const char *path = folders_path(dir, "exchanged");
    const size_t a = (size_t)(experts * wide), b = (size_t)(hidden * experts);
    float *floats = calloc(a > b ? a : b, sizeof *floats);
    raw_file file = raw_file_new();
    (void)state;
    assert_non_null(floats);
    raw_file_add(&file, "base_model.model.model.layers.0.mlp.experts.base_layer.lora_A.weight",
                 "F32", (const int64_t[]){experts, wide, 0}, floats, a * sizeof *floats);
    raw_file_add(&file, "base_model.model.model.layers.0.mlp.experts.base_layer.lora_B.weight",
                 "F32", (const int64_t[]){hidden, experts, 0}, floats, b * sizeof *floats);
    assert_int_equal(sluice_folder_make(path, NULL), SLUICE_OK);
    raw_file_save(&file, folders_path(path, "adapter_model.safetensors"));
    folders_save(folders_path(path, "adapter_config.json"), config, strlen(config));
    expect_refused(path, &nano, SLUICE_UNSUPPORTED, "before 0.19.1");
    raw_file_free(&file);
    free(floats);
}

static int set_up(void **state)
{
    (void)state;
    folders_make(dir);
    const char *path = engines_source_path("models/nano/config.json");
    sluice_rng rng;
    sluice_rng_seed(&rng, 3);
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = (int32_t)sluice_rng_below(&rng, 8000);
    return sluice_config_load(path, &nano, NULL) != SLUICE_OK;
}

static int tear_down(void **state)
{
    (void)state;
    folders_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_adds_scale_b_a_x),
        cmocka_unit_test(both_forms_are_read_back_to_the_bit),
        cmocka_unit_test(settings_change_no_bit_of_an_adapted_answer),
        cmocka_unit_test(adapters_add_up),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(exchanged_inputs_and_outputs_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
