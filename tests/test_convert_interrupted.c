/* Conversion that is interrupted: killed at any moment, out of space, without the right to write,
 * beside another one; and the deleting of shards, which is safe in all of these. */
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
#include "support/conversions.h"
#include "support/folders.h"

static bool note_plan(void *context, const sluice_convert_plan *plan)
{
    *(sluice_convert_plan *)context = *plan;
    return true;
}

static void child_converts(const char *source, const char *out,
                           const sluice_convert_options *options)
{
    sluice_error err = {0};
    sluice_status status = sluice_convert(source, out, options, &err);
    if (status != SLUICE_OK) fprintf(stderr, "%s\n", err.detail);
    _exit(status == SLUICE_OK ? 0 : 1);
}

/* Kills the conversion after a random time, again and again, until one comes through. Returns how
 * often it was killed. Whenever OUT exists it must be whole. */
static int convert_with_kills(const char *source, const char *out,
                              const sluice_convert_options *options, sluice_rng *rng,
                              uint64_t longest_us)
{
    for (int kills = 0;; kills++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) child_converts(source, out, options);
        /* From the fortieth on it may live longer each time, so that the test ends. */
        uint64_t limit = longest_us * (uint64_t)(kills < 40 ? 1 : kills - 38);
        struct timespec pause = {0, (long)sluice_rng_below(rng, limit) * 1000};
        pause.tv_sec = pause.tv_nsec / 1000000000;
        pause.tv_nsec %= 1000000000;
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (folders_exists(out)) conversions_verify(out);
        if (folders_exists(out) && !folders_exists(conversions_path("out.partial")))
            return kills; /* killed after its last act */
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return kills;
        }
    }
}

static void a_conversion_killed_at_any_moment_is_resumed(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual());
    conversions_run(source, conversions_path("want"), NULL);
    sluice_rng rng;
    sluice_rng_seed(&rng, 11);
    int kills = 0;
    for (int round = 0; round < 6; round++) {
        const char *out = conversions_path("out");
        kills += convert_with_kills(source, out, NULL, &rng, 30000);
        /* Killed after the last rename: what is left is cleaned up by the next call. */
        if (folders_exists(conversions_path("out.partial"))) conversions_run(source, out, NULL);
        assert_false(folders_exists(conversions_path("out.partial")));
        folders_assert_equal(conversions_path("want"), out);
        folders_remove(out);
    }
    if (!kills) fail_msg("never killed: the pauses are too long");
}

static void a_consuming_conversion_survives_being_killed(void **state)
{
    (void)state;
    random_source kind = conversions_usual();
    kind.shards = 6;
    const char *source = conversions_source("source", kind);
    conversions_run(source, conversions_path("want"), NULL);
    sluice_convert_options options = {.consume = true};
    sluice_rng rng;
    sluice_rng_seed(&rng, 12);
    for (int round = 0; round < 4; round++) {
        const char *copy = conversions_path("copy"), *out = conversions_path("out");
        folders_copy(source, copy);
        convert_with_kills(copy, out, &options, &rng, 30000);
        if (folders_exists(conversions_path("out.partial"))) conversions_run(copy, out, &options);
        folders_assert_equal(conversions_path("want"), out);
        for (int i = 1; i <= 6; i++) {
            char name[64];
            snprintf(name, sizeof name, "model-%05d-of-00006.safetensors", i);
            assert_false(folders_exists(folders_path(copy, name)));
        }
        folders_remove(copy);
        folders_remove(out);
    }
}

static void consume_keeps_a_shard_that_holds_what_is_left_out(void **state)
{
    (void)state;
    random_source kind = conversions_usual();
    kind.vision = true;
    const char *source = conversions_source("source", kind), *out = conversions_path("out");
    sluice_convert_plan plan = {0};
    sluice_convert_options options = {.consume = true, .starting = note_plan, .context = &plan};
    conversions_run(source, out, &options);
    conversions_verify(out);
    assert_int_equal(plan.tensors_left_out, 1);
    assert_int_equal(plan.shards_kept, 1);
    assert_false(folders_exists(folders_path(source, "model-00001-of-00004.safetensors")));
    assert_false(folders_exists(folders_path(source, "model-00003-of-00004.safetensors")));
    assert_true(folders_exists(folders_path(source, "model-00004-of-00004.safetensors")));
    assert_true(folders_exists(folders_path(source, "config.json")));
}

