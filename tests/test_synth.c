/* Models of random weights: whole containers, the same for every number of threads, with weights
 * that keep activations finite and choose experts about uniformly. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/container.h"
#include "format/geometry.h"
#include "os/file.h"
#include "os/folder.h"
#include "quant/weight.h"
#include "sluice/sluice.h"
#include "sluice/synth.h"

enum { LAYERS = 4, VOCAB = 300, EXPERTS = 32, TOP_K = 4, HIDDEN = 128 };

static const char tiny[] =
    "{\"model_type\":\"qwen3_5_moe_text\",\"num_hidden_layers\":4,\"hidden_size\":128,"
    "\"vocab_size\":300,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":32,"
    "\"linear_num_key_heads\":2,\"linear_num_value_heads\":4,\"linear_key_head_dim\":32,"
    "\"linear_value_head_dim\":32,\"linear_conv_kernel_dim\":4,\"num_experts\":32,"
    "\"num_experts_per_tok\":4,\"moe_intermediate_size\":64,"
    "\"shared_expert_intermediate_size\":64,\"max_position_embeddings\":4096,"
    "\"rope_parameters\":{\"rope_theta\":10000,\"partial_rotary_factor\":0.32}}";

static char folder[64], geometry[96];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sluice-synth-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(geometry, sizeof geometry, "%s/tiny.json", folder);
    return sluice_file_save(geometry, tiny, sizeof tiny - 1, NULL) == SLUICE_OK ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return sluice_folder_remove_tree(folder, NULL) == SLUICE_OK ? 0 : -1;
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make(const char *name, sluice_synth_options options)
{
    sluice_error err = {0};
    options.geometry = geometry;
    sluice_synth(in_folder(name), &options, &err);
    assert_string_equal(err.detail, "");
}

static sluice_container *open_made(const char *name)
{
    sluice_error err = {0};
    sluice_container *container = NULL;
    sluice_container_open(in_folder(name), &container, &err);
    assert_string_equal(err.detail, "");
    return container;
}

static void every_byte_verifies_and_is_allocated(void **state)
{
    (void)state;
    sluice_error err = {0};
    sluice_verify_report report;
    const char *const formats[] = {"q2", "q3", "q4", "q8", "bf16"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        make("whole", (sluice_synth_options){.experts = formats[i], .trunk = formats[i]});
        sluice_verify(in_folder("whole"), NULL, &report, &err);
        assert_string_equal(err.detail, "");
        assert_int_equal(report.records, LAYERS * EXPERTS);
        assert_int_equal(report.records_bad, 0);
        assert_true(report.tensors > 40);
        struct stat info;
        assert_int_equal(stat(in_folder("whole/experts-003.safetensors"), &info), 0);
        assert_true(info.st_blocks * 512 >= info.st_size);
        sluice_folder_remove_tree(in_folder("whole"), NULL);
    }
}

static void bytes_depend_on_the_seed_alone(void **state)
{
    (void)state;
    make("one", (sluice_synth_options){.threads = 1, .seed = 5});
    make("many", (sluice_synth_options){.threads = 7, .seed = 5});
    make("other", (sluice_synth_options){.threads = 1, .seed = 6});
    const char *const names[] = {"trunk.safetensors", "experts-000.safetensors",
                                 "experts-003.safetensors", "config.json", "tokenizer.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text[3], name[64];
        size_t bytes[3];
        const char *const made[] = {"one", "many", "other"};
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%s/%s", made[k], names[i]);
            assert_int_equal(sluice_file_load(in_folder(name), 1 << 24, &text[k], &bytes[k], NULL),
                             SLUICE_OK);
        }
        assert_int_equal(bytes[0], bytes[1]);
        assert_memory_equal(text[0], text[1], bytes[0]);
        assert_int_equal(bytes[0], bytes[2]);
        if (i < 3) assert_memory_not_equal(text[0], text[2], bytes[0]);
        for (int k = 0; k < 3; k++)
            free(text[k]);
    }
}

/* Unpacks a trunk tensor to [rows, cols]. */
static float *unpack(const sluice_container *container, const char *name, int32_t *rows,
                     int32_t *cols)
{
    const sluice_trunk_tensor *tensor = sluice_container_tensor(container, name);
    assert_non_null(tensor);
    *rows = tensor->rows;
    *cols = tensor->cols;
    char *file;
    size_t bytes;
    assert_int_equal(
        sluice_file_load(sluice_container_trunk_path(container), 1 << 24, &file, &bytes, NULL),
        SLUICE_OK);
    void *data = aligned_alloc(64, (tensor->bytes + 63) / 64 * 64);
    float *out = malloc((size_t)*rows * (size_t)*cols * sizeof *out);
    assert_true(data && out);
    memcpy(data, file + tensor->offset, tensor->bytes);
    sluice_weight weight = {tensor->format, *rows, *cols, data, NULL};
    for (int32_t i = 0; i < *rows; i++)
        sluice_weight_unpack_row(&weight, i, out + (size_t)i * (size_t)*cols);
    free(data);
    free(file);
    return out;
}

