/* Training runs on Nano: what must not change a run does not change a bit of it, a run that was
 * interrupted goes on as if it had not been, and what cannot be gone on from keeps its checkpoint.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/train.h"
#include "support/engines.h"
#include "support/folders.h"

#define STEPS 4

static char dir[FOLDERS_PATH_MAX];
static const char *data;

/* What a run said of itself. */
typedef struct run_log {
    sluice_train_plan plan;
    sluice_train_progress last;
    int32_t steps_seen, stop_after; /* stop_after 0: never */
    double losses[16], validations[16];
    uint64_t bytes_read;
} run_log;

static void on_start(void *context, const sluice_train_plan *plan)
{
    ((run_log *)context)->plan = *plan;
}

static void on_progress(void *context, const sluice_train_progress *progress)
{
    run_log *log = context;
    log->last = *progress;
    log->bytes_read += progress->bytes_read;
    log->losses[log->steps_seen] = progress->loss;
    log->validations[log->steps_seen++] = progress->validation_loss;
}

static bool on_interrupted(void *context)
{
    const run_log *log = context;
    return log->stop_after && log->last.step >= log->stop_after;
}

static sluice_train_options options_of(const char *name)
{
    sluice_train_options o = sluice_train_options_default();
    o.data = data;
    o.out = folders_path(dir, name);
    o.rank = 2;
    o.rate = 5e-3f;
    o.steps = STEPS;
    o.context = 64;
    o.validation_share = 0.2;
    o.targets = "shared";
    return o;
}

#define EVERYTHING "attn,gdn,shared,experts:5%"

static sluice_status train(const sluice_engine_options *engine, sluice_train_options o,
                           run_log *log, sluice_error *err)
{
    sluice_engine_options with = engine ? *engine : engines_options();
    run_log unused = {.stop_after = 0};
    if (!log) log = &unused;
    o.started = on_start;
    o.progress = on_progress;
    o.context_user = log;
    with.interrupted = on_interrupted;
    with.callback_context = log;
    return sluice_train(engines_source_path("models/nano"), &with, &o, err);
}

