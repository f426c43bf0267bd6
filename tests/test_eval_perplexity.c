/* Perplexity over windows of text on Nano, and the intervals around what evaluations measure. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "eval/interval.h"
#include "eval/windows.h"
#include "support/engines.h"
#include "support/folders.h"
#include "support/reference.h"

static sluice_engine *engine;
static char folder[FOLDERS_PATH_MAX];

static int open_all(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = 1024;
    options.sessions = 3;
    engine = engines_open(NULL, &options);
    folders_make(folder);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    folders_remove(folder);
    sluice_engine_close(engine);
    return 0;
}

static const char *alice(void)
{
    return engines_source_path("models/nano/text/alice.txt");
}

static sluice_perplexity measure(const char *path, const sluice_eval_text_options *options)
{
    sluice_perplexity each, all;
    sluice_error err = {0};
    if (sluice_eval_perplexity(engine, &path, 1, options, &each, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_memory_equal(&each, &all, sizeof all); /* one text is all texts */
    return all;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%.9g is not %.9g", value, expected);
}

static void windows_of_a_book_score_as_in_the_reference(void **state)
{
    (void)state;
    reference *expected = reference_load(engines_source_path("models/nano/reference.json"));
    const char *paths[] = {alice(), engines_source_path("models/nano/text/a_christmas_carol.txt")};
    sluice_eval_text_options options = {.windows_max = 2};
    sluice_perplexity each[2], all;
    sluice_error err = {0};
    assert_int_equal(sluice_eval_perplexity(engine, paths, 2, &options, each, &all, &err),
                     SLUICE_OK);
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        double nll = expected->texts[i].nll[0] + expected->texts[i].nll[1];
        assert_int_equal(each[i].windows, 2);
        assert_int_equal(each[i].predicted, 2 * 1023);
        assert_near(each[i].nll, nll, 0.05);
        assert_near(each[i].perplexity.value, exp(nll / (2 * 1023)), 1e-3);
        sum += nll;
    }
    assert_int_equal(all.windows, 4);
    assert_near(all.nll, sum, 0.1);
    assert_true(all.perplexity.low < all.perplexity.value);
    assert_true(all.perplexity.high > all.perplexity.value);
    reference_free(expected);
}

static void windows_that_run_together_score_the_same(void **state)
{
    (void)state;
    sluice_eval_text_options options = {.window = 100, .windows_max = 7};
    sluice_perplexity alone = measure(alice(), &options);
    options.batch = 3;
    sluice_perplexity together = measure(alice(), &options);
    assert_memory_equal(&alone, &together, sizeof alone);
}

static void a_stride_predicts_every_token_once(void **state)
{
    (void)state;
    sluice_eval_text_options options = {.window = 128, .windows_max = 4};
    sluice_perplexity cold = measure(alice(), &options);
    assert_int_equal(cold.predicted, 4 * 127);
    options.stride = 32;
    options.windows_max = 13; /* reach as far */
    sluice_perplexity warm = measure(alice(), &options);
    assert_int_equal(warm.predicted, 4 * 128 - 1);
    assert_true(warm.perplexity.value < cold.perplexity.value);
    options.stride = 127; /* from the first row on, in every window */
    options.windows_max = 2;
    assert_int_equal(measure(alice(), &options).predicted, 2 * 127);
}

typedef struct seen {
    const sluice_windows *windows;
    int32_t rows[2][64]; /* of window and row */
} seen;

static sluice_status see(void *context, const sluice_window_row *row, sluice_error *err)
{
    seen *s = context;
    (void)err;
    s->rows[row->window][row->row]++;
    assert_int_equal(row->next,
                     s->windows->tokens[s->windows->windows[row->window].at + row->row + 1]);
    return SLUICE_OK;
}

static void rows_come_with_the_token_that_follows(void **state)
{
    (void)state;
    const char *path = alice();
    sluice_eval_text_options options = {.window = 50, .stride = 20, .windows_max = 2, .batch = 2};
    sluice_windows windows;
    sluice_error err = {0};
    assert_int_equal(sluice_windows_load(engine, &path, 1, &options, &windows, &err), SLUICE_OK);
    assert_int_equal(windows.count, 2);
    assert_int_equal(windows.rows, 49 + 20);
    seen s = {.windows = &windows};
    assert_int_equal(sluice_windows_run(engine, &windows, &options, see, &s, &err), SLUICE_OK);
    for (int32_t i = 0; i < 64; i++) {
        assert_int_equal(s.rows[0][i], i < 49);
        assert_int_equal(s.rows[1][i], i >= 29 && i < 49);
    }
    sluice_windows_free(&windows);
}

static bool stop_at_once(void *context, int64_t done, int64_t total)
{
    *(int64_t *)context = total;
    return done < 2;
}