static void weights_have_the_variance_that_keeps_activations_alike(void **state)
{
    (void)state;
    make("variance", (sluice_synth_options){.trunk = "q4"});
    sluice_container *container = open_made("variance");
    static const struct {
        const char *name;
        double variance;
    } tensors[] = {{"embed_tokens.weight", 1.0},
                   {"lm_head.weight", 1.0 / HIDDEN},
                   {"layers.1.mlp.gate.weight", 1.0 / HIDDEN},
                   {"layers.2.mlp.shared_expert.down_proj.weight", 1.0 / 64}};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        int32_t rows, cols;
        float *values = unpack(container, tensors[i].name, &rows, &cols);
        double sum = 0, squares = 0, n = (double)rows * cols;
        for (int32_t k = 0; k < rows * cols; k++) {
            sum += values[k];
            squares += (double)values[k] * values[k];
        }
        double mean = sum / n, variance = squares / n - mean * mean;
        assert_true(fabs(mean) < 0.1 * sqrt(tensors[i].variance));
        assert_true(fabs(variance / tensors[i].variance - 1) < 0.1);
        free(values);
    }
    sluice_container_close(container);
}

static void no_two_rows_of_a_router_are_equal(void **state)
{
    (void)state;
    make("router", (sluice_synth_options){0});
    sluice_container *container = open_made("router");
    int32_t rows, cols;
    float *values = unpack(container, "layers.0.mlp.gate.weight", &rows, &cols);
    assert_int_equal(rows, EXPERTS);
    for (int32_t i = 0; i < rows; i++)
        for (int32_t k = 0; k < i; k++)
            assert_memory_not_equal(values + (size_t)i * (size_t)cols,
                                    values + (size_t)k * (size_t)cols,
                                    (size_t)cols * sizeof *values);
    free(values);
    sluice_container_close(container);
}

static void count_experts(void *context, int32_t layer, int32_t rows, int32_t k, const int32_t *ids,
                          const float *weights, const float *hidden)
{
    int(*chosen)[EXPERTS] = context;
    for (int32_t i = 0; i < rows * k; i++) {
        chosen[layer][ids[i]]++;
        assert_true(isfinite(weights[i]));
    }
    for (int32_t i = 0; i < rows * HIDDEN; i++)
        assert_true(isfinite(hidden[i]) && fabsf(hidden[i]) < 100);
}

static sluice_status check_logits(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)input;
    (void)token;
    for (int32_t i = 0; i < VOCAB; i++)
        assert_true(isfinite(logits[i]));
    ++*(int *)context;
    return SLUICE_OK;
}

static void the_model_runs_and_uses_all_of_its_experts(void **state)
{
    (void)state;
    make("runs", (sluice_synth_options){0});
    sluice_error err = {0};
    sluice_engine *engine = NULL;
    sluice_session *session = NULL;
    sluice_engine_options options = sluice_engine_options_default();
    options.threads = 1;
    sluice_engine_open(in_folder("runs"), &options, &engine, &err);
    assert_string_equal(err.detail, "");
    assert_non_null(sluice_engine_tokenizer(engine));
    assert_int_equal(sluice_engine_info(engine)->vocab, VOCAB);
    assert_int_equal(sluice_session_open(engine, &session, &err), SLUICE_OK);
    static int chosen[LAYERS][EXPERTS];
    memset(chosen, 0, sizeof chosen);
    sluice_engine_probe(engine, &(sluice_probe){.layer = count_experts, .context = chosen});

    int32_t tokens[512];
    for (int i = 0; i < 512; i++)
        tokens[i] = (int32_t)((unsigned)i * 2654435761u % VOCAB);
    int rows = 0;
    const sluice_input input = {.session = session, .tokens = tokens, .count = 512};
    sluice_engine_step(engine, &input, 1, check_logits, &rows, &err);
    assert_string_equal(err.detail, "");
    assert_int_equal(rows, 512);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int e = 0; e < EXPERTS; e++) {
            assert_true(chosen[layer][e] > 0);
            assert_true(chosen[layer][e] < 512 * TOP_K / 4);
        }
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void published_geometries_survive_their_config_json(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double
            billions; /* as the models' names say: routed and shared experts, trunk, embeddings */
    } models[] = {{"qwen3.5-397b", 397}, {"qwen3.5-122b", 122}, {"qwen3.5-35b", 35}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        sluice_config config, again;
        sluice_synth_plan plan;
        sluice_error err = {0};
        char *json = NULL;
        sluice_geometry_load(models[i].name, 0, 0, &config, &err);
        assert_string_equal(err.detail, "");
        assert_int_equal(sluice_geometry_print(&config, &json, &err), SLUICE_OK);
        sluice_config_parse(json, strlen(json), "printed", &again, &err);
        assert_string_equal(err.detail, "");
        assert_memory_equal(&config, &again, sizeof config);
        free(json);
        const sluice_synth_options options = {.geometry = models[i].name};
        sluice_synth_measure(in_folder("x"), &options, &plan, &err);
        assert_string_equal(err.detail, "");
        assert_true(fabs((double)plan.weights * 1e-9 - models[i].billions) <
                    0.02 * models[i].billions);
    }
}

