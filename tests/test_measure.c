/* Probes of disk and memory, and running a program under a memory limit. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/machine.h"
#include "sluice/synth.h"
#include "support/folders.h"

static void memory_is_read_at_a_plausible_speed(void **state)
{
    (void)state;
    double speed = 0;
    assert_int_equal(sluice_measure_memory(1, 0.05, &speed, NULL), SLUICE_OK);
    assert_true(speed > 1e6 && speed < 1e13);
}

static void a_container_s_own_records_are_read(void **state)
{
    (void)state;
    char dir[FOLDERS_PATH_MAX];
    folders_make(dir);
    const char *model = folders_path(dir, "model"), *geometry = folders_path(dir, "config.json");
    static const char config[] =
        "{\"model_type\":\"qwen3_5_moe_text\",\"num_hidden_layers\":2,\"hidden_size\":64,"
        "\"vocab_size\":300,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":32,"
        "\"linear_num_key_heads\":1,\"linear_num_value_heads\":2,\"linear_key_head_dim\":32,"
        "\"linear_value_head_dim\":32,\"linear_conv_kernel_dim\":4,\"num_experts\":16,"
        "\"num_experts_per_tok\":2,\"moe_intermediate_size\":64,"
        "\"shared_expert_intermediate_size\":64,\"max_position_embeddings\":4096}";
    folders_save(geometry, config, sizeof config - 1);
    const sluice_synth_options synth = {.geometry = geometry};
    sluice_error err = {0};
    sluice_synth(model, &synth, &err);
    assert_string_equal(err.detail, "");

    static const char *const engines[] = {NULL, "pread", "buffered", "mmap"};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        const sluice_disk_options options = {.io = engines[i], .seconds = 0.02};
        sluice_disk_speed speed = {0};
        sluice_measure_disk(model, &options, &speed, &err);
        assert_string_equal(err.detail, "");
        assert_true(speed.bytes_per_second > 1e5);
        assert_int_equal(speed.read_bytes, 8192);
        assert_true(speed.depth >= 4);
        if (engines[i]) assert_non_null(strstr(speed.io, engines[i]));
    }
    const sluice_disk_options odd = {.io = "tape"};
    sluice_disk_speed speed;
    assert_int_equal(sluice_measure_disk(model, &odd, &speed, &err), SLUICE_USAGE);
    folders_remove(dir);
}

static void what_cannot_be_measured_is_refused(void **state)
{
    (void)state;
    sluice_error err = {0};
    sluice_disk_speed speed;
    assert_int_equal(sluice_measure_disk("/no/such/folder", NULL, &speed, &err), SLUICE_NOT_FOUND);
    const sluice_disk_options huge = {.read_bytes = (uint64_t)1 << 40};
    assert_int_equal(sluice_measure_disk("/tmp", &huge, &speed, &err), SLUICE_USAGE);
}

/* Where groups cannot be made there is nothing to test, and the sentence says why. */
static int run_limited(uint64_t bytes, const char *script)
{
    char shell[] = "/bin/sh", option[] = "-c", *words = strdup(script);
    char *const argv[] = {shell, option, words, NULL};
    sluice_error err = {0};
    int status = -1;
    sluice_status ran = sluice_run_limited(bytes, argv, &status, &err);
    free(words);
    if (ran == SLUICE_UNSUPPORTED) {
        fprintf(stderr, "skipped: %s\n", err.detail);
        skip();
    }
    assert_string_equal(err.detail, "");
    return status;
}

static void a_limited_program_gives_its_status_back(void **state)
{
    (void)state;
    assert_int_equal(run_limited(64 << 20, "exit 0"), 0);
    assert_int_equal(run_limited(64 << 20, "exit 37"), 37);
    assert_int_equal(run_limited(64 << 20, "kill -TERM $$"), 128 + 15);
}

static void a_program_over_its_limit_is_ended(void **state)
{
    (void)state;
    /* tail keeps all of a line without an end; the shell reports how its child ended. */
    static const char greedy[] = "head -c 200000000 /dev/zero | tail -n 1 > /dev/null";
    assert_int_equal(run_limited((uint64_t)1 << 30, greedy), 0);
    assert_int_not_equal(run_limited(32 << 20, greedy), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_read_at_a_plausible_speed),
        cmocka_unit_test(a_container_s_own_records_are_read),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
        cmocka_unit_test(a_limited_program_gives_its_status_back),
        cmocka_unit_test(a_program_over_its_limit_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
