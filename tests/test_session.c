/* Sessions: forget, fork, cut, go back, save and load, all to the bit; and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "os/file.h"
#include "support/engines.h"
#include "support/reference.h"

#define PREFIX 150
#define MORE 20

static sluice_engine *engine;
static const int32_t *ids;
static char path[64];

static int open_all(void **state)
{
    static reference *expected;
    sluice_engine_options options = engines_options();
    (void)state;
    options.sessions = 4;
    engine = engines_open(NULL, &options);
    expected = reference_load(engines_source_path("models/nano/reference.json"));
    for (int32_t i = 0; i < expected->cases_count; i++)
        if (expected->cases[i].count >= 700) ids = expected->cases[i].ids;
    snprintf(path, sizeof path, "/tmp/sluice-session-%d", (int)getpid());
    *state = expected;
    return ids ? 0 : -1;
}

static int close_all(void **state)
{
    reference_free(*state);
    sluice_engine_close(engine);
    unlink(path);
    return 0;
}

static void feed(sluice_session *session, int32_t from, int32_t count)
{
    sluice_input input = {session, ids + from, count, count};
    engines_step(engine, &input, 1, NULL, NULL);
}

/* Logits of MORE tokens that go on from the session. */
static engines_rows go_on(sluice_session *session, int32_t from)
{
    engines_rows rows = engines_rows_new(engine, MORE);
    for (int32_t i = 0; i < MORE; i++) {
        sluice_input input = {session, ids + from + i, 1, 0};
        engines_step(engine, &input, 1, engines_rows_keep, &rows);
    }
    return rows;
}

static void same(engines_rows a, engines_rows b)
{
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.logits, b.logits, (size_t)a.count * (size_t)a.vocab * sizeof *a.logits);
    engines_rows_free(&b);
}

static void assert_tokens(const sluice_session *session, int32_t expected)
{
    int32_t count;
    const int32_t *tokens = sluice_session_tokens(session, &count);
    assert_int_equal(count, expected);
    assert_memory_equal(tokens, ids, (size_t)count * sizeof *tokens);
}

static void a_cleared_session_is_a_new_one(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine);
    engines_rows fresh = go_on(session, 0);
    feed(session, 100, 90);
    sluice_session_clear(session);
    assert_tokens(session, 0);
    same(fresh, go_on(session, 0));
    engines_rows_free(&fresh);
    sluice_session_close(session);
}

static void a_copy_goes_on_like_its_original_and_apart_from_it(void **state)
{
    (void)state;
    sluice_session *original = engines_session(engine), *copy = engines_session(engine);
    feed(original, 0, PREFIX);
    feed(copy, 300, 200); /* what the copy held before must not show */
    assert_int_equal(sluice_session_copy(copy, original, NULL), SLUICE_OK);
    assert_tokens(copy, PREFIX);
    feed(original, 400, 70);
    engines_rows of_copy = go_on(copy, PREFIX);
    sluice_session_clear(original);
    feed(original, 0, PREFIX);
    same(of_copy, go_on(original, PREFIX));
    engines_rows_free(&of_copy);
    sluice_session_close(original);
    sluice_session_close(copy);
}