static void must_train(const sluice_engine_options *engine, sluice_train_options o, run_log *log)
{
    sluice_error err = {0};
    if (train(engine, o, log, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

static void assert_same_file(const char *a, const char *b, const char *file)
{
    size_t left_bytes, right_bytes;
    char *left = folders_load(folders_path(folders_path(dir, a), file), &left_bytes);
    char *right = folders_load(folders_path(folders_path(dir, b), file), &right_bytes);
    if (left_bytes != right_bytes || memcmp(left, right, left_bytes) != 0)
        fail_msg("%s differs between %s and %s", file, a, b);
    free(left);
    free(right);
}

static void assert_same_run(const char *a, const char *b)
{
    assert_same_file(a, b, "adapter_model.safetensors");
    assert_same_file(a, b, "adapter_config.json");
    assert_same_file(a, b, "state.safetensors");
}

static void a_run_learns_and_writes_everything(void **state)
{
    run_log log = {.stop_after = 0};
    sluice_train_options o = options_of("first");
    static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors",
                                        "state.safetensors", "log.jsonl", "loss.svg"};
    (void)state;
    o.targets = EVERYTHING;
    o.validate_every = 2;
    must_train(NULL, o, &log);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_true(folders_exists(folders_path(o.out, files[i])));
    assert_int_equal(log.steps_seen, STEPS);
    assert_int_equal(log.plan.samples + log.plan.validation_samples, 24);
    assert_true(log.plan.validation_samples > 0);
    assert_int_equal(log.plan.experts, 26); /* 5% of 512, and one more rather than one less */
    assert_int_equal(log.plan.experts_total, 512);
    assert_int_equal(log.plan.parameters * 4, log.plan.adapter_bytes);
    assert_int_equal(log.plan.resumed_step, 0);
    assert_true(isnan(log.validations[0]) && isnan(log.validations[2]));
    assert_true(log.validations[3] < log.validations[1]);
    assert_true(log.bytes_read > 0 && log.last.tokens > 0 && log.last.targets > 0);
    assert_int_equal(log.last.step, STEPS);
}

static void nothing_of_the_machine_changes_a_bit(void **state)
{
    sluice_engine_options engine = engines_options();
    sluice_train_options o = options_of("usual");
    run_log small = {.stop_after = 0}, whole = {.stop_after = 0};
    (void)state;
    o.targets = EVERYTHING;
    must_train(NULL, o, NULL);
    o.out = folders_path(dir, "smallest");
    engine.threads = 1;
    engine.cache_bytes = 1 << 20; /* the least that a step takes is 12 records */
    engine.io = "pread";
    must_train(&engine, o, &small);
    assert_same_run("usual", "smallest");
    o.out = folders_path(dir, "whole");
    engine = engines_options();
    engine.threads = 3;
    engine.cache_bytes = 64 << 20; /* every expert stays */
    must_train(&engine, o, &whole);
    assert_same_run("usual", "whole");
    assert_true(whole.bytes_read > 0 && small.bytes_read > 2 * whole.bytes_read);
    assert_memory_equal(small.losses, whole.losses, sizeof small.losses);
    assert_true(whole.losses[STEPS - 1] < whole.losses[0]);
}

static void layer_inputs_on_disk_change_no_bit(void **state)
{
    sluice_engine_options engine = engines_options();
    sluice_train_options o = options_of("spilled");
    sluice_error err = {0};
    (void)state;
    /* Within 16 MiB of the least memory that training goes on in: there is no place for the 25 MB
     * of layer inputs of 2048 rows. */
    uint64_t low = 20 << 20, high = 400 << 20;
    o.context = 2048;
    o.steps = 1;
    while (high - low > 16 << 20) {
        engine.memory_bytes = (low + high) / 2;
        const sluice_status status = train(&engine, o, NULL, &err);
        if (status == SLUICE_OK) {
            high = engine.memory_bytes;
        } else {
            assert_int_equal(status, SLUICE_NO_MEMORY);
            low = engine.memory_bytes;
        }
    }
    assert_non_null(strstr(err.detail, "not enough to train"));
    engine.memory_bytes = high;
    must_train(&engine, o, NULL);
    o.out = folders_path(dir, "kept");
    engine.memory_bytes = (uint64_t)1 << 30;
    must_train(&engine, o, NULL);
    assert_same_run("spilled", "kept");
}

/* The least memory in which a run goes on, within 4 MiB. */
static uint64_t least_memory(sluice_train_options o, sluice_error *err)
{
    sluice_engine_options engine = engines_options();
    uint64_t low = 64 << 20, high = 192 << 20;
    o.out = folders_path(dir, "least");
    o.steps = 1;
    while (high - low > 4 << 20) {
        engine.memory_bytes = (low + high) / 2;
        const sluice_status status = train(&engine, o, NULL, err);
        if (status == SLUICE_OK) {
            high = engine.memory_bytes;
        } else {
            assert_int_equal(status, SLUICE_NO_MEMORY);
            low = engine.memory_bytes;
        }
    }
    return high;
}

/* The number that follows words. */
static int number_after(const char *text, const char *words)
{
    const char *at = strstr(text, words);
    if (!at) fail_msg("\"%s\" does not say \"%s\"", text, words);
    return atoi(at + strlen(words));
}

static void gradients_and_moments_on_disk_change_no_bit(void **state)
{
    sluice_engine_options tight = engines_options();
    sluice_train_options o = options_of("tight");
    run_log log = {.stop_after = 0}, kept = {.stop_after = 0};
    sluice_error err = {0};
    (void)state;
    o.targets = "shared,experts";
    o.rank = 6; /* 4.2 M floats */
    o.steps = 3;
    o.context = 32;
    o.accumulate = 2;
    o.dropout = 0.1f;
    tight.memory_bytes = least_memory(o, &err);
    /* A refusal's advice is good. */
    sluice_train_options less = o;
    sluice_engine_options refused = tight;
    less.steps = 1;
    less.out = folders_path(dir, "least");
    refused.memory_bytes -= 8 << 20;
    assert_int_equal(train(&refused, less, NULL, &err), SLUICE_NO_MEMORY);
    less.rank = number_after(err.detail, "; rank ");
    assert_true(less.rank > 0 && less.rank < o.rank);
    must_train(&refused, less, NULL);

    must_train(&tight, o, &log);
    assert_int_equal(log.plan.spilled_bytes, 3 * log.plan.adapter_bytes);
    o.out = folders_path(dir, "kept-all");
    must_train(NULL, o, &kept);
    assert_int_equal(kept.plan.spilled_bytes, 0);
    assert_same_run("tight", "kept-all");
    /* Begun in memory, gone on with on disk. */
    o.out = folders_path(dir, "begun");
    log = (run_log){.stop_after = 1};
    assert_int_equal(train(NULL, o, &log, &err), SLUICE_CANCELLED);
    o.resume = true;
    log = (run_log){.stop_after = 0};
    must_train(&tight, o, &log);
    assert_int_equal(log.plan.resumed_step, 1);
    assert_same_run("begun", "kept-all");
}

static void an_interrupted_run_goes_on_bit_for_bit(void **state)
{
    run_log log = {.stop_after = 2};
    sluice_train_options o = options_of("parts");
    sluice_error err = {0};
    (void)state;
    o.dropout = 0.1f;
    o.accumulate = 2;
    o.save_every = 100;
    o.validate_every = 3;
    sluice_train_options whole = o;
    whole.out = folders_path(dir, "one-piece");
    must_train(NULL, whole, NULL);

    o.resume = true; /* of nothing: begins */
    assert_int_equal(train(NULL, o, &log, &err), SLUICE_CANCELLED);
    assert_non_null(strstr(err.detail, "after step 2 of 4"));
    assert_int_equal(log.steps_seen, 2);
    log = (run_log){.stop_after = 3};
    assert_int_equal(train(NULL, o, &log, &err), SLUICE_CANCELLED);
    assert_int_equal(log.plan.resumed_step, 2);
    assert_int_equal(log.steps_seen, 1);
    must_train(NULL, o, NULL);
    assert_same_run("one-piece", "parts");
    log = (run_log){.stop_after = 0};
    must_train(NULL, o, &log); /* it is done: nothing happens */
    assert_int_equal(log.steps_seen, 0);
    assert_same_run("one-piece", "parts");

    char *text = folders_load(folders_path(o.out, "log.jsonl"), NULL);
    for (int i = 1; i <= STEPS; i++) {
        char step[32];
        snprintf(step, sizeof step, "{\"step\": %d,", i);
        const char *at = strstr(text, step);
        assert_non_null(at);
        assert_null(strstr(at + 1, step));
    }
    free(text);
}

static void another_run_is_not_gone_on_with(void **state)
{
    sluice_train_options o = options_of("settings");
    sluice_error err = {0};
    (void)state;
    o.steps = 1;
    must_train(NULL, o, NULL);
    o.resume = true;
    o.rate *= 2;
    assert_int_equal(train(NULL, o, NULL, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "other settings: rate 0.005, not rate 0.01;"));
    o.rate /= 2;
    const char *path = folders_path(o.out, "state.safetensors");
    size_t bytes;
    char *text = folders_load(path, &bytes);
    text[bytes - 5] ^= 64;
    folders_save(path, text, bytes);
    assert_int_equal(train(NULL, o, NULL, &err), SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "state.safetensors: its checksum"));
    folders_save(path, text, bytes / 2);
    assert_int_equal(train(NULL, o, NULL, &err), SLUICE_CORRUPT);
    free(text);
}

static void a_loss_that_is_no_number_keeps_the_last_good_checkpoint(void **state)
{
    sluice_train_options o = options_of("broken");
    sluice_error err = {0};
    run_log log = {.stop_after = 0};
    size_t bytes;
    (void)state;
    o.clip = 0.0f;
    o.save_every = 1;
    o.warmup_steps = 2; /* half the rate first: that goes well */
    o.rate = 1e-3f;
    o.steps = 1;
    must_train(NULL, o, NULL);
    o.steps = STEPS;
    o.rate = 1e30f;
    assert_int_equal(train(NULL, o, &log, &err), SLUICE_CORRUPT);
    assert_int_equal(log.steps_seen, 1);
    assert_non_null(strstr(err.detail, "step 2: "));
    /* The values after step 1 never gave a number: they did not replace those of the run before. */
    assert_non_null(strstr(err.detail, "there is no checkpoint yet"));
    char *text = folders_load(folders_path(o.out, "adapter_model.safetensors"), &bytes);
    o = options_of("broken-first");
    o.clip = 0.0f;
    o.warmup_steps = 2;
    o.rate = 1e-3f;
    o.steps = 1;
    must_train(NULL, o, NULL);
    assert_same_file("broken", "broken-first", "adapter_model.safetensors");
    free(text);
}

static void expect_refused(sluice_train_options o, sluice_status status, const char *words)
{
    sluice_error err = {0};
    assert_int_equal(train(NULL, o, NULL, &err), status);
    if (!strstr(err.detail, words)) fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
    assert_false(folders_exists(folders_path(o.out, "adapter_model.safetensors")));
}

static void what_cannot_be_trained_is_refused_before_anything_is_written(void **state)
{
    const sluice_train_options good = options_of("refused");
    (void)state;
    sluice_train_options o = good;
    o.data = folders_path(dir, "silent.jsonl");
    const char *silent = "{\"text\": \"x y\"}\n{\"messages\": [{\"role\": \"user\", \"content\": "
                         "\"Hi\"}]}\n";
    folders_save(o.data, silent, strlen(silent));
    expect_refused(o, SLUICE_BAD_INPUT, "silent.jsonl:2: ");
    o = good;
    o.data = "/nowhere.jsonl";
    expect_refused(o, SLUICE_NOT_FOUND, "/nowhere.jsonl");
    o = good;
    o.context = 16;
    o.refuse_long = true;
    expect_refused(o, SLUICE_LIMIT, "data.jsonl:1: ");
    o = good;
    o.context = 1 << 14;
    expect_refused(o, SLUICE_USAGE, "over the model's 8192");
    o = good;
    o.targets = "head";
    expect_refused(o, SLUICE_USAGE, "'head' is not a target");
    o = good;
    o.rate = NAN;
    expect_refused(o, SLUICE_USAGE, "rate");
    o = good;
    o.dropout = 1.0f;
    expect_refused(o, SLUICE_USAGE, "dropout");
    o = good;
    o.rank = 0;
    expect_refused(o, SLUICE_USAGE, "rank 0");
    o = good;
    o.out = folders_path(data, "below-a-file");
    sluice_error err = {0};
    assert_true(train(NULL, o, NULL, &err) != SLUICE_OK);
    if (!strstr(err.detail, "data.jsonl")) fail_msg("%s", err.detail);
}

static void epochs_are_passes_over_the_samples(void **state)
{
    sluice_train_options o = options_of("epochs");
    run_log log = {.stop_after = 0};
    (void)state;
    o.steps = 0;
    o.epochs = 1.0;
    o.context = 1024; /* the whole of it is one batch */
    o.validation_share = 0.0;
    must_train(NULL, o, &log);
    assert_int_equal(log.plan.steps, 2); /* 16 samples at most are packed into one row */
    assert_int_equal(log.plan.validation_samples, 0);
    assert_true(isnan(log.last.validation_loss));
}

static int set_up(void **state)
{
    char text[24 * 160];
    size_t at = 0;
    (void)state;
    folders_make(dir);
    data = folders_path(dir, "data.jsonl");
    for (int i = 0; i < 24; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "{\"question\": \"What comes after %d?\", \"answer\": \"@next{%d | "
                               "%d}\"}\n",
                               i * 3, i * 3, i * 3 + 1);
    folders_save(data, text, at);
    return 0;
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
        cmocka_unit_test(a_run_learns_and_writes_everything),
        cmocka_unit_test(nothing_of_the_machine_changes_a_bit),
        cmocka_unit_test(layer_inputs_on_disk_change_no_bit),
        cmocka_unit_test(gradients_and_moments_on_disk_change_no_bit),
        cmocka_unit_test(an_interrupted_run_goes_on_bit_for_bit),
        cmocka_unit_test(another_run_is_not_gone_on_with),
        cmocka_unit_test(a_loss_that_is_no_number_keeps_the_last_good_checkpoint),
        cmocka_unit_test(what_cannot_be_trained_is_refused_before_anything_is_written),
        cmocka_unit_test(epochs_are_passes_over_the_samples),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
