/* Conversion: every value is kept, nothing depends on threads or on being killed, nothing
 * half-written is ever seen, and a shard is deleted only when all of it is safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sluice/convert.h"
#include "support/conversions.h"
#include "support/folders.h"
#include "support/same_weights.h"

static void bundled_models_keep_every_weight(void **state)
{
    (void)state;
    static const char *const models[] = {
        "models/nano",
        "tests/data/tiny/hf-bf16-flat",
        "tests/data/tiny/hf-split-f32-sharded",
        "tests/data/tiny/mlx-2bit-g64",
        "tests/data/tiny/mlx-8bit-g32",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const char *source = folders_path(SLUICE_SOURCE_DIR, models[i]);
        const char *out = conversions_path("out");
        conversions_run(source, out, NULL);
        conversions_verify(out);
        same_weights_assert(source, out);
        folders_remove(out);
    }
}

static void every_bits_group_and_layout_keeps_every_weight(void **state)
{
    (void)state;
    static const int bits[] = {2, 3, 4, 5, 6, 8}, groups[] = {32, 64, 128};
    static const char *const dtypes[] = {"BF16", "F16", "F32"};
    unsigned n = 0;
    for (size_t b = 0; b < 6; b++)
        for (size_t g = 0; g < 3; g++, n++) {
            random_source kind = {.bits = bits[b],
                                  .group = groups[g],
                                  .dtype = dtypes[(b + g) % 3],
                                  .layout = (random_layout)(n % 3),
                                  .mlx = n % 2 == 0,
                                  .tied = n % 4 == 3,
                                  .shards = 1 + (int)(n % 4),
                                  .mtp_layers = (int)(n % 3),
                                  .seed = n};
            const char *source = conversions_source("source", kind), *out = conversions_path("out");
            conversions_run(source, out, NULL);
            same_weights_assert(source, out);
            folders_remove(source);
            folders_remove(out);
        }
}

static void plain_weights_of_every_dtype_and_layout_are_kept(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"BF16", "F16", "F32"};
    for (unsigned n = 0; n < 9; n++) {
        random_source kind = {.dtype = dtypes[n / 3],
                              .layout = (random_layout)(n % 3),
                              .mlx = n % 2 == 1,
                              .shards = 1 + (int)(n % 3),
                              .seed = n};
        const char *source = conversions_source("source", kind), *out = conversions_path("out");
        conversions_run(source, out, NULL);
        same_weights_assert(source, out);
        folders_remove(source);
        folders_remove(out);
    }
}

static void a_container_does_not_depend_on_threads(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual());
    sluice_convert_options one = {.threads = 1}, many = {.threads = 5};
    conversions_run(source, conversions_path("one"), &one);
    conversions_run(source, conversions_path("many"), &many);
    folders_assert_equal(conversions_path("one"), conversions_path("many"));
}

static void the_text_files_are_kept_byte_for_byte(void **state)
{
    (void)state;
    const char *source = folders_path(SLUICE_SOURCE_DIR, "models/nano"),
               *out = conversions_path("out");
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "generation_config.json"};
    conversions_run(source, out, NULL);
    for (size_t i = 0; i < 4; i++) {
        char *left = folders_load(folders_path(source, names[i]), NULL);
        char *right = folders_load(folders_path(out, names[i]), NULL);
        assert_string_equal(left, right);
        free(left);
        free(right);
    }
}

static void requantising_stays_within_a_step_of_the_source(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int bits;
    } targets[] = {{"q2", 2}, {"q3", 3}, {"q4", 4}, {"q5", 5}, {"q6", 6}, {"q8", 8}, {"bf16", 16}};
    random_source kind = {.dtype = "F32", .layout = RANDOM_FUSED, .shards = 2, .seed = 3};
    const char *source = conversions_source("source", kind), *out = conversions_path("out");
    for (size_t i = 0; i < 7; i++) {
        sluice_convert_options options = {.experts = targets[i].name, .trunk = targets[6 - i].name};
        conversions_run(source, out, &options);
        conversions_verify(out);
        same_weights_assert_near(source, out, targets[i].bits, targets[6 - i].bits);
        folders_remove(out);
    }
}

static void requantising_to_the_bits_that_are_there_changes_nothing(void **state)
{
    (void)state;
    random_source kind = conversions_usual();
    kind.group = 32;
    const char *source = conversions_source("source", kind), *out = conversions_path("out");
    sluice_convert_options options = {.experts = "q4", .trunk = "q4"};
    conversions_run(source, out, &options);
    same_weights_assert(source, out);
}

static void a_requantised_config_no_longer_tells_the_old_format(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    sluice_convert_options options = {.experts = "q2"};
    char *before = folders_load(folders_path(source, "config.json"), NULL);
    assert_non_null(strstr(before, "\"quantization\""));
    conversions_run(source, out, &options);
    char *after = folders_load(folders_path(out, "config.json"), NULL);
    assert_null(strstr(after, "\"quantization\""));
    assert_non_null(strstr(after, "\"rms_norm_eps\": 1e-6"));
    free(before);
    free(after);
}

static void an_unknown_target_format_is_refused(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    sluice_convert_options options = {.experts = "q7"};
    conversions_assert_refused(source, out, &options, SLUICE_USAGE, "\"q7\"");
    assert_false(folders_exists(conversions_path("out.partial")));
}

static void an_existing_target_is_refused_and_left_alone(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    mkdir(out, 0777);
    folders_save(folders_path(out, "precious"), "x", 1);
    conversions_assert_refused(source, out, NULL, SLUICE_USAGE, "already exists");
    assert_true(folders_exists(folders_path(out, "precious")));
    folders_delete(folders_path(out, "precious"));
    conversions_run(source, out, NULL); /* an empty folder is as good as none */
    conversions_verify(out);
}