static void save(sluice_session *session)
{
    sluice_error err = {0};
    if (sluice_session_save(session, path, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

static void a_saved_session_goes_on_in_another_engine(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine), *loaded;
    sluice_error err = {0};
    feed(session, 0, PREFIX);
    save(session);
    engines_rows expected = go_on(session, PREFIX);
    sluice_session_close(session);

    sluice_engine *first = engine;
    sluice_engine_options options = engines_options();
    options.threads = 1;
    options.context = 512; /* another layout of KV */
    engine = engines_open(NULL, &options);
    loaded = engines_session(engine);
    if (sluice_session_load(loaded, path, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    assert_tokens(loaded, PREFIX);
    same(expected, go_on(loaded, PREFIX));
    sluice_session_close(loaded);
    sluice_engine_close(engine);
    engine = first;
    engines_rows_free(&expected);
}

static void an_empty_session_can_be_saved(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine);
    save(session);
    feed(session, 0, 10);
    assert_int_equal(sluice_session_load(session, path, NULL), SLUICE_OK);
    assert_tokens(session, 0);
    sluice_session_close(session);
}

static void rewrite(const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* Loading must fail like this and leave the session as it was. */
static void refused(sluice_session *session, sluice_status status)
{
    sluice_error err = {0};
    sluice_status got = sluice_session_load(session, path, &err);
    if (got != status) fail_msg("%s (%s)", sluice_status_name(got), err.detail);
    assert_non_null(strstr(err.detail, path));
    assert_tokens(session, 33);
}

static void damaged_files_are_refused_and_change_nothing(void **state)
{
    (void)state;
    char *good, *bad;
    size_t bytes;
    sluice_session *session = engines_session(engine);
    feed(session, 0, PREFIX);
    save(session);
    sluice_session_clear(session);
    feed(session, 0, 33);
    engines_rows expected = go_on(session, 33);
    sluice_session_clear(session);
    feed(session, 0, 33);

    assert_int_equal(sluice_file_load(path, (size_t)1 << 30, &good, &bytes, NULL), SLUICE_OK);
    bad = malloc(bytes + 1);
    assert_non_null(bad);
    const size_t places[] = {64, 64 + 4 * PREFIX, bytes / 3, bytes / 2, bytes - 5, bytes - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        memcpy(bad, good, bytes);
        bad[places[i]] ^= 0x10;
        rewrite(bad, bytes);
        refused(session, SLUICE_CORRUPT);
    }
    const size_t lengths[] = {0, 10, 63, 64, 100, bytes / 2, bytes - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        rewrite(good, lengths[i]);
        refused(session, SLUICE_CORRUPT);
    }
    memcpy(bad, good, bytes);
    bad[bytes] = 0;
    rewrite(bad, bytes + 1);
    refused(session, SLUICE_CORRUPT);

    const struct {
        size_t at;
        sluice_status status;
    } fields[] = {{0, SLUICE_CORRUPT},      /* magic */
                  {16, SLUICE_UNSUPPORTED}, /* version */
                  {20, SLUICE_UNSUPPORTED}, /* model */
                  {27, SLUICE_LIMIT},       /* positions, highest byte */
                  {28, SLUICE_UNSUPPORTED}, /* type of keys and values */
                  {32, SLUICE_CORRUPT}};    /* bytes */
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        memcpy(bad, good, bytes);
        bad[fields[i].at] ^= 0x40;
        rewrite(bad, bytes);
        refused(session, fields[i].status);
    }
    same(expected, go_on(session, 33));
    engines_rows_free(&expected);
    free(good);
    free(bad);
    sluice_session_close(session);
}

static void a_state_of_another_model_is_refused(void **state)
{
    (void)state;
    sluice_engine *other = engines_open(engines_source_path("tests/data/tiny/mlx-8bit-g32"), NULL);
    sluice_session *stranger = engines_session(other), *session = engines_session(engine);
    static const int32_t tokens[] = {1, 2, 3};
    sluice_input input = {stranger, tokens, 3, 3};
    engines_step(other, &input, 1, NULL, NULL);
    save(stranger);
    feed(session, 0, 33);
    refused(session, SLUICE_UNSUPPORTED);
    sluice_session_close(stranger);
    sluice_engine_close(other);
    sluice_session_close(session);
}

/* Bytes of a saved state with keys and values of this type. It is saved in the middle of a block of
 * positions, goes on to the bit elsewhere, after a fork, from a checkpoint, and whatever the slices
 * and neighbours of its steps were; sessions of the engine's type refuse it. */
static uint64_t kept_in(const char *kv)
{
    sluice_session *full = engines_session(engine);
    feed(full, 0, 33);
    sluice_engine *first = engine;
    sluice_engine_options options = engines_options();
    options.levers.kv = kv;
    options.sessions = 3;
    engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine), *other = engines_session(engine);
    sluice_session *neighbour = engines_session(engine);
    feed(session, 0, 33);
    const uint64_t bytes = sluice_state_saved_bytes(session->state);
    feed(session, 33, PREFIX - 33);
    save(session);
    refused(full, SLUICE_UNSUPPORTED);
    feed(other, 300, 200); /* what it held before must not show */
    assert_int_equal(sluice_session_load(other, path, NULL), SLUICE_OK);
    sluice_checkpoint *checkpoint;
    assert_int_equal(sluice_checkpoint_new(session->state, &checkpoint, NULL), SLUICE_OK);
    sluice_checkpoint_take(checkpoint, session->state);
    assert_int_equal(sluice_session_copy(neighbour, session, NULL), SLUICE_OK);
    engines_rows expected = go_on(session, PREFIX);
    same(expected, go_on(other, PREFIX));
    same(expected, go_on(neighbour, PREFIX));
    assert_int_equal(sluice_checkpoint_rewind(checkpoint, session->state, NULL), SLUICE_OK);
    same(expected, go_on(session, PREFIX));
    sluice_checkpoint_free(checkpoint);

    /* In other slices (but for those of 64, which the delta rule shows), next to another. */
    engines_rows together = engines_rows_new(engine, MORE);
    sluice_session_clear(session);
    sluice_session_clear(neighbour);
    for (int32_t i = 0; i < 33; i++)
        feed(session, i, 1);
    feed(session, 33, 31);
    feed(session, 64, 64);
    feed(session, 128, PREFIX - 128);
    const sluice_input inputs[] = {{neighbour, ids, 33, 33}, {session, ids + PREFIX, MORE, 0}};
    engines_step(engine, inputs, 2, engines_rows_keep, &together);
    same(expected, together);
    engines_rows_free(&expected);
    sluice_session_close(session);
    sluice_session_close(other);
    sluice_session_close(neighbour);
    sluice_engine_close(engine);
    engine = first;
    sluice_session_close(full);
    return bytes;
}

static void sessions_with_narrow_keys_and_values_are_smaller_and_apart(void **state)
{
    (void)state;
    sluice_session *full = engines_session(engine);
    feed(full, 0, 33);
    const uint64_t half = kept_in("f16"), quarter = kept_in("int8");
    assert_true(half < sluice_state_saved_bytes(full->state));
    assert_true(quarter < half);
    sluice_session_close(full);
}

static void a_checkpoint_brings_back_the_moment_it_was_taken(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine);
    sluice_checkpoint *checkpoint;
    feed(session, 0, PREFIX);
    assert_int_equal(sluice_checkpoint_new(session->state, &checkpoint, NULL), SLUICE_OK);
    sluice_checkpoint_take(checkpoint, session->state);
    engines_rows expected = go_on(session, PREFIX);
    for (int again = 0; again < 2; again++) {
        feed(session, 500, 30 + 64 * again);
        assert_int_equal(sluice_checkpoint_rewind(checkpoint, session->state, NULL), SLUICE_OK);
        assert_tokens(session, PREFIX);
        same(expected, go_on(session, PREFIX));
    }
    sluice_session_clear(session);
    feed(session, 1, PREFIX + 1);
    assert_int_equal(sluice_checkpoint_rewind(checkpoint, session->state, NULL),
                     SLUICE_UNSUPPORTED);
    sluice_checkpoint_free(checkpoint);
    engines_rows_free(&expected);
    sluice_session_close(session);
}

static void gdn_layers_cannot_be_cut_except_at_the_start(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine);
    sluice_error err = {0};
    engines_rows expected = go_on(session, 0);
    assert_int_equal(sluice_state_truncate(session->state, MORE, NULL), SLUICE_OK);
    assert_int_equal(sluice_state_truncate(session->state, 5, &err), SLUICE_UNSUPPORTED);
    assert_int_equal(sluice_state_truncate(session->state, MORE + 1, &err), SLUICE_USAGE);
    assert_int_equal(sluice_state_truncate(session->state, -1, &err), SLUICE_USAGE);
    assert_tokens(session, MORE);
    assert_int_equal(sluice_state_truncate(session->state, 0, NULL), SLUICE_OK);
    same(expected, go_on(session, 0));
    engines_rows_free(&expected);
    sluice_session_close(session);
}

