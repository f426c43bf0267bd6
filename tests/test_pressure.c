/* Giving memory back: what a machine's numbers ask for, and an engine that shrinks and grows by
 * them without changing a bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "os/folder.h"
#include "support/engines.h"
#include "support/folders.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TOKENS 8

static char root[FOLDERS_PATH_MAX];

static int make_root(void **state)
{
    (void)state;
    char folder[FOLDERS_PATH_MAX + 32];
    folders_make(root);
    snprintf(folder, sizeof folder, "%s/proc", root);
    return sluice_folder_make(folder, NULL) == SLUICE_OK ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    folders_remove(root);
    return 0;
}

/* A machine of 8 GB with so much free. */
static void say_available(uint64_t bytes)
{
    char text[128];
    int n = snprintf(text, sizeof text, "MemTotal: %llu kB\nMemAvailable: %llu kB\n",
                     (unsigned long long)(8 * GIB / 1024), (unsigned long long)(bytes / 1024));
    folders_save(folders_path(root, "proc/meminfo"), text, (size_t)n);
}

static void a_machine_with_some_memory_left_asks_for_nothing(void **state)
{
    (void)state;
    sluice_memory_limit limit = {.total_bytes = 64 * GIB, .usable_bytes = 512 * MIB};
    assert_int_equal(sluice_pressure_wish(&limit), 0);
    limit = (sluice_memory_limit){
        .total_bytes = 64 * GIB, .group_bytes = GIB, .usable_bytes = 64 * MIB};
    assert_int_equal(sluice_pressure_wish(&limit), 0);
}

static void below_the_reserve_it_wants_twice_the_reserve_free(void **state)
{
    (void)state;
    sluice_memory_limit limit = {.total_bytes = 64 * GIB, .usable_bytes = 100 * MIB};
    assert_int_equal(sluice_pressure_wish(&limit), 412 * MIB);
    limit = (sluice_memory_limit){
        .total_bytes = 64 * GIB, .group_bytes = GIB, .usable_bytes = 12 * MIB};
    assert_int_equal(sluice_pressure_wish(&limit), 52 * MIB);
    limit.usable_bytes = 0;
    assert_int_equal(sluice_pressure_wish(&limit), 64 * MIB);
}

static void plenty_is_offered_less_four_reserves(void **state)
{
    (void)state;
    sluice_memory_limit limit = {.total_bytes = 64 * GIB, .usable_bytes = 10 * GIB};
    assert_int_equal(sluice_pressure_wish(&limit), -(int64_t)(9 * GIB));
}

static uint64_t cache_bytes(const sluice_engine *engine)
{
    sluice_stats stats;
    sluice_engine_stats(engine, &stats);
    return stats.cache_bytes;
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %lu", &pages), 1);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void an_engine_gives_back_and_takes_again_with_the_same_bits(void **state)
{
    (void)state;
    int32_t prompt[100], calm[TOKENS], pressed[3][TOKENS], count;
    for (int i = 0; i < 100; i++)
        prompt[i] = (i * 37 + 11) % 8000;
    sluice_engine *engine = engines_open(NULL, NULL); /* the whole bank fits */
    sluice_session *session = engines_session(engine);
    uint64_t whole = cache_bytes(engine);
    engine->pressure.root = root;
    engine->pressure.interval_us = 0;

    say_available(GIB);
    engines_generate(session, prompt, 100, TOKENS, calm, &count);
    assert_int_equal(cache_bytes(engine), whole);
    uint64_t resident = resident_bytes();

    /* 256 MB is the reserve of 8 GB: 8 MB too little is answered with what makes it 512 MB, which
     * is more than there is. */
    say_available(248 * MIB);
    sluice_session_clear(session);
    engines_generate(session, prompt, 100, TOKENS, pressed[0], &count);
    uint64_t least = cache_bytes(engine);
    assert_true(least < whole / 4 && least > 0);
    assert_true(resident_bytes() + (whole - least) / 2 < resident);
    sluice_session_clear(session);
    engines_generate(session, prompt, 100, TOKENS, pressed[1], &count);
    assert_int_equal(cache_bytes(engine), least);

    say_available(6 * GIB);
    sluice_session_clear(session);
    engines_generate(session, prompt, 100, TOKENS, pressed[2], &count);
    assert_int_equal(cache_bytes(engine), whole);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(pressed[i], calm, sizeof calm);

    /* A machine that says nothing is left alone. */
    folders_save(folders_path(root, "proc/meminfo"), "", 0);
    engines_generate(session, prompt, 1, 4, calm, &count);
    assert_int_equal(cache_bytes(engine), whole);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void the_trunk_can_be_locked(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("SKIPPED: sanitizers lock no memory\n");
    skip();
#endif
    sluice_engine_options options = engines_options();
    sluice_engine *engine = NULL;
    sluice_error err = {0};
    options.lock_trunk = true;
    if (sluice_engine_open(NULL, &options, &engine, &err) != SLUICE_OK) {
        assert_int_equal(err.code, SLUICE_NO_MEMORY);
        assert_non_null(strstr(err.detail, "--mlock"));
        return;
    }
    char line[256];
    unsigned long locked_kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmLck: %lu", &locked_kb);
    fclose(file);
    assert_true(locked_kb * 1024 >= engine->sizes.trunk_bytes);
    sluice_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_with_some_memory_left_asks_for_nothing),
        cmocka_unit_test(below_the_reserve_it_wants_twice_the_reserve_free),
        cmocka_unit_test(plenty_is_offered_less_four_reserves),
        cmocka_unit_test_setup_teardown(an_engine_gives_back_and_takes_again_with_the_same_bits,
                                        make_root, remove_root),
        cmocka_unit_test(the_trunk_can_be_locked),
    };
    return cmocka_run_group_tests_name("pressure", tests, NULL, NULL);
}
