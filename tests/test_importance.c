/* Importances: the same file whatever threads and memory there are, conversions by it that depend
 * on nothing else, and files that are damaged or another model's refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "engine/engine.h"
#include "eval/moments.h"
#include "format/container.h"
#include "format/importance.h"
#include "sluice/convert.h"
#include "sluice/importance.h"
#include "support/engines.h"
#include "support/folders.h"

enum { WINDOW = 128, WINDOWS = 5 };

static char folder[FOLDERS_PATH_MAX];
static const char *source, *text, *measured;
static sluice_config config;

static void measure_blocks(int threads, int32_t batch, int32_t expert_in, const char *file,
                           sluice_importance_report *report)
{
    sluice_engine_options options = engines_options();
    options.threads = threads;
    options.context = WINDOW;
    options.sessions = batch;
    sluice_engine *engine = engines_open(folders_path(folder, "container"), &options);
    const sluice_importance_options how = {.text = {.window = WINDOW, .batch = batch},
                                           .expert_in = expert_in};
    sluice_error err = {0};
    if (sluice_importance_measure(engine, &text, 1, &how, file, report, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(sluice_importance_bytes(engine, &how), report->bytes);
    sluice_engine_close(engine);
}

static void measure(int threads, int32_t batch, const char *file, sluice_importance_report *report)
{
    measure_blocks(threads, batch, 0, file, report);
}

static int setup(void **state)
{
    char words[WINDOW * WINDOWS * 8 + 1];
    size_t length = 0;
    sluice_error err = {0};
    (void)state;
    folders_make(folder);
    for (int i = 0; i < WINDOW * WINDOWS; i++)
        length += (size_t)snprintf(words + length, sizeof words - length, "%c%c ", 'a' + i * i % 23,
                                   'a' + i * 7 % 26);
    text = folders_path(folder, "text.txt");
    folders_save(text, words, length);
    source = engines_source_path("tests/data/tiny/hf-bf16-flat");
    if (sluice_convert(source, folders_path(folder, "container"), NULL, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    sluice_engine *engine = engines_open(folders_path(folder, "container"), NULL);
    config = *engine->model->config;
    sluice_engine_close(engine);
    measured = folders_path(folder, "measured");
    sluice_importance_report report;
    measure(2, 1, measured, &report);
    assert_int_equal(report.tokens, (int64_t)report.windows * WINDOW);
    assert_true(report.windows >= WINDOWS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

static void assert_same_file(const char *left, const char *right, bool same)
{
    size_t a_bytes, b_bytes;
    char *a = folders_load(left, &a_bytes), *b = folders_load(right, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_int_equal(memcmp(a, b, a_bytes) == 0, same);
    free(a);
    free(b);
}

static void moments_are_sums_of_products_within_blocks(void **state)
{
    enum { N = 7, COLS = 40, BLOCK = 24 };
    float x[N * COLS], sum[COLS * BLOCK] = {0};
    sluice_pool *pool;
    (void)state;
    for (int i = 0; i < N * COLS; i++)
        x[i] = (float)(i * 37 % 19 - 9); /* sums of products are exact */
    assert_int_equal(sluice_pool_new(2, NULL, &pool, NULL), SLUICE_OK);
    sluice_moments_add(pool, N, COLS, BLOCK, x, sum);
    sluice_pool_free(pool);
    sluice_moments_finish(COLS, BLOCK, 0.5f, sum);
    for (int i = 0; i < COLS; i++)
        for (int j = 0; j < BLOCK; j++) {
            int col = i / BLOCK * BLOCK + j;
            float expected = 0;
            for (int r = 0; col < COLS && r < N; r++)
                expected += x[r * COLS + i] * x[r * COLS + col];
            assert_true(sum[i * BLOCK + j] == 0.5f * expected);
        }
}

static void threads_and_batches_change_no_bit(void **state)
{
    sluice_importance_report report;
    const char *other = folders_path(folder, "other");
    (void)state;
    measure(1, 1, other, &report);
    assert_same_file(measured, other, true);
}