static void an_answer_that_was_cut_goes_on_as_if_it_had_not_been(void **state)
{
    (void)state;
    int32_t whole[24], parts[24], count, seen;
    sluice_session *session = engines_session(engine);
    engines_generate(session, ids, 40, 24, whole, &count);
    assert_int_equal(count, 24);
    sluice_session_clear(session);
    engines_generate(session, ids, 40, 9, parts, &count);
    sluice_session_tokens(session, &seen);
    assert_int_equal(seen, 49);
    engines_generate(session, NULL, 0, 1, parts + 9, &count);
    save(session); /* a pending token is saved with the rest */
    sluice_session_clear(session);
    assert_int_equal(sluice_session_load(session, path, NULL), SLUICE_OK);
    const int32_t *tokens = sluice_session_tokens(session, &seen);
    assert_int_equal(seen, 50);
    assert_memory_equal(tokens + 40, whole, 10 * sizeof *whole);
    assert_memory_equal(parts, whole, 10 * sizeof *whole);
    /* The last token has run now: the next answer needs a prompt, here the true next token. */
    engines_generate(session, whole + 10, 1, 13, parts, &count);
    assert_memory_equal(parts, whole + 11, 13 * sizeof *whole);
    sluice_session_close(session);
}

static void generation_ends_at_stop_tokens_limits_and_the_callback_s_word(void **state)
{
    (void)state;
    const sluice_model_info *info = sluice_engine_info(engine);
    assert_int_equal(info->n_stop_ids, 2);
    int32_t generated[600], count;
    sluice_finish finish;
    sluice_error err = {0};
    sluice_ids prompt;
    static const char chat[] = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
                               "<|im_start|>assistant\n<think>\n\n</think>\n\n";
    assert_int_equal(sluice_tokenizer_encode(sluice_engine_tokenizer(engine), chat, sizeof chat - 1,
                                             SLUICE_SPECIAL_EVERYWHERE, &prompt, &err),
                     SLUICE_OK);
    sluice_session *session = engines_session(engine);
    sluice_generation generation = {.prompt = prompt.ids,
                                    .prompt_count = (int32_t)prompt.count,
                                    .tokens_max = 100,
                                    .sampling = sluice_sampling_greedy()};
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_OK);
    assert_int_equal(finish, SLUICE_FINISH_STOP);
    assert_in_range(count, 1, 20);
    sluice_text text;
    assert_int_equal(sluice_tokenizer_decode(sluice_engine_tokenizer(engine), generated,
                                             (size_t)count, true, &text, &err),
                     SLUICE_OK);
    assert_non_null(strstr(text.bytes, "Paris"));
    sluice_text_free(&text);
    int32_t seen;
    sluice_session_tokens(session, &seen);
    assert_int_equal(seen, (int32_t)prompt.count + count);
    sluice_ids_free(&prompt);

    generation.prompt_count = 0;
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_USAGE);
    sluice_session_close(session);
}

