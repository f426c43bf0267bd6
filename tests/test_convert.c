/* Conversion: every value is kept, nothing depends on threads or on being killed, nothing
 * half-written is ever seen, and a shard is deleted only when all of it is safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "sluice/convert.h"
#include "support/folders.h"
#include "support/random_source.h"
#include "support/same_weights.h"

static char folder[FOLDERS_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    folders_make(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    return folders_path(folder, name);
}

static void convert(const char *source, const char *out, const sluice_convert_options *options)
{
    sluice_error err = {0};
    if (sluice_convert(source, out, options, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

/* Fails with this status and a sentence that has these words. */
static void assert_refused(const char *source, const char *out,
                           const sluice_convert_options *options, sluice_status want,
                           const char *words)
{
    sluice_error err = {0};
    assert_int_equal(sluice_convert(source, out, options, &err), want);
    assert_int_equal(err.code, want);
    if (!strstr(err.detail, words)) fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
    assert_null(strchr(err.detail, '\n'));
}

static void verify(const char *out)
{
    sluice_error err = {0};
    sluice_verify_report report;
    if (sluice_verify(out, NULL, &report, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    assert_true(report.tensors > 0 && report.records > 0);
    assert_int_equal(report.tensors_bad + report.records_bad, 0);
}

/* A random model in folder/name. */
static const char *make_source(const char *name, random_source source)
{
    const char *dir = in_folder(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    random_source_write(&source, dir);
    return dir;
}

static random_source usual_source(void)
{
    return (random_source){.bits = 4,
                           .group = 64,
                           .dtype = "BF16",
                           .layout = RANDOM_STACKED,
                           .mlx = true,
                           .shards = 3,
                           .mtp_layers = 1,
                           .seed = 7};
}

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
        const char *out = in_folder("out");
        convert(source, out, NULL);
        verify(out);
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
            const char *source = make_source("source", kind), *out = in_folder("out");
            convert(source, out, NULL);
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
        const char *source = make_source("source", kind), *out = in_folder("out");
        convert(source, out, NULL);
        same_weights_assert(source, out);
        folders_remove(source);
        folders_remove(out);
    }
}

static void a_container_does_not_depend_on_threads(void **state)
{
    (void)state;
    const char *source = make_source("source", usual_source());
    sluice_convert_options one = {.threads = 1}, many = {.threads = 5};
    convert(source, in_folder("one"), &one);
    convert(source, in_folder("many"), &many);
    folders_assert_equal(in_folder("one"), in_folder("many"));
}

static void the_text_files_are_kept_byte_for_byte(void **state)
{
    (void)state;
    const char *source = folders_path(SLUICE_SOURCE_DIR, "models/nano"), *out = in_folder("out");
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "generation_config.json"};
    convert(source, out, NULL);
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
    const char *source = make_source("source", kind), *out = in_folder("out");
    for (size_t i = 0; i < 7; i++) {
        sluice_convert_options options = {.experts = targets[i].name, .trunk = targets[6 - i].name};
        convert(source, out, &options);
        verify(out);
        same_weights_assert_near(source, out, targets[i].bits, targets[6 - i].bits);
        folders_remove(out);
    }
}

static void requantising_to_the_bits_that_are_there_changes_nothing(void **state)
{
    (void)state;
    random_source kind = usual_source();
    kind.group = 32;
    const char *source = make_source("source", kind), *out = in_folder("out");
    sluice_convert_options options = {.experts = "q4", .trunk = "q4"};
    convert(source, out, &options);
    same_weights_assert(source, out);
}

static void a_requantised_config_no_longer_tells_the_old_format(void **state)
{
    (void)state;
    const char *source = make_source("source", usual_source()), *out = in_folder("out");
    sluice_convert_options options = {.experts = "q2"};
    char *before = folders_load(folders_path(source, "config.json"), NULL);
    assert_non_null(strstr(before, "\"quantization\""));
    convert(source, out, &options);
    char *after = folders_load(folders_path(out, "config.json"), NULL);
    assert_null(strstr(after, "\"quantization\""));
    assert_non_null(strstr(after, "\"rms_norm_eps\": 1e-6"));
    free(before);
    free(after);
}

static void an_unknown_target_format_is_refused(void **state)
{
    (void)state;
    const char *source = make_source("source", usual_source()), *out = in_folder("out");
    sluice_convert_options options = {.experts = "q7"};
    assert_refused(source, out, &options, SLUICE_USAGE, "\"q7\"");
    assert_false(folders_exists(in_folder("out.partial")));
}

static void an_existing_target_is_refused_and_left_alone(void **state)
{
    (void)state;
    const char *source = make_source("source", usual_source()), *out = in_folder("out");
    mkdir(out, 0777);
    folders_save(folders_path(out, "precious"), "x", 1);
    assert_refused(source, out, NULL, SLUICE_USAGE, "already exists");
    assert_true(folders_exists(folders_path(out, "precious")));
    folders_delete(folders_path(out, "precious"));
    convert(source, out, NULL); /* an empty folder is as good as none */
    verify(out);
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
    const char *source = make_source("source", usual_source()), *out = in_folder("out");
    seen to = {0};
    sluice_convert_options options = {
        .starting = note_plan, .progress = note_progress, .context = &to};
    sluice_convert_plan plan;
    assert_int_equal(sluice_convert_measure(source, out, NULL, &plan, NULL), SLUICE_OK);
    assert_false(folders_exists(in_folder("out.partial")));
    convert(source, out, &options);
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
    const char *source = make_source("source", usual_source()), *out = in_folder("out");
    sluice_convert_options options = {.starting = stop_at_start};
    assert_refused(source, out, &options, SLUICE_CANCELLED, "cancelled");
    assert_false(folders_exists(out));
    assert_false(folders_exists(in_folder("out.partial")));
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
    const char *source = folders_path(SLUICE_SOURCE_DIR, "models/nano"), *out = in_folder("out");
    seen to = {0};
    sluice_convert_options options = {.starting = note_plan, .context = &to};
    uint64_t before = bytes_read_so_far();
    if (!before) skip();
    convert(source, out, &options);
    uint64_t read = bytes_read_so_far() - before;
    /* Headers, index and text files are small; the tensors are the rest. */
    uint64_t small = 1 << 20;
    assert_in_range(read, to.plan.source_bytes, to.plan.source_bytes + small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