static void every_token_is_counted_once_for_each_expert_it_ran(void **state)
{
    sluice_importance *importance;
    sluice_error err = {0};
    float rows[64], *head = malloc((size_t)config.hidden * (size_t)config.hidden * sizeof *head);
    (void)state;
    if (sluice_importance_open(measured, &config, &importance, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_true(config.experts <= 64);
    float first = 0;
    for (int32_t layer = 0; layer < config.layers; layer++) {
        float sum = 0;
        assert_int_equal(sluice_importance_read(importance, layer, SLUICE_IMPORTANCE_EXPERT_ROWS, 0,
                                                config.experts, rows, NULL),
                         SLUICE_OK);
        for (int32_t e = 0; e < config.experts; e++)
            sum += rows[e];
        if (layer) assert_true(sum == first);
        first = sum;
    }
    assert_true(fmodf(first, (float)(WINDOW * config.top_k)) == 0.0f);
    assert_int_equal(sluice_importance_read(importance, 0, SLUICE_IMPORTANCE_HEAD_IN, 0,
                                            config.hidden, head, NULL),
                     SLUICE_OK);
    for (int32_t i = 0; i < config.hidden; i++)
        for (int32_t j = 0; j < i; j++)
            assert_true(head[i * config.hidden + j] == head[j * config.hidden + i]);
    free(head);
    sluice_importance_close(importance);
}

static void convert(const char *importance, int threads, const char *out)
{
    const sluice_convert_options options = {
        .experts = "q2", .trunk = "q3/32", .importance = importance, .threads = threads};
    sluice_error err = {0};
    if (sluice_convert(source, out, &options, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

static float *load_entering(const char *path, int32_t layer, int64_t width)
{
    sluice_importance *importance;
    sluice_error err = {0};
    int64_t rows = (int64_t)config.experts * config.hidden;
    float *values = malloc((size_t)(rows * width) * sizeof *values);
    if (sluice_importance_open(path, &config, &importance, &err) != SLUICE_OK ||
        sluice_importance_read(importance, layer, SLUICE_IMPORTANCE_EXPERT_IN, 0, rows, values,
                               &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    sluice_importance_close(importance);
    return values;
}

static void what_enters_experts_is_measured_as_squares_or_as_products(void **state)
{
    sluice_importance_report report;
    const char *few = folders_path(folder, "squares"), *out = folders_path(folder, "by-squares");
    int32_t hidden = config.hidden, width = hidden < 512 ? hidden : 512;
    (void)state;
    measure_blocks(1, 1, 1, few, &report);
    float *squares = load_entering(few, 1, 1), *products = load_entering(measured, 1, width);
    for (int64_t i = 0; i < (int64_t)config.experts * hidden; i++) {
        float square = products[i * width + i % hidden % width];
        assert_true(fabsf(squares[i] - square) <= 1e-5f * square);
    }
    free(squares);
    free(products);
    convert(few, 2, out);
    sluice_engine_close(engines_open(out, NULL));
}

static void mixed(const char *experts, const char *out)
{
    const sluice_convert_options options = {.experts = experts, .importance = measured};
    sluice_error err = {0};
    if (sluice_convert(source, out, &options, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

/* Bits of gate, up and down of every layer, added. */
static int bits_of(const char *path, int *formats)
{
    sluice_container *container;
    int sum = 0, seen[9] = {0};
    assert_int_equal(sluice_container_open(path, &container, NULL), SLUICE_OK);
    for (int32_t layer = 0; layer < config.layers; layer++) {
        const sluice_record_layout *record = &sluice_container_experts(container, layer)->layout;
        sum += record->gate.bits + record->up.bits + record->down.bits;
        seen[record->gate.bits] = seen[record->up.bits] = seen[record->down.bits] = 1;
    }
    *formats = 0;
    for (int i = 0; i < 9; i++)
        *formats += seen[i];
    sluice_container_close(container);
    return sum;
}

static void a_mix_has_the_mean_of_bits_that_was_asked_for(void **state)
{
    const char *mix = folders_path(folder, "mix"), *again = folders_path(folder, "mix-again");
    int formats;
    (void)state;
    mixed("mix:3.5", mix);
    mixed("mix:3.5", again);
    folders_assert_equal(mix, again);
    int wanted = (int)(3.5 * 3 * config.layers), bits = bits_of(mix, &formats);
    assert_in_range(bits, wanted - 1, wanted);
    assert_true(formats > 1);
    mixed("mix:2/32", folders_path(folder, "mix2"));
    assert_int_equal(bits_of(folders_path(folder, "mix2"), &formats), 6 * config.layers);
}

static void a_mix_without_importances_is_refused(void **state)
{
    static const char *const wrong[] = {"mix:1.9", "mix:8.1", "mix:", "mix:3.5/48", "mix:nan"};
    const sluice_convert_options without = {.experts = "mix:3.5"};
    const sluice_convert_options trunk = {.trunk = "mix:3.5", .importance = measured};
    sluice_error err = {0};
    (void)state;
    assert_int_equal(sluice_convert_check(&without, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "--importance FILE"));
    assert_int_equal(sluice_convert_check(&trunk, &err), SLUICE_USAGE);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const sluice_convert_options options = {.experts = wrong[i], .importance = measured};
        assert_int_equal(sluice_convert_check(&options, &err), SLUICE_USAGE);
        assert_non_null(strstr(err.detail, "mix:2 to mix:8"));
    }
}

static void conversion_depends_on_the_file_and_not_on_threads(void **state)
{
    const char *one = folders_path(folder, "one"), *three = folders_path(folder, "three");
    const char *plain = folders_path(folder, "plain");
    sluice_verify_report report;
    (void)state;
    convert(measured, 1, one);
    convert(measured, 3, three);
    convert(NULL, 2, plain);
    folders_assert_equal(one, three);
    assert_same_file(folders_path(one, "trunk.safetensors"),
                     folders_path(plain, "trunk.safetensors"), false);
    assert_same_file(folders_path(one, "experts-002.safetensors"),
                     folders_path(plain, "experts-002.safetensors"), false);
    assert_int_equal(sluice_verify(one, NULL, &report, NULL), SLUICE_OK);
    sluice_engine_close(engines_open(one, NULL));
}

static void refused(const char *file, sluice_status expected, const char *sentence)
{
    const char *out = folders_path(folder, "refused");
    const sluice_convert_options options = {.experts = "q2", .trunk = "q2", .importance = file};
    sluice_error err = {0};
    assert_int_equal(sluice_convert(source, out, &options, &err), expected);
    if (!strstr(err.detail, sentence)) fail_msg("'%s' lacks '%s'", err.detail, sentence);
    assert_false(folders_exists(out));
}

/* The file with one stretch of bytes changed. */
static const char *changed(const char *from, const char *to, ptrdiff_t data_at)
{
    size_t bytes, length = strlen(to);
    char *all = folders_load(measured, &bytes);
    const char *path = folders_path(folder, "changed");
    char *at = NULL;
    for (size_t i = 0; from && !at && i + strlen(from) < bytes; i++)
        if (memcmp(all + i, from, strlen(from)) == 0) at = all + i;
    if (!from) at = all + bytes + data_at;
    assert_non_null(at);
    memcpy(at, to, length);
    folders_save(path, all, bytes);
    free(all);
    return path;
}

static void damaged_files_are_refused_in_a_sentence(void **state)
{
    size_t bytes;
    char *all = folders_load(measured, &bytes);
    const char *cut = folders_path(folder, "cut");
    (void)state;
    refused(folders_path(folder, "absent"), SLUICE_NOT_FOUND, "absent");
    folders_save(cut, all, bytes / 2);
    refused(cut, SLUICE_CORRUPT, "cut");
    folders_save(cut, all, 7);
    refused(cut, SLUICE_CORRUPT, "cut");
    free(all);
    refused(changed("sluice importance", "sluice imbortance", 0), SLUICE_CORRUPT,
            "not a file of importances");
    refused(changed("\"512\"", "\"500\"", 0), SLUICE_CORRUPT, "multiples of 128");
    refused(changed("\"512\"", "\"51x\"", 0), SLUICE_CORRUPT, "not a number of columns");
    refused(changed("layers.1.moe.in", "layers.1.mof.in", 0), SLUICE_CORRUPT,
            "layers.1.moe.in is missing");
    refused(changed(NULL, "\xff\xff\xff\xff", -4), SLUICE_CORRUPT, "head.in[");
}

static void another_models_file_is_refused(void **state)
{
    const char *other = engines_source_path("models/nano");
    const char *out = folders_path(folder, "refused");
    const sluice_convert_options options = {.experts = "q2", .importance = measured};
    sluice_error err = {0};
    (void)state;
    assert_int_not_equal(sluice_convert(other, out, &options, &err), SLUICE_OK);
    assert_non_null(strstr(err.detail, "measured: layers.0.mixer.in"));
    assert_false(folders_exists(out));
}

static void sums_beyond_a_limit_are_refused_before_anything_runs(void **state)
{
    sluice_engine_options options = engines_options();
    options.context = WINDOW;
    sluice_engine *engine = engines_open(folders_path(folder, "container"), &options);
    sluice_importance_options how = {.text = {.window = WINDOW}, .bytes_max = 1000};
    const char *file = folders_path(folder, "none");
    sluice_error err = {0};
    (void)state;
    assert_int_equal(sluice_importance_measure(engine, &text, 1, &how, file, NULL, &err),
                     SLUICE_LIMIT);
    how = (sluice_importance_options){.text = {.window = WINDOW}, .block = 100};
    assert_int_equal(sluice_importance_measure(engine, &text, 1, &how, file, NULL, &err),
                     SLUICE_USAGE);
    assert_false(folders_exists(file));
    sluice_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_sums_of_products_within_blocks),
        cmocka_unit_test(threads_and_batches_change_no_bit),
        cmocka_unit_test(every_token_is_counted_once_for_each_expert_it_ran),
        cmocka_unit_test(conversion_depends_on_the_file_and_not_on_threads),
        cmocka_unit_test(what_enters_experts_is_measured_as_squares_or_as_products),
        cmocka_unit_test(a_mix_has_the_mean_of_bits_that_was_asked_for),
        cmocka_unit_test(a_mix_without_importances_is_refused),
        cmocka_unit_test(damaged_files_are_refused_in_a_sentence),
        cmocka_unit_test(another_models_file_is_refused),
        cmocka_unit_test(sums_beyond_a_limit_are_refused_before_anything_runs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