static void fewer_and_more_layers_keep_the_pattern(void **state)
{
    (void)state;
    sluice_config config;
    for (int32_t layers = 1; layers <= SLUICE_LAYERS_MAX; layers += 73) {
        assert_int_equal(sluice_geometry_load("qwen3.5-35b", layers, 1000, &config, NULL),
                         SLUICE_OK);
        assert_int_equal(config.layers, layers);
        assert_int_equal(config.vocab, 1000);
        for (int32_t i = 0; i < layers; i++)
            assert_int_equal(config.mixer[i] == SLUICE_MIXER_ATTENTION, (i + 1) % 4 == 0);
    }
}

static bool stop_early(void *context, const sluice_synth_progress *progress)
{
    ++*(int *)context;
    return progress->bytes_done > progress->bytes_total;
}

static void refusals_leave_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        sluice_synth_options options;
        sluice_status status;
        const char *words;
    } cases[] = {
        {{.geometry = "qwen3.5-1b"}, SLUICE_NOT_FOUND, "qwen3.5-397b"},
        {{.geometry = "qwen3.5-397b", .layers = 512, .experts = "bf16"}, SLUICE_NO_SPACE, "GB"},
        {{.geometry = "qwen3.5-35b", .vocab = 100}, SLUICE_USAGE, "261"},
        {{.geometry = "qwen3.5-35b", .layers = 513}, SLUICE_USAGE, "512"},
        {{.geometry = "qwen3.5-35b", .layers = 1, .vocab = 300, .threads = -1},
         SLUICE_USAGE,
         "threads"},
        {{.geometry = NULL}, SLUICE_USAGE, "geometry"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_error err = {0};
        assert_int_equal(sluice_synth(in_folder("refused"), &cases[i].options, &err),
                         cases[i].status);
        assert_non_null(strstr(err.detail, cases[i].words));
        assert_false(sluice_file_exists(in_folder("refused")));
        assert_false(sluice_file_exists(in_folder("refused.synth")));
    }
}

static void a_stop_leaves_nothing_and_a_finished_model_is_not_overwritten(void **state)
{
    (void)state;
    int calls = 0;
    sluice_error err = {0};
    const sluice_synth_options options = {
        .geometry = geometry, .progress = stop_early, .context = &calls};
    assert_int_equal(sluice_synth(in_folder("stopped"), &options, &err), SLUICE_CANCELLED);
    assert_true(calls > 0);
    assert_false(sluice_file_exists(in_folder("stopped")));
    assert_false(sluice_file_exists(in_folder("stopped.synth")));

    make("finished", (sluice_synth_options){0});
    const sluice_synth_options again = {.geometry = geometry};
    assert_int_equal(sluice_synth(in_folder("finished/"), &again, &err), SLUICE_USAGE);
    assert_true(sluice_container_is(in_folder("finished")));
}

static void what_a_killed_run_left_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("killed.synth"), 0777), 0);
    sluice_file_save(in_folder("killed.synth/experts-077.safetensors.tmp"), "half", 4, NULL);
    make("killed", (sluice_synth_options){0});
    assert_false(sluice_file_exists(in_folder("killed/experts-077.safetensors.tmp")));
    assert_false(sluice_file_exists(in_folder("killed.synth")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_verifies_and_is_allocated),
        cmocka_unit_test(bytes_depend_on_the_seed_alone),
        cmocka_unit_test(weights_have_the_variance_that_keeps_activations_alike),
        cmocka_unit_test(no_two_rows_of_a_router_are_equal),
        cmocka_unit_test(the_model_runs_and_uses_all_of_its_experts),
        cmocka_unit_test(published_geometries_survive_their_config_json),
        cmocka_unit_test(fewer_and_more_layers_keep_the_pattern),
        cmocka_unit_test(refusals_leave_nothing_behind),
        cmocka_unit_test(a_stop_leaves_nothing_and_a_finished_model_is_not_overwritten),
        cmocka_unit_test(what_a_killed_run_left_is_replaced),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
