/* Saved predictions: the divergence that they give is the one worked out in full, and a damaged
 * file is found out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/windows.h"
#include "sluice/eval.h"
#include "support/engines.h"
#include "support/folders.h"

enum { WINDOW = 80, WINDOWS = 3 };

static sluice_engine *full, *lossy; /* the same model; lossy runs fewer experts */
static char folder[FOLDERS_PATH_MAX];

static int open_all(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = 128;
    full = engines_open(NULL, &options);
    options.k = 3;
    lossy = engines_open(NULL, &options);
    folders_make(folder);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    folders_remove(folder);
    sluice_engine_close(lossy);
    sluice_engine_close(full);
    return 0;
}

static sluice_eval_text_options text_options(void)
{
    return (sluice_eval_text_options){.window = WINDOW, .windows_max = WINDOWS};
}

static const char *alice(void)
{
    return engines_source_path("models/nano/text/alice.txt");
}

static const char *saved(const char *name, int32_t stride)
{
    const char *path = folders_path(folder, name), *text = alice();
    sluice_eval_text_options options = text_options();
    sluice_perplexity all;
    sluice_error err = {0};
    options.stride = stride;
    if (sluice_eval_predictions_save(full, &text, 1, &options, path, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return path;
}

static sluice_divergence against(sluice_engine *engine, const char *path)
{
    sluice_divergence d;
    sluice_error err = {0};
    sluice_eval_text_options options = {.batch = 1};
    if (sluice_eval_divergence(engine, path, &options, &d, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return d;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%.9g is not %.9g", value, expected);
}

static void a_model_does_not_diverge_from_itself(void **state)
{
    (void)state;
    const char *path = saved("self", 0);
    sluice_divergence d = against(full, path);
    int32_t window = 0;
    assert_near(d.kl.value, 0, 1e-7);
    assert_near(d.kl_max, 0, 1e-6);
    assert_near(d.top_1.value, 1, 0);
    assert_near(d.ratio.value, 1, 1e-6);
    assert_near(d.perplexity.perplexity.value, d.base.perplexity.value, 1e-4);
    assert_int_equal(d.perplexity.predicted, WINDOWS * (WINDOW - 1));
    assert_int_equal(d.k, sluice_engine_info(full)->k);
    assert_true(d.exact);
    assert_string_equal(d.model, sluice_engine_info(full)->name);
    assert_int_equal(sluice_eval_predictions_window(path, &window, NULL), SLUICE_OK);
    assert_int_equal(window, WINDOW);
}

/* Log-probabilities in double of every row of the text's first windows. */
static double *log_probabilities(sluice_engine *engine, const int32_t *tokens)
{
    int32_t vocab = sluice_engine_info(engine)->vocab;
    engines_rows rows = engines_rows_new(engine, WINDOWS * WINDOW);
    sluice_session *session = engines_session(engine);
    for (int32_t w = 0; w < WINDOWS; w++) {
        sluice_session_clear(session);
        sluice_input input = {session, tokens + w * WINDOW, WINDOW, 0};
        engines_step(engine, &input, 1, engines_rows_keep, &rows);
    }
    sluice_session_close(session);
    double *log_p = calloc((size_t)rows.count * (size_t)vocab, sizeof *log_p);
    assert_non_null(log_p);
    for (int32_t r = 0; r < rows.count; r++) {
        const float *logits = rows.logits + (size_t)r * (size_t)vocab;
        double sum = 0;
        for (int32_t i = 0; i < vocab; i++)
            sum += exp((double)logits[i]);
        for (int32_t i = 0; i < vocab; i++)
            log_p[(size_t)r * (size_t)vocab + (size_t)i] = (double)logits[i] - log(sum);
    }
    engines_rows_free(&rows);
    return log_p;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void divergence_is_the_sum_of_p_log_p_over_q(void **state)
{
    (void)state;
    enum { ROWS = WINDOWS * (WINDOW - 1) };
    const char *text = alice();
    sluice_eval_text_options options = text_options();
    sluice_windows windows;
    assert_int_equal(sluice_windows_load(full, &text, 1, &options, &windows, NULL), SLUICE_OK);
    double *p = log_probabilities(full, windows.tokens), kl[ROWS], mean = 0;
    double *q = log_probabilities(lossy, windows.tokens);
    int32_t vocab = sluice_engine_info(full)->vocab, n = 0, agree = 0;
    for (int32_t r = 0; r < WINDOWS * WINDOW; r++) {
        const double *a = p + (size_t)r * (size_t)vocab, *b = q + (size_t)r * (size_t)vocab;
        int32_t best_a = 0, best_b = 0;
        if (r % WINDOW == WINDOW - 1) continue;
        kl[n] = 0;
        for (int32_t i = 0; i < vocab; i++) {
            kl[n] += exp(a[i]) * (a[i] - b[i]);
            if (a[i] > a[best_a]) best_a = i;
            if (b[i] > b[best_b]) best_b = i;
        }
        agree += best_a == best_b;
        mean += kl[n++] / ROWS;
    }
    qsort(kl, ROWS, sizeof *kl, by_value);

    sluice_divergence d = against(lossy, saved("full", 0));
    assert_true(mean > 1e-3); /* three of eight experts do change something */
    assert_near(d.kl.value, mean, 1e-6);
    assert_near(d.kl_max, kl[ROWS - 1], 1e-4);
    assert_near(d.kl_median, kl[(ROWS - 1) / 2], 1e-4);
    assert_near(d.top_1.value, (double)agree / ROWS, 1e-12);
    assert_near(log(d.ratio.value),
                log(d.perplexity.perplexity.value) - log(d.base.perplexity.value), 1e-9);
    assert_true(d.kl.low < mean && mean < d.kl.high);
    free(p);
    free(q);
    sluice_windows_free(&windows);
}

static void windows_that_overlap_are_kept(void **state)
{
    (void)state;
    sluice_divergence d = against(full, saved("strided", 30));
    assert_int_equal(d.stride, 30);
    assert_int_equal(d.perplexity.predicted, WINDOW - 1 + (WINDOWS - 1) * 30);
    assert_near(d.kl.value, 0, 1e-7);
}

static sluice_status compare(const char *path, sluice_error *err)
{
    sluice_divergence d;
    sluice_eval_text_options options = {0};
    return sluice_eval_divergence(lossy, path, &options, &d, err);
}

static void a_damaged_file_is_found_out_wherever_it_is_damaged(void **state)
{
    (void)state;
    size_t bytes;
    char *data = folders_load(saved("good", 0), &bytes);
    const char *path = folders_path(folder, "bad");
    /* magic, version, a size, the header's checksum; windows, tokens; a row, the last row */
    const size_t places[] = {0,
                             8,
                             84,
                             124,
                             130,
                             128 + WINDOWS * 16 + 9,
                             128 + WINDOWS * 16 + WINDOWS * WINDOW * 4 + 1000,
                             bytes - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        sluice_error err = {0};
        data[places[i]] ^= 0x10;
        folders_save(path, data, bytes);
        sluice_status status = compare(path, &err);
        if (status == SLUICE_OK) fail_msg("damage at byte %zu was not found", places[i]);
        assert_non_null(strstr(err.detail, "bad: "));
        if (i > 1) assert_int_equal(status, SLUICE_CORRUPT);
        data[places[i]] ^= 0x10;
    }
    for (size_t cut = 0; cut < bytes; cut += cut < 256 ? 37 : bytes / 7) {
        folders_save(path, data, cut);
        assert_int_equal(compare(path, NULL), SLUICE_CORRUPT);
    }
    folders_save(path, data, bytes);
    assert_int_equal(compare(path, NULL), SLUICE_OK);
    free(data);
}

static void predictions_of_another_vocabulary_are_refused(void **state)
{
    (void)state;
    sluice_engine *tiny = engines_open(engines_source_path("tests/data/tiny/mlx-8bit-g32"), NULL);
    sluice_divergence d;
    sluice_error err = {0};
    sluice_eval_text_options options = {0};
    assert_int_equal(sluice_eval_divergence(tiny, saved("nano", 0), &options, &d, &err),
                     SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "vocabulary of 8192"));
    sluice_engine_close(tiny);
}

typedef struct stopper {
    int64_t after, total; /* windows: that are let through, and that were to be done */
} stopper;

static bool stop(void *context, int64_t done, int64_t total)
{
    stopper *s = context;
    s->total = total;
    return done < s->after;
}

static sluice_status save_some(const char *path, stopper *s, sluice_perplexity *all)
{
    const char *text = alice();
    sluice_eval_text_options options = text_options();
    options.progress = stop;
    options.context = s;
    return sluice_eval_predictions_save(full, &text, 1, &options, path, all, NULL);
}

static const char *temporary_of(const char *path)
{
    static char temporary[FOLDERS_PATH_MAX + 16];
    snprintf(temporary, sizeof temporary, "%s.sluice-tmp", path);
    return temporary;
}

static void assert_same_files(const char *path, const char *expected)
{
    size_t bytes, expected_bytes;
    char *data = folders_load(path, &bytes),
         *expected_data = folders_load(expected, &expected_bytes);
    assert_int_equal(bytes, expected_bytes);
    assert_memory_equal(data, expected_data, bytes);
    free(data);
    free(expected_data);
}

static void saving_that_is_stopped_before_a_window_is_done_leaves_nothing(void **state)
{
    (void)state;
    const char *path = folders_path(folder, "nothing");
    sluice_perplexity all;
    assert_int_equal(save_some(path, &(stopper){0}, &all), SLUICE_CANCELLED);
    assert_false(folders_exists(path));
    assert_false(folders_exists(temporary_of(path)));
}

static void saving_that_is_stopped_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    const char *path = folders_path(folder, "stopped");
    sluice_perplexity whole, all;
    stopper first = {1, 0}, second = {WINDOWS, 0}, never = {WINDOWS + 1, 0};
    const char *expected = saved("uninterrupted", 0);
    assert_int_equal(save_some(folders_path(folder, "other"), &never, &whole), SLUICE_OK);
    assert_int_equal(save_some(path, &first, &all), SLUICE_CANCELLED);
    assert_false(folders_exists(path));
    assert_true(folders_exists(temporary_of(path)));
    assert_int_equal(save_some(path, &second, &all), SLUICE_OK);
    assert_int_equal(second.total, WINDOWS - 1);
    assert_false(folders_exists(temporary_of(path)));
    assert_same_files(path, expected);
    assert_memory_equal(&all, &whole, sizeof all);
}

static void what_was_left_damaged_or_by_another_run_is_made_again(void **state)
{
    (void)state;
    const char *path = folders_path(folder, "left"), *text = alice();
    const char *expected = saved("right", 0);
    sluice_perplexity all;
    stopper two = {2, 0}, rest = {WINDOWS + 1, 0};
    assert_int_equal(save_some(path, &two, &all), SLUICE_CANCELLED);
    size_t bytes;
    char *data = folders_load(temporary_of(path), &bytes);
    data[128 + WINDOWS * 16 + WINDOWS * WINDOW * 4 + 1000] ^= 1; /* in the first window's rows */
    folders_save(temporary_of(path), data, bytes);
    assert_int_equal(save_some(path, &rest, &all), SLUICE_OK);
    assert_int_equal(rest.total, WINDOWS - 1); /* the damaged one and the one not done */
    assert_same_files(path, expected);

    folders_save(temporary_of(path), data, bytes - 8);
    assert_int_equal(save_some(path, &rest, &all), SLUICE_OK);
    assert_int_equal(rest.total, WINDOWS);
    assert_same_files(path, expected);
    free(data);

    assert_int_equal(save_some(path, &two, &all), SLUICE_CANCELLED);
    sluice_eval_text_options options = text_options();
    options.progress = stop;
    options.context = &rest;
    assert_int_equal(sluice_eval_predictions_save(lossy, &text, 1, &options, path, &all, NULL),
                     SLUICE_OK);
    assert_int_equal(rest.total, WINDOWS); /* nothing of the other model's */
}

static void a_comparison_that_is_stopped_goes_on_to_the_same_result(void **state)
{
    (void)state;
    const char *path = saved("compared", 30), *log = folders_path(folder, "log");
    sluice_divergence whole = against(lossy, path), d;
    stopper some = {2, 0};
    sluice_error err = {0};
    sluice_eval_text_options options = {.progress = stop, .context = &some, .log = log};
    assert_int_equal(sluice_eval_divergence(lossy, path, &options, &d, &err), SLUICE_CANCELLED);
    some.after = WINDOWS;
    assert_int_equal(sluice_eval_divergence(lossy, path, &options, &d, &err), SLUICE_OK);
    assert_int_equal(some.total, WINDOWS - 2);
    assert_memory_equal(&d, &whole, sizeof d);
    assert_int_equal(sluice_eval_divergence(lossy, path, &options, &d, &err), SLUICE_OK);
    assert_memory_equal(&d, &whole, sizeof d);

    assert_int_equal(sluice_eval_divergence(full, path, &options, &d, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "made by another run"));
    assert_int_equal(sluice_eval_divergence(lossy, saved("again", 0), &options, &d, &err),
                     SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "made by another run"));
}

static void a_log_with_rows_missing_is_refused(void **state)
{
    (void)state;
    const char *path = saved("logged", 0), *log = folders_path(folder, "short-log");
    size_t bytes;
    sluice_divergence d;
    sluice_error err = {0};
    sluice_eval_text_options options = {.log = log};
    assert_int_equal(sluice_eval_divergence(lossy, path, &options, &d, &err), SLUICE_OK);
    char *data = folders_load(log, &bytes);
    char *comma = strchr(strstr(data, "\"rows\":["), ','), *next = strchr(comma + 1, ',');
    memset(comma, ' ', (size_t)(next - comma)); /* one number less */
    folders_save(log, data, bytes);
    free(data);
    assert_int_equal(sluice_eval_divergence(lossy, path, &options, &d, &err), SLUICE_BAD_INPUT);
    assert_non_null(strstr(err.detail, "line 2: not all of a window"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_does_not_diverge_from_itself),
        cmocka_unit_test(divergence_is_the_sum_of_p_log_p_over_q),
        cmocka_unit_test(windows_that_overlap_are_kept),
        cmocka_unit_test(a_damaged_file_is_found_out_wherever_it_is_damaged),
        cmocka_unit_test(predictions_of_another_vocabulary_are_refused),
        cmocka_unit_test(saving_that_is_stopped_before_a_window_is_done_leaves_nothing),
        cmocka_unit_test(saving_that_is_stopped_goes_on_to_the_same_bytes),
        cmocka_unit_test(what_was_left_damaged_or_by_another_run_is_made_again),
        cmocka_unit_test(a_comparison_that_is_stopped_goes_on_to_the_same_result),
        cmocka_unit_test(a_log_with_rows_missing_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
