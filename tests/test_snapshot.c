/* Snapshots on Nano: small, exact, charged to the budget, and the same file as a saved session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sluice/sampler.h"
#include "sluice/snapshot.h"

enum { PROMPT = 150, MORE = 20 };

static sluice_engine *engine;
static float *expected; /* [vocab] */

static int open_engine(void **state)
{
    (void)state;
    sluice_error err = {0};
    sluice_engine_options options = sluice_engine_options_default();
    options.sessions = 2;
    options.context = 1024;
    assert_int_equal(sluice_engine_open(SLUICE_SOURCE_DIR "/models/nano", &options, &engine, &err),
                     SLUICE_OK);
    expected = malloc((size_t)sluice_engine_info(engine)->vocab * sizeof *expected);
    return expected ? 0 : -1;
}

static int close_engine(void **state)
{
    (void)state;
    free(expected);
    sluice_engine_close(engine);
    return 0;
}

static sluice_session *session(void)
{
    sluice_session *opened = NULL;
    sluice_error err = {0};
    assert_int_equal(sluice_session_open(engine, &opened, &err), SLUICE_OK);
    return opened;
}

static sluice_status keep(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)input;
    (void)token;
    memcpy(context, logits, (size_t)sluice_engine_info(engine)->vocab * sizeof *logits);
    return SLUICE_OK;
}

/* Appends count tokens; the last one's logits into out. */
static void run(sluice_session *at, int32_t first, int32_t count, float *out)
{
    int32_t tokens[PROMPT];
    sluice_error err = {0};
    for (int32_t i = 0; i < count; i++)
        tokens[i] = (first + i * 37) % 8000;
    sluice_input input = {at, tokens, count, out ? count - 1 : count};
    assert_int_equal(sluice_engine_step(engine, &input, 1, out ? keep : NULL, out, &err),
                     SLUICE_OK);
}

static void a_restored_session_goes_on_as_if_it_had_never_stopped(void **state)
{
    (void)state;
    sluice_error err = {0};
    size_t bytes = (size_t)sluice_engine_info(engine)->vocab * sizeof(float);
    float *found = malloc(bytes);
    sluice_session *a = session(), *b = session();
    sluice_snapshot *snapshot;
    int32_t count;
    run(a, 5, PROMPT, NULL);
    assert_int_equal(sluice_snapshot_take(a, &snapshot, &err), SLUICE_OK);
    run(a, 9, MORE, expected);

    run(b, 77, 30, NULL); /* something else before */
    assert_int_equal(sluice_snapshot_restore(snapshot, b, &err), SLUICE_OK);
    const int32_t *tokens = sluice_session_tokens(b, &count);
    assert_int_equal(count, PROMPT);
    assert_memory_equal(tokens, sluice_snapshot_tokens(snapshot, &count), PROMPT * sizeof *tokens);
    assert_int_equal(count, PROMPT);
    run(b, 9, MORE, found);
    assert_memory_equal(found, expected, bytes);
    sluice_snapshot_free(snapshot);
    sluice_session_close(a);
    sluice_session_close(b);
    free(found);
}

static void a_snapshot_is_charged_to_the_budget_until_it_is_freed(void **state)
{
    (void)state;
    sluice_error err = {0};
    sluice_stats before, during, after;
    sluice_session *a = session();
    sluice_snapshot *snapshot;
    run(a, 5, 64, NULL);
    sluice_engine_stats(engine, &before);
    assert_int_equal(sluice_snapshot_take(a, &snapshot, &err), SLUICE_OK);
    sluice_engine_stats(engine, &during);
    assert_true(during.memory_bytes >= before.memory_bytes + sluice_snapshot_bytes(snapshot));
    sluice_snapshot_free(snapshot);
    sluice_engine_stats(engine, &after);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    sluice_session_close(a);
}

static void a_snapshots_file_is_a_saved_session(void **state)
{
    (void)state;
    sluice_error err = {0};
    char path[] = "/tmp/sluice-snapshot-XXXXXX";
    int fd = mkstemp(path);
    size_t bytes = (size_t)sluice_engine_info(engine)->vocab * sizeof(float);
    float *found = malloc(bytes);
    sluice_session *a = session();
    sluice_snapshot *snapshot, *again;
    assert_true(fd >= 0);
    close(fd);
    run(a, 5, PROMPT, NULL);
    assert_int_equal(sluice_snapshot_take(a, &snapshot, &err), SLUICE_OK);
    run(a, 9, MORE, expected);
    assert_int_equal(sluice_snapshot_write(snapshot, path, &err), SLUICE_OK);
    sluice_session_clear(a);
    assert_int_equal(sluice_snapshot_read(path, a, &again, &err), SLUICE_OK);
    assert_int_equal(sluice_snapshot_bytes(again), sluice_snapshot_bytes(snapshot));
    run(a, 9, MORE, found);
    assert_memory_equal(found, expected, bytes);

    assert_int_equal(truncate(path, 1000), 0);
    sluice_snapshot *none = NULL;
    assert_int_equal(sluice_snapshot_read(path, a, &none, &err), SLUICE_CORRUPT);
    assert_null(none);
    unlink(path);
    sluice_snapshot_free(snapshot);
    sluice_snapshot_free(again);
    sluice_session_close(a);
    free(found);
}

static void a_sampler_draws_what_generate_draws(void **state)
{
    (void)state;
    sluice_error err = {0};
    int32_t prompt[] = {10, 20, 30}, expected_ids[8], count, token;
    sluice_finish finish;
    sluice_session *a = session();
    sluice_sampler *sampler;
    sluice_sampling sampling = sluice_sampling_recommended(false);
    sampling.seed = 42;
    sluice_generation generation = {.prompt = prompt,
                                    .prompt_count = 3,
                                    .tokens_max = 8,
                                    .sampling = sampling,
                                    .ignore_stop = true};
    assert_int_equal(sluice_generate(a, &generation, expected_ids, &count, &finish, &err),
                     SLUICE_OK);
    sluice_session_clear(a);
    assert_int_equal(sluice_engine_sampler_new(engine, &sampler, &err), SLUICE_OK);
    assert_int_equal(sluice_sampler_begin(sampler, &sampling, &err), SLUICE_OK);
    sluice_sampler_see(sampler, prompt, 3, false);
    sluice_input input = {a, prompt, 3, 2};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(sluice_engine_step(engine, &input, 1, keep, expected, &err), SLUICE_OK);
        assert_int_equal(sluice_sampler_draw(sampler, expected, &token, &err), SLUICE_OK);
        assert_int_equal(token, expected_ids[i]);
        sluice_sampler_see(sampler, &token, 1, true);
        input = (sluice_input){a, &token, 1, 0};
    }
    sluice_sampler_free(sampler);
    sluice_session_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restored_session_goes_on_as_if_it_had_never_stopped),
        cmocka_unit_test(a_snapshot_is_charged_to_the_budget_until_it_is_freed),
        cmocka_unit_test(a_snapshots_file_is_a_saved_session),
        cmocka_unit_test(a_sampler_draws_what_generate_draws),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