static void a_progress_that_returns_false_stops(void **state)
{
    (void)state;
    const char *path = alice();
    int64_t total = 0;
    sluice_perplexity all;
    sluice_error err = {0};
    sluice_eval_text_options options = {
        .window = 32, .windows_max = 5, .progress = stop_at_once, .context = &total};
    assert_int_equal(sluice_eval_perplexity(engine, &path, 1, &options, NULL, &all, &err),
                     SLUICE_CANCELLED);
    assert_int_equal(total, 5);
}

/* The status, and that the sentence has the words. */
static void refused(const char *path, sluice_eval_text_options options, sluice_status expected,
                    const char *words)
{
    sluice_perplexity all;
    sluice_error err = {0};
    assert_int_equal(sluice_eval_perplexity(engine, &path, 1, &options, NULL, &all, &err),
                     expected);
    if (!strstr(err.detail, words)) fail_msg("'%s' lacks '%s'", err.detail, words);
}

static void what_cannot_be_scored_is_refused_by_name(void **state)
{
    (void)state;
    sluice_eval_text_options options = {.window = 64};
    const char *path = folders_path(folder, "text.txt");
    refused(folders_path(folder, "absent.txt"), options, SLUICE_NOT_FOUND, "absent.txt");
    folders_save(path, "", 0);
    refused(path, options, SLUICE_BAD_INPUT, "text.txt: empty");
    folders_save(path, "Hello there", 11);
    refused(path, options, SLUICE_BAD_INPUT, "fewer than a window of 64");
    folders_save(path, "Hello \377 there", 13);
    refused(path, options, SLUICE_BAD_INPUT, "text.txt: ");
    options.stride = 65;
    refused(alice(), options, SLUICE_USAGE, "stride");
    options = (sluice_eval_text_options){.window = 1};
    refused(alice(), options, SLUICE_USAGE, "window");
    options.window = 1025;
    refused(alice(), options, SLUICE_LIMIT, "context of 1024");
}

static void a_share_has_wilson_s_interval(void **state)
{
    (void)state;
    /* Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I. */
    sluice_interval i = sluice_interval_share(81, 263);
    assert_near(i.value, 0.3080, 1e-4);
    assert_near(i.low, 0.2553, 1e-4);
    assert_near(i.high, 0.3662, 1e-4);
    i = sluice_interval_share(0, 20);
    assert_near(i.low, 0, 0);
    assert_near(i.high, 0.1611, 1e-4);
    i = sluice_interval_share(29, 29);
    assert_near(i.low, 0.8830, 1e-4);
    assert_near(i.high, 1, 0);
    assert_true(isnan(sluice_interval_share(0, 0).value));
}

static void a_mean_of_clusters_has_student_s_interval(void **state)
{
    (void)state;
    /* Equal weights: mean 5, standard deviation 2.5820, 3.18245 * 2.5820 / sqrt(4) = 4.1085. */
    const double values[] = {2, 4, 6, 8}, weights[] = {1, 1, 1, 1};
    sluice_interval i = sluice_interval_ratio(values, weights, 4);
    assert_near(i.value, 5, 1e-12);
    assert_near(i.low, 5 - 4.1085, 1e-4);
    assert_near(i.high, 5 + 4.1085, 1e-4);
    i = sluice_interval_ratio(values, weights, 1);
    assert_near(i.value, 2, 0);
    assert_true(isnan(i.low) && isnan(i.high));
    /* Clusters that agree leave no doubt, whatever their sizes. */
    const double sums[] = {3, 30, 6}, sizes[] = {1, 10, 2};
    i = sluice_interval_ratio(sums, sizes, 3);
    assert_near(i.low, 3, 1e-12);
    assert_near(i.high, 3, 1e-12);
    /* 31 clusters: t = 2.0423, standard deviation of -15..15 is 9.0921. */
    double many[31], ones[31];
    for (int k = 0; k < 31; k++) {
        many[k] = k - 15;
        ones[k] = 1;
    }
    assert_near(sluice_interval_ratio(many, ones, 31).high, 2.0423 * 9.0921 / sqrt(31), 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_a_book_score_as_in_the_reference),
        cmocka_unit_test(windows_that_run_together_score_the_same),
        cmocka_unit_test(a_stride_predicts_every_token_once),
        cmocka_unit_test(rows_come_with_the_token_that_follows),
        cmocka_unit_test(a_progress_that_returns_false_stops),
        cmocka_unit_test(what_cannot_be_scored_is_refused_by_name),
        cmocka_unit_test(a_share_has_wilson_s_interval),
        cmocka_unit_test(a_mean_of_clusters_has_student_s_interval),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
