/* Experts in several folders: which disk a read goes to, a copy that fails, containers whose files
 * are spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "experts/homes.h"
#include "io/sim.h"
#include "support/engines.h"
#include "support/folders.h"

#define RECORD 1000000

/* Two disks that carry so many bytes per microsecond; each works its reads off in order. Returns
 * the share of the first after n reads, eight under way. */
static double share_of_first(const double speeds[2], int n)
{
    sluice_homes homes = {0};
    const uint8_t both[2] = {0, 1};
    double now = 0, free_at[2] = {0, 0}, finish[8] = {0};
    uint64_t started[8];
    int32_t place[8];
    uint64_t counts[2] = {0, 0};
    assert_int_equal(sluice_homes_of(&homes, "/a/f"), 0);
    assert_int_equal(sluice_homes_of(&homes, "/b/f"), 1);
    for (int i = 0; i < n; i++) {
        int slot = i % 8;
        if (i >= 8) {
            for (int s = 0; s < 8; s++)
                if (finish[s] < finish[slot]) slot = s;
            now = finish[slot];
            sluice_homes_end(&homes, place[slot], RECORD, started[slot], (uint64_t)now, true);
        }
        int32_t home = sluice_homes_choose(&homes, both, 2, RECORD);
        sluice_homes_start(&homes, home, RECORD);
        free_at[home] = (free_at[home] > now ? free_at[home] : now) + RECORD / speeds[home];
        place[slot] = home;
        started[slot] = (uint64_t)now;
        finish[slot] = free_at[home];
        counts[home]++;
    }
    return (double)counts[0] / n;
}

static void reads_are_spread_by_speed(void **state)
{
    (void)state;
    assert_true(share_of_first((const double[]){3000, 3000}, 1000) > 0.45);
    assert_true(share_of_first((const double[]){3000, 3000}, 1000) < 0.55);
    double fast = share_of_first((const double[]){3000, 1000}, 1000);
    assert_true(fast > 0.68 && fast < 0.82);
    double slow = share_of_first((const double[]){500, 4500}, 1000);
    assert_true(slow > 0.01 && slow < 0.16); /* hardly worth waiting for */
}

static void folders_are_told_apart_by_all_of_their_path(void **state)
{
    (void)state;
    sluice_homes homes = {0};
    assert_int_equal(sluice_homes_of(&homes, "/disk1/model/experts-000"), 0);
    assert_int_equal(sluice_homes_of(&homes, "/disk1/model/experts-001"), 0);
    assert_int_equal(sluice_homes_of(&homes, "/disk1/mode/experts-000"), 1);
    assert_int_equal(sluice_homes_of(&homes, "/disk1/model2/experts-000"), 2);
    assert_int_equal(sluice_homes_of(&homes, "experts-000"), 3);
}

static void a_copy_that_fails_is_replaced_by_the_other(void **state)
{
    (void)state;
    static char content[8 * 4096];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)(i / 4096 + i);
    /* The second file is empty: every read of it ends in an error. */
    const sluice_io_sim_file files[] = {{"/a/f", content, sizeof content}, {"/b/f", content, 0}};
    const sluice_io_sim_options disk = {.seed = 3, .depth = 4, .files = files, .n_files = 2};
    static const char *const copies[] = {"/b/f"};
    const sluice_experts_layer layer = {
        .path = "/a/f", .stride = 4096, .bytes = 4096, .count = 8, .copies = copies, .n_copies = 1};
    sluice_io *io;
    sluice_experts *experts;
    assert_int_equal(sluice_io_sim_new(&disk, &io, NULL), SLUICE_OK);
    const sluice_experts_options options = {
        .layers = &layer, .n_layers = 1, .cache_bytes = 16384, .slots_min = 4, .io_engine = io};
    assert_int_equal(sluice_experts_open(&options, &experts, NULL), SLUICE_OK);
    for (int round = 0; round < 20; round++) {
        const int32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};
        sluice_experts_request(experts, 0, ids, 8, SLUICE_EXPERTS_DEMAND);
        for (int i = 0; i < 8; i++) {
            int32_t id;
            const void *record;
            sluice_error err = {0};
            if (sluice_experts_next(experts, &id, &record, &err) != SLUICE_OK)
                fail_msg("%s", err.detail);
            assert_memory_equal(record, content + id * 4096, 4096);
            sluice_experts_release(experts, 0, id);
        }
    }
    sluice_experts_stats stats;
    sluice_experts_stats_get(experts, &stats);
    assert_true(stats.retries > 0);
    assert_int_equal(sluice_experts_folder_bytes(experts, 1), 0);
    assert_true(sluice_experts_folder_bytes(experts, 0) > 0);
    sluice_experts_close(experts);
    io->free(io);
}

