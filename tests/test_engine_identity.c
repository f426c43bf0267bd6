/* What must not change a result does not change a bit of it: threads, cache sizes, chunks, slices
 * of the prompt, company in the batch, embedding rows from disk. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/reference.h"

#define PROMPT 300
#define DECODED 20

typedef struct fixture {
    reference *expected;
    const int32_t *ids; /* PROMPT + DECODED tokens of text */
    engines_rows rows;  /* of the plain run */
} fixture;

static fixture base;

/* Logits of every token: the prompt in slices (0 ends the list, then the rest), decoded one by one.
 */
static engines_rows run(sluice_engine *engine, const int32_t *slices)
{
    static const int32_t whole[] = {0};
    engines_rows rows = engines_rows_new(engine, PROMPT + DECODED);
    sluice_session *session = engines_session(engine);
    int32_t at = 0;
    for (const int32_t *slice = slices ? slices : whole; at < PROMPT; slice += *slice != 0) {
        int32_t count = *slice && *slice < PROMPT - at ? *slice : PROMPT - at;
        sluice_input input = {session, base.ids + at, count, 0};
        engines_step(engine, &input, 1, engines_rows_keep, &rows);
        at += count;
    }
    for (; at < PROMPT + DECODED; at++) {
        sluice_input input = {session, base.ids + at, 1, 0};
        engines_step(engine, &input, 1, engines_rows_keep, &rows);
    }
    sluice_session_close(session);
    assert_int_equal(rows.count, PROMPT + DECODED);
    return rows;
}

static void same_as_base(engines_rows *rows, const char *what, int64_t setting)
{
    for (int32_t i = 0; i < rows->count; i++)
        if (memcmp(rows->logits + (size_t)i * (size_t)rows->vocab,
                   base.rows.logits + (size_t)i * (size_t)rows->vocab,
                   (size_t)rows->vocab * sizeof(float)) != 0)
            fail_msg("%s %lld: logits of position %d differ", what, (long long)setting, i);
    engines_rows_free(rows);
}

static void check_options(const sluice_engine_options *options, const char *what, int64_t setting)
{
    sluice_engine *engine = engines_open(NULL, options);
    engines_rows rows = run(engine, NULL);
    sluice_engine_close(engine);
    same_as_base(&rows, what, setting);
}

static int run_base(void **state)
{
    (void)state;
    base.expected = reference_load(engines_source_path("models/nano/reference.json"));
    for (int32_t i = 0; i < base.expected->cases_count; i++)
        if (base.expected->cases[i].count >= PROMPT + DECODED)
            base.ids = base.expected->cases[i].ids;
    if (!base.ids) return -1;
    sluice_engine *engine = engines_open(NULL, NULL);
    base.rows = run(engine, NULL);
    sluice_engine_close(engine);
    return 0;
}

static int free_base(void **state)
{
    (void)state;
    engines_rows_free(&base.rows);
    reference_free(base.expected);
    return 0;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    static const int threads[] = {1, 3, 4};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        sluice_engine_options options = engines_options();
        options.threads = threads[i];
        check_options(&options, "threads", threads[i]);
    }
}

static void cache_sizes_change_nothing(void **state)
{
    (void)state;
    sluice_inspection model;
    sluice_error err;
    char *dir;
    assert_int_equal(sluice_model_locate(NULL, NULL, &dir, &err), SLUICE_OK);
    assert_int_equal(sluice_inspect(dir, &model, &err), SLUICE_OK);
    free(dir);
    uint64_t record = model.record_bytes, layer = record * (uint64_t)model.experts;
    const uint64_t sizes[] = {record * (uint64_t)(model.top_k + 4), layer / 2, layer, 3 * layer,
                              (uint64_t)model.layers * layer};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sluice_engine_options options = engines_options();
        options.cache_bytes = sizes[i];
        check_options(&options, "cache bytes", (int64_t)sizes[i]);
    }
}

static void chunk_sizes_change_nothing(void **state)
{
    (void)state;
    static const int32_t chunks[] = {64, 128, 192, 1024};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        sluice_engine_options options = engines_options();
        options.chunk = chunks[i];
        check_options(&options, "chunk", chunks[i]);
    }
}