typedef struct seen {
    sluice_convert_plan plan;
    sluice_convert_progress last;
    int calls;
} seen;

static bool note_plan(void *context, const sluice_convert_plan *plan)
{
    ((seen *)context)->plan = *plan;
    return true;
}

static bool note_progress(void *context, const sluice_convert_progress *progress)
{
    seen *to = context;
    assert_true(progress->bytes_done >= to->last.bytes_done);
    assert_true(progress->bytes_done <= progress->bytes_total);
    to->last = *progress;
    to->calls++;
    return true;
}

static bool stop_at_start(void *context, const sluice_convert_plan *plan)
{
    (void)context;
    (void)plan;
    return false;
}

static void the_plan_and_the_progress_say_what_happens(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    seen to = {0};
    sluice_convert_options options = {
        .starting = note_plan, .progress = note_progress, .context = &to};
    sluice_convert_plan plan;
    assert_int_equal(sluice_convert_measure(source, out, NULL, &plan, NULL), SLUICE_OK);
    assert_false(folders_exists(conversions_path("out.partial")));
    conversions_run(source, out, &options);
    assert_int_equal(to.plan.output_bytes, plan.output_bytes);
    assert_int_equal(to.plan.needed_bytes, plan.needed_bytes);
    assert_true(to.plan.needed_bytes >= to.plan.output_bytes);
    assert_int_equal(to.plan.written_bytes, 0);
    assert_true(to.calls >= 1);
    assert_int_equal(to.last.bytes_done, to.plan.source_bytes);
    assert_int_equal(to.last.files_done, to.last.files_total);
    size_t bytes = folders_file_bytes(folders_path(out, "config.json")) +
                   folders_file_bytes(folders_path(out, "tokenizer.json")) +
                   folders_file_bytes(folders_path(out, "trunk.safetensors"));
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "experts-%03d.safetensors", i);
        bytes += folders_file_bytes(folders_path(out, name));
    }
    assert_int_equal(bytes, plan.output_bytes);
}

static void a_conversion_refused_at_the_start_leaves_nothing(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    sluice_convert_options options = {.starting = stop_at_start};
    conversions_assert_refused(source, out, &options, SLUICE_CANCELLED, "cancelled");
    assert_false(folders_exists(out));
    assert_false(folders_exists(conversions_path("out.partial")));
}

static uint64_t bytes_read_so_far(void)
{
    FILE *io = fopen("/proc/self/io", "r");
    unsigned long long bytes = 0;
    if (!io) return 0;
    if (fscanf(io, "rchar: %llu", &bytes) != 1) bytes = 0;
    fclose(io);
    return bytes;
}

static void each_source_byte_is_read_once(void **state)
{
    (void)state;
    const char *source = folders_path(SLUICE_SOURCE_DIR, "models/nano"),
               *out = conversions_path("out");
    seen to = {0};
    sluice_convert_options options = {.starting = note_plan, .context = &to};
    uint64_t before = bytes_read_so_far();
    if (!before) skip();
    conversions_run(source, out, &options);
    uint64_t read = bytes_read_so_far() - before;
    /* Headers, index and text files are small; the tensors are the rest. */
    uint64_t small = 1 << 20;
    assert_in_range(read, to.plan.source_bytes, to.plan.source_bytes + small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversions_setup, conversions_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bundled_models_keep_every_weight),
        TEST(every_bits_group_and_layout_keeps_every_weight),
        TEST(plain_weights_of_every_dtype_and_layout_are_kept),
        TEST(a_container_does_not_depend_on_threads),
        TEST(the_text_files_are_kept_byte_for_byte),
        TEST(requantising_stays_within_a_step_of_the_source),
        TEST(requantising_to_the_bits_that_are_there_changes_nothing),
        TEST(a_requantised_config_no_longer_tells_the_old_format),
        TEST(an_unknown_target_format_is_refused),
        TEST(an_existing_target_is_refused_and_left_alone),
        TEST(the_plan_and_the_progress_say_what_happens),
        TEST(a_conversion_refused_at_the_start_leaves_nothing),
        TEST(each_source_byte_is_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
