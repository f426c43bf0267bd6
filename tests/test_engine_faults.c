/* Expert files that break while the engine runs: a clean error that names the place, sessions that
 * go on where they were once the file is whole again, to the bit. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/file.h"
#include "os/folder.h"
#include "support/engines.h"
#include "support/reference.h"

#define PREFIX 130
#define SINGLE 7 /* tokens run one by one, so that a block of 64 is not chunked */
#define MORE 12
#define BROKEN "experts-005.safetensors"

static char folder[64], broken[128];
static char *whole; /* the bytes of the file that will break */
static size_t whole_bytes;
static reference *expected;
static const int32_t *ids;

static void copy_file(const char *from, const char *name)
{
    char *source = sluice_file_join(from, name), *target = sluice_file_join(folder, name), *bytes;
    size_t n;
    assert_int_equal(sluice_file_load(source, (size_t)1 << 30, &bytes, &n, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_save(target, bytes, n, NULL), SLUICE_OK);
    free(bytes);
    free(source);
    free(target);
}

static int copy_nano(void **state)
{
    char *dir, name[64];
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sluice-faults-%d", (int)getpid());
    snprintf(broken, sizeof broken, "%s/%s", folder, BROKEN);
    assert_int_equal(sluice_folder_make(folder, NULL), SLUICE_OK);
    assert_int_equal(sluice_model_locate(NULL, NULL, &dir, NULL), SLUICE_OK);
    copy_file(dir, "config.json");
    copy_file(dir, "tokenizer.json");
    copy_file(dir, "trunk.safetensors");
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "experts-%03d.safetensors", i);
        copy_file(dir, name);
    }
    free(dir);
    assert_int_equal(sluice_file_load(broken, (size_t)1 << 30, &whole, &whole_bytes, NULL),
                     SLUICE_OK);
    expected = reference_load(engines_source_path("models/nano/reference.json"));
    for (int32_t i = 0; i < expected->cases_count; i++)
        if (expected->cases[i].count >= 700) ids = expected->cases[i].ids;
    return 0;
}

static int remove_nano(void **state)
{
    (void)state;
    free(whole);
    reference_free(expected);
    return sluice_folder_remove_tree(folder, NULL) == SLUICE_OK ? 0 : -1;
}

/* In place: the engine has the file open. */
static void write_broken(const char *bytes, size_t n)
{
    int file = open(broken, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, (off_t)n), 0);
    assert_int_equal(pwrite(file, bytes, n, 0), n);
    assert_int_equal(fsync(file), 0);
    close(file);
}

static void prefix(sluice_engine *engine, sluice_session *session)
{
    for (int32_t at = 0; at < PREFIX;) {
        int32_t count = at < 64 ? 64 : at < 64 + SINGLE ? 1 : PREFIX - at;
        sluice_input input = {session, ids + at, count, count};
        engines_step(engine, &input, 1, NULL, NULL);
        at += count;
    }
}

static sluice_status more(sluice_engine *engine, sluice_session *session, engines_rows *rows,
                          sluice_error *err)
{
    for (int32_t i = 0; i < MORE; i++) {
        sluice_input input = {session, ids + PREFIX + i, 1, 0};
        sluice_status status = sluice_engine_step(engine, &input, 1, engines_rows_keep, rows, err);
        if (status != SLUICE_OK) return status;
    }
    return SLUICE_OK;
}

static sluice_engine *open_small_cache(bool verify)
{
    sluice_engine_options options = engines_options();
    options.cache_bytes = 600000; /* hardly anything stays: a step reads */
    options.verify_reads = verify;
    return engines_open(folder, &options);
}

/* Runs into the fault, then, with the file whole again, must give what an undisturbed run gives. */
static void fail_and_recover(bool verify, const char *bytes, size_t n, sluice_status status)
{
    sluice_error err = {0};
    int32_t count;
    sluice_engine *engine = open_small_cache(verify);
    sluice_session *session = engines_session(engine);
    engines_rows undisturbed = engines_rows_new(engine, MORE);
    engines_rows recovered = engines_rows_new(engine, MORE);
    prefix(engine, session);
    assert_int_equal(more(engine, session, &undisturbed, &err), SLUICE_OK);

    sluice_session_clear(session);
    prefix(engine, session);
    write_broken(bytes, n);
    for (int again = 0; again < 2; again++) {
        sluice_status got = more(engine, session, &recovered, &err);
        if (got != status) fail_msg("%s: %s", sluice_status_name(got), err.detail);
        assert_int_equal(recovered.count, 0);
        assert_non_null(strstr(err.detail, BROKEN));
        assert_non_null(strstr(err.detail, "layer 5"));
        const int32_t *tokens = sluice_session_tokens(session, &count);
        assert_int_equal(count, PREFIX);
        assert_memory_equal(tokens, ids, PREFIX * sizeof *ids);
    }
    write_broken(whole, whole_bytes);
    if (more(engine, session, &recovered, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    assert_memory_equal(recovered.logits, undisturbed.logits,
                        (size_t)MORE * (size_t)recovered.vocab * sizeof(float));
    engines_rows_free(&recovered);
    engines_rows_free(&undisturbed);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void a_file_cut_short_while_running_is_an_error_and_then_forgotten(void **state)
{
    (void)state;
    fail_and_recover(false, whole, 8192, SLUICE_IO);
}

static void changed_bytes_are_found_where_reads_are_verified(void **state)
{
    (void)state;
    char *changed = malloc(whole_bytes);
    assert_non_null(changed);
    memcpy(changed, whole, whole_bytes);
    for (size_t i = 8192; i < whole_bytes; i += 512)
        changed[i] ^= 1;
    fail_and_recover(true, changed, whole_bytes, SLUICE_CORRUPT);
    free(changed);
}

static void a_damaged_trunk_is_refused_by_tensor(void **state)
{
    (void)state;
    char *trunk = sluice_file_join(folder, "trunk.safetensors"), *bytes;
    size_t n;
    sluice_error err = {0};
    sluice_engine *engine;
    assert_int_equal(sluice_file_load(trunk, (size_t)1 << 30, &bytes, &n, NULL), SLUICE_OK);
    for (int part = 2; part < 6; part++) {
        bytes[n * (size_t)part / 6] ^= 4;
        assert_int_equal(sluice_file_save(trunk, bytes, n, NULL), SLUICE_OK);
        assert_int_equal(sluice_engine_open(folder, NULL, &engine, &err), SLUICE_CORRUPT);
        assert_non_null(strstr(err.detail, "checksum"));
        assert_non_null(strstr(err.detail, "tensor "));
        bytes[n * (size_t)part / 6] ^= 4;
    }
    assert_int_equal(sluice_file_save(trunk, bytes, n, NULL), SLUICE_OK);
    sluice_engine_close(engines_open(folder, NULL));
    free(bytes);
    free(trunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_short_while_running_is_an_error_and_then_forgotten),
        cmocka_unit_test(changed_bytes_are_found_where_reads_are_verified),
        cmocka_unit_test(a_damaged_trunk_is_refused_by_tensor),
    };
    return cmocka_run_group_tests(tests, copy_nano, remove_nano);
}
