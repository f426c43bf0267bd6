/* Warm starts: what earlier runs wanted is there before it is asked for, results stay, and a file
 * that is damaged or of another model does nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/warm.h"
#include "support/engines.h"
#include "support/folders.h"

#define TOKENS 30

static char home[FOLDERS_PATH_MAX];
static char *model;
static int32_t first_answer[TOKENS];

static int prepare(void **state)
{
    (void)state;
    if (sluice_model_locate(NULL, NULL, &model, NULL) != SLUICE_OK) return -1;
    folders_make(home);
    return setenv("XDG_CACHE_HOME", home, 1);
}

static int tidy(void **state)
{
    (void)state;
    free(model);
    folders_remove(home);
    return 0;
}

/* Returns the bytes that the answer read; *resident counts the experts there before it. */
static uint64_t answer(bool warm, int32_t *resident)
{
    int32_t prompt[20], ids[TOKENS], count;
    for (int i = 0; i < 20; i++)
        prompt[i] = i * 31 + 5;
    sluice_engine_options options = engines_options();
    options.cache_bytes = (uint64_t)12 << 20;
    options.warm_start = warm;
    options.lookahead = -1;
    sluice_engine *engine = engines_open(model, &options);
    sluice_session *session = engines_session(engine);
    *resident = 0;
    for (int32_t layer = 0; layer < engine->info.layers; layer++)
        for (int32_t id = 0; id < engine->info.experts; id++)
            *resident += sluice_experts_resident(engine->experts, layer, id);
    sluice_stats before, after;
    sluice_engine_stats(engine, &before);
    engines_generate(session, prompt, 20, TOKENS, ids, &count);
    sluice_engine_stats(engine, &after);
    if (!first_answer[0]) memcpy(first_answer, ids, sizeof ids);
    assert_memory_equal(ids, first_answer, sizeof ids);
    sluice_session_close(session);
    sluice_engine_close(engine);
    return after.expert_bytes_read - before.expert_bytes_read;
}

static const char *warm_file(void)
{
    char name[64];
    sluice_engine *engine = engines_open(model, NULL);
    snprintf(name, sizeof name, "sluice/warm-%08x", engine->model->fingerprint);
    sluice_engine_close(engine);
    return folders_path(home, name);
}

static void the_second_start_finds_what_the_first_wanted(void **state)
{
    (void)state;
    int32_t resident;
    uint64_t cold = answer(false, &resident);
    assert_int_equal(resident, 0);
    assert_false(folders_exists(warm_file())); /* only with the option */
    answer(true, &resident);
    assert_int_equal(resident, 0);
    assert_true(folders_exists(warm_file()));
    uint64_t warm = answer(true, &resident);
    assert_true(resident > 100);
    if (warm > cold / 10 * 9)
        fail_msg("%llu bytes read after a warm start, %llu after a cold one",
                 (unsigned long long)warm, (unsigned long long)cold);
    answer(false, &resident);
    assert_int_equal(resident, 0);
}

static void a_damaged_file_is_a_cold_start(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "rubbish",
                                        "sluice-warm 1 8 63\n0 1 5\n",
                                        "sluice-warm 1 8 64\n8 1 5\n",
                                        "sluice-warm 1 8 64\n-1 1 5\n",
                                        "sluice-warm 1 8 64\n0 64 5\n",
                                        "sluice-warm 1 8 64\n0 99999999999999 5\n",
                                        "sluice-warm 1 8 64\n1",
                                        "sluice-warm 2 8 64\n1 1 1\n"};
    int32_t resident;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        folders_save(warm_file(), texts[i], strlen(texts[i]));
        answer(true, &resident);
        assert_int_equal(resident, 0);
    }
    static const char some[] = "sluice-warm 1 8 64\n3 5 7\n2 1 9\nrubbish\n4 4 4\n";
    folders_save(warm_file(), some, sizeof some - 1);
    answer(true, &resident);
    assert_int_equal(resident, 2);
}

static void without_a_folder_to_keep_it_in_nothing_fails(void **state)
{
    (void)state;
    int32_t resident;
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    answer(true, &resident);
    answer(true, &resident);
    assert_int_equal(resident, 0);
    setenv("XDG_CACHE_HOME", home, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_start_finds_what_the_first_wanted),
        cmocka_unit_test(a_damaged_file_is_a_cold_start),
        cmocka_unit_test(without_a_folder_to_keep_it_in_nothing_fails),
    };
    return cmocka_run_group_tests_name("warm", tests, prepare, tidy);
}
