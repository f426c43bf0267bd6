/* The bar that int8 activations are held to, on Nano: mean divergence from exact mode at most 1e-3
 * nats a token, perplexity within 0.5%, and the reference cases continued greedily as before up to
 * a near tie. Results are the same bits everywhere, so these are numbers and not samples; over all
 * 24 windows of both books (SLUICE_TEST_LONG) doc/kernels.md gives them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sluice/eval.h"
#include "support/engines.h"
#include "support/folders.h"
#include "support/reference.h"

#define KL_MAX 1e-3
#define RATIO_MAX 0.005
#define MARGIN 0.1f /* between the two likeliest logits: less is a near tie */

enum { WINDOW = 1024 };

static sluice_engine *exact, *int8;

static int open_both(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = WINDOW;
    options.exact = true;
    exact = engines_open(NULL, &options);
    options.exact = false;
    int8 = engines_open(NULL, &options);
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    sluice_engine_close(int8);
    sluice_engine_close(exact);
    return 0;
}

static void divergence_and_perplexity_stay_within_the_bar(void **state)
{
    (void)state;
    const int32_t windows = getenv("SLUICE_TEST_LONG") ? 24 : 4;
    char folder[FOLDERS_PATH_MAX];
    sluice_eval_text_options options = {.window = WINDOW, .windows_max = windows, .batch = 1};
    sluice_perplexity base;
    sluice_divergence d;
    sluice_error err = {0};
    folders_make(folder);
    const char *path = folders_path(folder, "exact");
    const char *texts[] = {engines_source_path("models/nano/text/alice.txt"),
                           engines_source_path("models/nano/text/a_christmas_carol.txt")};
    if (sluice_eval_predictions_save(exact, texts, 2, &options, path, &base, &err) != SLUICE_OK ||
        sluice_eval_divergence(int8, path, &options, &d, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    folders_remove(folder);
    print_message("KL %.3e nats a token, perplexity times %.5f, %lld tokens\n", d.kl.value,
                  d.ratio.value, (long long)d.perplexity.predicted);
    assert_true(d.exact);
    assert_int_equal(d.perplexity.predicted, 2 * windows * (WINDOW - 1));
    if (!(d.kl.value > 1e-5)) fail_msg("a KL of %g is none: is this int8?", d.kl.value);
    if (!(d.kl.value <= KL_MAX)) fail_msg("a KL of %g nats a token", d.kl.value);
    if (!(fabs(d.ratio.value - 1) <= RATIO_MAX)) fail_msg("perplexity times %g", d.ratio.value);
}

/* How far apart the two likeliest tokens of a row are. */
static float margin(const float *logits, int32_t vocab)
{
    float first = -INFINITY, second = -INFINITY;
    for (int32_t i = 0; i < vocab; i++) {
        if (logits[i] > first) {
            second = first;
            first = logits[i];
        } else if (logits[i] > second) {
            second = logits[i];
        }
    }
    return first - second;
}

/* The margin of exact mode where it chose ids[at] after the prompt and ids before. */
static float margin_of_choice(const reference_case *c, const int32_t *ids, int32_t at)
{
    const int32_t count = c->count + at;
    int32_t *tokens = calloc((size_t)count, sizeof *tokens);
    assert_non_null(tokens);
    for (int32_t i = 0; i < count; i++)
        tokens[i] = i < c->count ? c->ids[i] : ids[i - c->count];
    engines_rows rows = engines_rows_new(exact, 1);
    sluice_session *session = engines_session(exact);
    sluice_input input = {session, tokens, count, count - 1};
    engines_step(exact, &input, 1, engines_rows_keep, &rows);
    assert_int_equal(rows.count, 1);
    const float apart = margin(rows.logits, rows.vocab);
    sluice_session_close(session);
    engines_rows_free(&rows);
    free(tokens);
    return apart;
}

static void greedy(sluice_engine *engine, const reference_case *c, int32_t *ids)
{
    int32_t count;
    sluice_session *session = engines_session(engine);
    engines_generate(session, c->ids, c->count, c->greedy_count, ids, &count);
    assert_int_equal(count, c->greedy_count);
    sluice_session_close(session);
}

static void greedy_texts_part_only_at_near_ties(void **state)
{
    (void)state;
    reference *expected = reference_load(engines_source_path("models/nano/reference.json"));
    int32_t same = 0;
    for (int32_t i = 0; i < expected->cases_count; i++) {
        const reference_case *c = &expected->cases[i];
        int32_t want[256], got[256], at = 0;
        assert_true(c->greedy_count > 0 && c->greedy_count <= 256);
        greedy(exact, c, want);
        greedy(int8, c, got);
        while (at < c->greedy_count && got[at] == want[at])
            at++;
        same += at == c->greedy_count;
        if (at == c->greedy_count) continue;
        const float apart = margin_of_choice(c, want, at);
        print_message("case %d parts at token %d, where the likeliest are %.3f apart\n", i, at,
                      (double)apart);
        if (apart > MARGIN) fail_msg("case %d: token %d is another", i, at);
    }
    assert_true(same >= expected->cases_count / 2);
    reference_free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_and_perplexity_stay_within_the_bar),
        cmocka_unit_test(greedy_texts_part_only_at_near_ties),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