typedef struct spread {
    char main[FOLDERS_PATH_MAX], more[FOLDERS_PATH_MAX];
} spread;

static char nano[FOLDERS_PATH_MAX];
static int32_t plain[20];

static void generate(const char *model, const char *const *folders, int32_t n, uint64_t *bytes)
{
    int32_t prompt[40], ids[20], count;
    for (int i = 0; i < 40; i++)
        prompt[i] = i * 31 + 5;
    sluice_engine_options options = engines_options();
    options.cache_bytes = 1000000;
    options.expert_folders = folders;
    options.n_expert_folders = n;
    sluice_engine *engine = engines_open(model, &options);
    sluice_session *session = engines_session(engine);
    engines_generate(session, prompt, 40, 20, ids, &count);
    for (int32_t i = 0; i < sluice_experts_folders(engine->experts); i++)
        bytes[i] = sluice_experts_folder_bytes(engine->experts, i);
    if (!n) memcpy(plain, ids, sizeof plain);
    assert_memory_equal(ids, plain, sizeof ids);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static int prepare(void **state)
{
    static spread s;
    char *dir;
    uint64_t bytes[4];
    if (sluice_model_locate(NULL, NULL, &dir, NULL) != SLUICE_OK) return -1;
    snprintf(nano, sizeof nano, "%s", dir);
    free(dir);
    generate(nano, NULL, 0, bytes);
    folders_make(s.main);
    folders_make(s.more);
    folders_copy(nano, s.main);
    folders_copy(nano, s.more);
    *state = &s;
    return 0;
}

static int tidy(void **state)
{
    const spread *s = *state;
    folders_remove(s->main);
    folders_remove(s->more);
    return 0;
}

static void the_same_files_in_two_folders_are_both_read(void **state)
{
    const spread *s = *state;
    const char *const folders[] = {s->more};
    uint64_t bytes[2] = {0};
    generate(s->main, folders, 1, bytes);
    assert_true(bytes[0] > (bytes[0] + bytes[1]) / 100);
    assert_true(bytes[1] > (bytes[0] + bytes[1]) / 100);
}

static void files_may_be_shared_out_over_folders(void **state)
{
    const spread *s = *state;
    const char *const folders[] = {s->more};
    uint64_t bytes[2] = {0};
    folders_delete(folders_path(s->main, "experts-001.safetensors"));
    folders_delete(folders_path(s->main, "experts-004.safetensors"));
    folders_delete(folders_path(s->more, "experts-002.safetensors"));
    generate(s->main, folders, 1, bytes);
    assert_true(bytes[0] > 0 && bytes[1] > 0);
}

static void a_file_that_is_nowhere_is_named(void **state)
{
    const spread *s = *state;
    const char *const folders[] = {s->more};
    sluice_engine *engine;
    sluice_error err = {0};
    sluice_engine_options options = engines_options();
    options.expert_folders = folders;
    options.n_expert_folders = 1;
    folders_delete(folders_path(s->main, "experts-003.safetensors"));
    folders_delete(folders_path(s->more, "experts-003.safetensors"));
    assert_int_equal(sluice_engine_open(s->main, &options, &engine, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "experts-003.safetensors"));
    assert_non_null(strstr(err.detail, "--experts"));
}

static void a_copy_that_differs_is_refused(void **state)
{
    const spread *s = *state;
    const char *const folders[] = {s->more};
    sluice_container *container;
    sluice_error err = {0};
    size_t bytes;
    char *other = folders_load(folders_path(s->main, "experts-006.safetensors"), &bytes);
    folders_save(folders_path(s->more, "experts-005.safetensors"), other, bytes);
    free(other);
    assert_int_equal(sluice_container_open_over(s->main, folders, 1, &container, &err),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "experts-005.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_are_spread_by_speed),
        cmocka_unit_test(folders_are_told_apart_by_all_of_their_path),
        cmocka_unit_test(a_copy_that_fails_is_replaced_by_the_other),
        cmocka_unit_test(the_same_files_in_two_folders_are_both_read),
        cmocka_unit_test(files_may_be_shared_out_over_folders),
        cmocka_unit_test(a_copy_that_differs_is_refused),
        cmocka_unit_test(a_file_that_is_nowhere_is_named),
    };
    return cmocka_run_group_tests_name("folders", tests, prepare, tidy);
}