static void io_engines_change_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"pread", "buffered", "mmap"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sluice_engine_options options = engines_options();
        options.io = names[i];
        options.verify_reads = true;
        options.cache_bytes = (uint64_t)4 << 20;
        check_options(&options, names[i], 0);
    }
}

static void prompts_may_be_sliced_at_any_multiple_of_64(void **state)
{
    (void)state;
    static const int32_t slices[][6] = {{64, 64, 64, 64, 0}, {128, 64, 0}, {192, 0}, {64, 192, 0}};
    sluice_engine *engine = engines_open(NULL, NULL);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        engines_rows rows = run(engine, slices[i]);
        same_as_base(&rows, "slicing", (int64_t)i);
    }
    sluice_engine_close(engine);
}

typedef struct only {
    engines_rows rows;
    int32_t input;
} only;

static sluice_status keep_one_input(void *context, int32_t input, int32_t token,
                                    const float *logits)
{
    only *kept = context;
    return input == kept->input ? engines_rows_keep(&kept->rows, input, token, logits) : SLUICE_OK;
}

/* The sequence under test in the middle of others that prefill and decode beside it. */
static void company_in_the_batch_changes_nothing(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.sessions = 4;
    options.chunk = 256;
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *sessions[4];
    for (int i = 0; i < 4; i++)
        sessions[i] = engines_session(engine);
    only kept = {engines_rows_new(engine, PROMPT + DECODED), 2};
    sluice_input prompts[] = {{sessions[0], base.ids + 7, 90, 90},
                              {sessions[1], base.ids + 40, 1, 0},
                              {sessions[2], base.ids, PROMPT, 0},
                              {sessions[3], base.ids + 100, 130, 100}};
    engines_step(engine, prompts, 4, keep_one_input, &kept);
    kept.input = 1;
    for (int32_t at = PROMPT; at < PROMPT + DECODED; at++) {
        sluice_input inputs[] = {{sessions[3], base.ids + at - 50, at % 3 ? 1 : 9, 0},
                                 {sessions[2], base.ids + at, 1, 0},
                                 {sessions[0], base.ids + at - 100, 1, 0}};
        engines_step(engine, inputs, at % 2 ? 3 : 2, keep_one_input, &kept);
    }
    for (int i = 0; i < 4; i++)
        sluice_session_close(sessions[i]);
    sluice_engine_close(engine);
    assert_int_equal(kept.rows.count, PROMPT + DECODED);
    same_as_base(&kept.rows, "company", 4);
}

static void one_token_at_a_time_agrees_with_prefill(void **state)
{
    (void)state;
    sluice_engine *engine = engines_open(NULL, NULL);
    sluice_session *session = engines_session(engine);
    engines_rows rows = engines_rows_new(engine, PROMPT);
    for (int32_t at = 0; at < PROMPT; at++) {
        sluice_input input = {session, base.ids + at, 1, 0};
        engines_step(engine, &input, 1, engines_rows_keep, &rows);
    }
    for (size_t i = 0; i < (size_t)PROMPT * (size_t)rows.vocab; i++)
        if (!(fabsf(rows.logits[i] - base.rows.logits[i]) <= 1e-3f))
            fail_msg("position %zu, token %zu: %.6f one at a time, %.6f in prefill",
                     i / (size_t)rows.vocab, i % (size_t)rows.vocab, (double)rows.logits[i],
                     (double)base.rows.logits[i]);
    engines_rows_free(&rows);

    int32_t slow[32], fast[32], count;
    engines_generate(session, base.ids + PROMPT, 1, 32, slow, &count);
    assert_int_equal(count, 32);
    sluice_session_clear(session);
    engines_generate(session, base.ids, PROMPT + 1, 32, fast, &count);
    assert_memory_equal(slow, fast, sizeof slow);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(cache_sizes_change_nothing),
        cmocka_unit_test(chunk_sizes_change_nothing),
        cmocka_unit_test(io_engines_change_nothing),
        cmocka_unit_test(prompts_may_be_sliced_at_any_multiple_of_64),
        cmocka_unit_test(company_in_the_batch_changes_nothing),
        cmocka_unit_test(one_token_at_a_time_agrees_with_prefill),
    };
    return cmocka_run_group_tests(tests, run_base, free_base);
}