static bool stop_at_five(void *context, int32_t token)
{
    (void)token;
    return ++*(int32_t *)context < 5;
}

static void a_callback_that_says_no_cancels(void **state)
{
    (void)state;
    int32_t generated[32], count, calls = 0, seen;
    sluice_finish finish;
    sluice_session *session = engines_session(engine);
    sluice_generation generation = {.prompt = ids,
                                    .prompt_count = 40,
                                    .tokens_max = 32,
                                    .sampling = sluice_sampling_greedy(),
                                    .ignore_stop = true,
                                    .on_token = stop_at_five,
                                    .context = &calls};
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, NULL),
                     SLUICE_OK);
    assert_int_equal(finish, SLUICE_FINISH_CANCELLED);
    assert_int_equal(count, 5);
    sluice_session_tokens(session, &seen);
    assert_int_equal(seen, 45);
    sluice_session_close(session);
}

static void the_context_ends_an_answer_and_refuses_a_prompt(void **state)
{
    (void)state;
    int32_t generated[64], count;
    sluice_finish finish;
    sluice_error err = {0};
    sluice_engine_options options = engines_options();
    options.context = 64;
    sluice_engine *small = engines_open(NULL, &options);
    sluice_session *session = engines_session(small);
    sluice_generation generation = {.prompt = ids,
                                    .prompt_count = 60,
                                    .tokens_max = 64,
                                    .sampling = sluice_sampling_greedy(),
                                    .ignore_stop = true};
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_OK);
    assert_int_equal(finish, SLUICE_FINISH_LENGTH);
    assert_int_equal(count, 4);
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_LIMIT);
    sluice_session_clear(session);
    generation.prompt_count = 65;
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_LIMIT);
    assert_non_null(strstr(err.detail, "64"));
    sluice_session_tokens(session, &count);
    assert_int_equal(count, 0);
    sluice_session_close(session);
    sluice_engine_close(small);
}

static void inputs_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    sluice_session *session = engines_session(engine);
    static const int32_t bad[] = {5, 8192};
    static const int32_t negative[] = {-1};
    sluice_input twice[] = {{session, ids, 1, 1}, {session, ids, 1, 1}};
    sluice_input outside = {session, bad, 2, 2}, below = {session, negative, 1, 1};
    sluice_input backwards = {session, ids, -1, 0};
    assert_int_equal(sluice_engine_step(engine, twice, 2, NULL, NULL, NULL), SLUICE_USAGE);
    assert_int_equal(sluice_engine_step(engine, &outside, 1, NULL, NULL, NULL), SLUICE_BAD_INPUT);
    assert_int_equal(sluice_engine_step(engine, &below, 1, NULL, NULL, NULL), SLUICE_BAD_INPUT);
    assert_int_equal(sluice_engine_step(engine, &backwards, 1, NULL, NULL, NULL), SLUICE_USAGE);
    assert_tokens(session, 0);
    sluice_session_close(session);
}