static void consume_needs_less_space(void **state)
{
    (void)state;
    const char *source = folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/hf-split-f32-sharded");
    const char *copy = conversions_path("copy"), *out = conversions_path("out");
    folders_copy(source, copy);
    sluice_convert_plan keeping, consuming;
    sluice_convert_options options = {.consume = true};
    assert_int_equal(sluice_convert_measure(copy, out, NULL, &keeping, NULL), SLUICE_OK);
    assert_int_equal(sluice_convert_measure(copy, out, &options, &consuming, NULL), SLUICE_OK);
    assert_int_equal(consuming.output_bytes, keeping.output_bytes);
    /* Of three shards in the order of the layers, the first goes half-way through. */
    size_t first = folders_file_bytes(folders_path(copy, "model-00001-of-00003.safetensors"));
    assert_true(consuming.needed_bytes < keeping.needed_bytes);
    assert_true(keeping.needed_bytes - consuming.needed_bytes <= 2 * first);
}

static void consume_refuses_links(void **state)
{
    (void)state;
    random_source kind = conversions_usual();
    kind.shards = 1;
    const char *source = conversions_source("source", kind), *out = conversions_path("out");
    const char *path = folders_path(source, "model.safetensors");
    const char *blob = conversions_path("blob");
    assert_int_equal(rename(path, blob), 0);
    assert_int_equal(symlink(blob, path), 0);
    sluice_convert_options options = {.consume = true};
    conversions_assert_refused(source, out, &options, SLUICE_UNSUPPORTED, "model.safetensors");
    assert_true(folders_exists(blob));
    conversions_run(source, out, NULL);
    conversions_verify(out);
}

static void without_consume_the_source_is_untouched(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *copy = conversions_path("copy");
    folders_copy(source, copy);
    conversions_run(source, conversions_path("out"), NULL);
    folders_assert_equal(source, copy);
}

/* A file system that is full in the middle of the work, as far as the process can tell. */
static void a_full_disk_is_one_sentence_and_leaves_no_container(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct rlimit limit = {60000, 60000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        sluice_error err = {0};
        sluice_status status = sluice_convert(source, out, NULL, &err);
        bool good = status == SLUICE_NO_SPACE && strstr(err.detail, "safetensors") &&
                    !strchr(err.detail, '\n');
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_false(folders_exists(out));
    conversions_run(source, out, NULL); /* with space again it goes on */
    conversions_verify(out);
}

static void a_target_that_cannot_be_written_is_one_sentence(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual());
    folders_save(conversions_path("file"), "x", 1);
    conversions_assert_refused(source, conversions_path("file/out"), NULL, SLUICE_IO,
                               "Not a directory");
    conversions_assert_refused(source, "/proc/sluice-test-out", NULL, SLUICE_NOT_FOUND,
                               "/proc/sluice-test");
}

static void a_second_conversion_into_the_same_folder_waits_for_nobody(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    mkdir(conversions_path("out.partial"), 0777);
    int fd = open(conversions_path("out.partial/lock"), O_RDWR | O_CREAT, 0666);
    assert_true(fd >= 0);
    pid_t holder = fork();
    if (!holder) {
        execlp("flock", "flock", "-x", conversions_path("out.partial/lock"), "sleep", "5",
               (char *)NULL);
        _exit(127);
    }
    sluice_error err = {0};
    sluice_status status = SLUICE_OK;
    for (int i = 0; i < 100 && status == SLUICE_OK; i++) {
        usleep(20000);
        if (waitpid(holder, NULL, WNOHANG) == holder) skip(); /* no flock program here */
        if (i < 10) continue;
        status = sluice_convert(source, out, NULL, &err);
    }
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    close(fd);
    assert_int_equal(status, SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "another conversion"));
}

static void a_stale_half_conversion_with_other_options_is_started_over(void **state)
{
    (void)state;
    const char *source = conversions_source("source", conversions_usual()),
               *out = conversions_path("out");
    conversions_run(source, conversions_path("want"), NULL);
    /* The remains of another conversion: its journal and a file of the same name. */
    mkdir(conversions_path("out.partial"), 0777);
    mkdir(conversions_path("out.partial/model"), 0777);
    static const char journal[] = "{\"fingerprint\":\"0123456789abcdef\",\"modified_ns\":{}}";
    folders_save(conversions_path("out.partial/journal.json"), journal, sizeof journal - 1);
    folders_save(conversions_path("out.partial/model/trunk.safetensors"), "x", 1);
    folders_save(conversions_path("out.partial/model/stray"), "x", 1);
    conversions_run(source, out, NULL);
    folders_assert_equal(conversions_path("want"), out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversions_setup, conversions_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_conversion_killed_at_any_moment_is_resumed),
        TEST(a_consuming_conversion_survives_being_killed),
        TEST(consume_keeps_a_shard_that_holds_what_is_left_out),
        TEST(consume_needs_less_space),
        TEST(consume_refuses_links),
        TEST(without_consume_the_source_is_untouched),
        TEST(a_full_disk_is_one_sentence_and_leaves_no_container),
        TEST(a_target_that_cannot_be_written_is_one_sentence),
        TEST(a_second_conversion_into_the_same_folder_waits_for_nobody),
        TEST(a_stale_half_conversion_with_other_options_is_started_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