static sluice_status stop_at_third(void *context, int32_t input, int32_t token, const float *row)
{
    (void)input;
    (void)row;
    ++*(int32_t *)context;
    return token == 2 ? SLUICE_LIMIT : SLUICE_OK;
}

static void a_logits_callback_may_stop_the_rows_that_are_left(void **state)
{
    (void)state;
    int32_t calls = 0;
    sluice_error err = {0};
    sluice_session *session = engines_session(engine);
    sluice_input input = {session, ids, 10, 0};
    assert_int_equal(sluice_engine_step(engine, &input, 1, stop_at_third, &calls, &err),
                     SLUICE_LIMIT);
    assert_int_equal(calls, 3);
    assert_true(err.detail[0]);
    assert_tokens(session, 10); /* the rows had run */
    sluice_session_close(session);
}

static bool second_time(void *context)
{
    return ++*(int32_t *)context == 2;
}

static void an_interrupted_step_leaves_the_session_at_the_last_chunk(void **state)
{
    (void)state;
    int32_t asked = 0, count, generated[4];
    sluice_finish finish;
    sluice_error err = {0};
    sluice_engine_options options = engines_options();
    options.chunk = 64;
    options.interrupted = second_time;
    options.callback_context = &asked;
    sluice_engine *patient = engines_open(NULL, &options);
    sluice_session *session = engines_session(patient);
    sluice_input input = {session, ids, 300, 300};
    assert_int_equal(sluice_engine_step(patient, &input, 1, NULL, NULL, &err), SLUICE_CANCELLED);
    assert_tokens(session, 64);
    asked = 0;
    sluice_generation generation = {.prompt = ids + 64,
                                    .prompt_count = 130,
                                    .tokens_max = 4,
                                    .sampling = sluice_sampling_greedy()};
    assert_int_equal(sluice_generate(session, &generation, generated, &count, &finish, &err),
                     SLUICE_OK);
    assert_int_equal(finish, SLUICE_FINISH_CANCELLED);
    assert_int_equal(count, 0);
    assert_tokens(session, 128);
    sluice_session_close(session);
    sluice_engine_close(patient);
}

static void sessions_beyond_the_budget_are_refused_and_the_others_go_on(void **state)
{
    (void)state;
    sluice_session *sessions[64];
    sluice_error err = {0};
    int32_t opened = 0;
    sluice_engine_options options = engines_options();
    options.memory_bytes = (uint64_t)100 << 20;
    options.context = 4096;
    options.sessions = 2;
    sluice_engine *crowded = engines_open(NULL, &options);
    while (opened < 64 && sluice_session_open(crowded, &sessions[opened], &err) == SLUICE_OK)
        opened++;
    assert_in_range(opened, 2, 63);
    assert_int_equal(err.code, SLUICE_NO_MEMORY);
    sluice_input input = {sessions[0], ids, 100, 100};
    engines_step(crowded, &input, 1, NULL, NULL);
    while (opened)
        sluice_session_close(sessions[--opened]);
    sluice_engine_close(crowded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cleared_session_is_a_new_one),
        cmocka_unit_test(a_copy_goes_on_like_its_original_and_apart_from_it),
        cmocka_unit_test(a_saved_session_goes_on_in_another_engine),
        cmocka_unit_test(an_empty_session_can_be_saved),
        cmocka_unit_test(damaged_files_are_refused_and_change_nothing),
        cmocka_unit_test(a_state_of_another_model_is_refused),
        cmocka_unit_test(sessions_with_narrow_keys_and_values_are_smaller_and_apart),
        cmocka_unit_test(a_checkpoint_brings_back_the_moment_it_was_taken),
        cmocka_unit_test(gdn_layers_cannot_be_cut_except_at_the_start),
        cmocka_unit_test(an_answer_that_was_cut_goes_on_as_if_it_had_not_been),
        cmocka_unit_test(generation_ends_at_stop_tokens_limits_and_the_callback_s_word),
        cmocka_unit_test(a_callback_that_says_no_cancels),
        cmocka_unit_test(the_context_ends_an_answer_and_refuses_a_prompt),
        cmocka_unit_test(inputs_that_make_no_sense_are_refused),
        cmocka_unit_test(a_logits_callback_may_stop_the_rows_that_are_left),
        cmocka_unit_test(an_interrupted_step_leaves_the_session_at_the_last_chunk),
        cmocka_unit_test(sessions_beyond_the_budget_are_refused_and_the_others_go_on),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
