/* The expert cache by example, over the simulated disk and over real files. Random scenarios with
 * faults are in test_experts_random.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "base/rng.h"
#include "experts/experts.h"
#include "io/sim.h"
#include "os/file.h"

#define BLOCK 4096
#define COUNT 16
#define LAYERS 3

/* Layer l has records of l+1 blocks, a block of padding between them, and starts after l blocks of
 * its own file. */
static uint8_t *content[LAYERS];
static size_t content_bytes[LAYERS];
static uint32_t crcs[LAYERS][COUNT];
static sluice_experts_layer layers[LAYERS];
static sluice_io_sim_file files[LAYERS];
static const char *const names[LAYERS] = {"layer-0", "layer-1", "layer-2"};

static const uint8_t *truth(int layer, int id)
{
    return content[layer] + layers[layer].offset + (size_t)id * layers[layer].stride;
}

static int make_layers(void **state)
{
    (void)state;
    sluice_rng rng;
    sluice_rng_seed(&rng, 11);
    for (int l = 0; l < LAYERS; l++) {
        layers[l] = (sluice_experts_layer){.path = names[l],
                                           .offset = (uint64_t)l * BLOCK,
                                           .stride = (uint64_t)(l + 2) * BLOCK,
                                           .bytes = (uint64_t)(l + 1) * BLOCK,
                                           .count = COUNT,
                                           .crc32c = crcs[l]};
        content_bytes[l] = layers[l].offset + COUNT * layers[l].stride;
        content[l] = malloc(content_bytes[l]);
        if (!content[l]) return -1;
        for (size_t i = 0; i < content_bytes[l]; i++)
            content[l][i] = (uint8_t)sluice_rng_next(&rng);
        for (int e = 0; e < COUNT; e++)
            crcs[l][e] = sluice_crc32c(0, truth(l, e), layers[l].bytes);
        files[l] = (sluice_io_sim_file){names[l], content[l], content_bytes[l]};
    }
    return 0;
}

static int free_layers(void **state)
{
    (void)state;
    for (int l = 0; l < LAYERS; l++)
        free(content[l]);
    return 0;
}

static sluice_io *open_disk(sluice_io_sim_options options)
{
    sluice_io *io;
    options.files = files;
    options.n_files = LAYERS;
    if (!options.depth) options.depth = 4;
    options.latency_max = 20;
    assert_int_equal(sluice_io_sim_new(&options, &io, NULL), SLUICE_OK);
    return io;
}

static sluice_experts *open_cache(sluice_io *io, int slots, int slots_min, bool verify)
{
    const sluice_experts_options options = {.layers = layers,
                                            .n_layers = LAYERS,
                                            .cache_bytes = (uint64_t)slots * LAYERS * BLOCK,
                                            .slots_min = slots_min,
                                            .io_engine = io,
                                            .policy = "lru",
                                            .verify = verify};
    sluice_experts *experts;
    sluice_error err;
    if (sluice_experts_open(&options, &experts, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    assert_int_equal(sluice_experts_slots(experts), slots);
    return experts;
}

/* Takes one expert of the open ticket, checks its bytes and gives it back; -1 at the end. */
static int32_t take_one(sluice_experts *experts, int layer)
{
    int32_t id;
    const void *record;
    sluice_error err;
    if (sluice_experts_next(experts, &id, &record, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    if (id < 0) return -1;
    assert_memory_equal(record, truth(layer, id), layers[layer].bytes);
    sluice_experts_release(experts, layer, id);
    return id;
}

/* Asks for experts and takes them all; returns the bit mask of what came. */
static uint32_t take_all(sluice_experts *experts, int layer, const int32_t *ids, int n)
{
    uint32_t came = 0;
    int32_t id;
    sluice_experts_request(experts, layer, ids, n, SLUICE_EXPERTS_DEMAND);
    while ((id = take_one(experts, layer)) >= 0) {
        assert_false(came >> id & 1);
        came |= 1u << id;
    }
    return came;
}

static sluice_experts_stats stats_of(const sluice_experts *experts)
{
    sluice_experts_stats stats;
    sluice_experts_stats_get(experts, &stats);
    assert_int_equal(stats.requests, stats.hits + stats.misses);
    return stats;
}

static void second_request_is_served_from_memory(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_experts *experts = open_cache(io, 8, 4, true);
    const int32_t ids[] = {3, 15, 0, 7};
    assert_int_equal(take_all(experts, 1, ids, 4), 1 << 3 | 1 << 15 | 1 << 0 | 1 << 7);
    assert_int_equal(take_all(experts, 1, ids, 4), 1 << 3 | 1 << 15 | 1 << 0 | 1 << 7);
    assert_int_equal(stats_of(experts).hits, 4);
    assert_int_equal(stats_of(experts).reads, 4);
    assert_int_equal(stats_of(experts).bytes_read, 4 * 2 * BLOCK);
    assert_true(sluice_experts_resident(experts, 1, 15));
    assert_false(sluice_experts_resident(experts, 2, 15));
    sluice_experts_close(experts);
    io->free(io);
}

static void hits_come_before_misses(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_experts *experts = open_cache(io, 8, 4, false);
    const int32_t first[] = {5, 6}, second[] = {1, 5, 2, 6};
    take_all(experts, 0, first, 2);
    sluice_experts_request(experts, 0, second, 4, SLUICE_EXPERTS_DEMAND);
    assert_int_equal(take_one(experts, 0), 5);
    assert_int_equal(take_one(experts, 0), 6);
    int32_t a = take_one(experts, 0), b = take_one(experts, 0);
    assert_int_equal(a + b, 1 + 2);
    assert_int_equal(take_one(experts, 0), -1);
    assert_int_equal(take_one(experts, 0), -1);
    sluice_experts_close(experts);
    io->free(io);
}

static void more_experts_than_slots_pass_through(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 4});
    sluice_experts *experts = open_cache(io, 3, 2, true);
    int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++)
        ids[i] = COUNT - 1 - i;
    for (int round = 0; round < 3; round++)
        assert_int_equal(take_all(experts, round, ids, COUNT), (1u << COUNT) - 1);
    sluice_experts_close(experts);
    io->free(io);
}

static void oldest_unpinned_expert_goes_first(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_experts *experts = open_cache(io, 3, 1, false);
    int32_t id;
    const void *held;
    for (int32_t i = 0; i < 3; i++) {
        sluice_experts_request(experts, 0, &i, 1, SLUICE_EXPERTS_DEMAND);
        assert_int_equal(sluice_experts_next(experts, &id, &held, NULL), SLUICE_OK);
        if (i) sluice_experts_release(experts, 0, i); /* expert 0, the oldest, stays pinned */
    }
    take_all(experts, 0, (const int32_t[]){9}, 1);
    assert_true(sluice_experts_resident(experts, 0, 0));
    assert_false(sluice_experts_resident(experts, 0, 1));
    assert_true(sluice_experts_resident(experts, 0, 2));
    sluice_experts_release(experts, 0, 0);
    take_all(experts, 0, (const int32_t[]){2}, 1); /* a use makes it young */
    take_all(experts, 0, (const int32_t[]){10}, 1);
    assert_false(sluice_experts_resident(experts, 0, 0));
    take_all(experts, 0, (const int32_t[]){11}, 1);
    assert_true(sluice_experts_resident(experts, 0, 2));
    assert_int_equal(stats_of(experts).evictions, 3);
    sluice_experts_close(experts);
    io->free(io);
}

static void holding_every_slot_is_a_clear_error(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_experts *experts = open_cache(io, 2, 2, false);
    const int32_t ids[] = {0, 1, 2};
    int32_t id;
    const void *record;
    sluice_error err;
    sluice_experts_request(experts, 0, ids, 3, SLUICE_EXPERTS_DEMAND);
    assert_int_equal(sluice_experts_next(experts, &id, &record, &err), SLUICE_OK);
    assert_int_equal(sluice_experts_next(experts, &id, &record, &err), SLUICE_OK);
    assert_int_equal(sluice_experts_next(experts, &id, &record, &err), SLUICE_LIMIT);
    assert_non_null(strstr(err.detail, "all 2 slots"));
    sluice_experts_release(experts, 0, 0);
    sluice_experts_release(experts, 0, 1);
    assert_int_equal(take_all(experts, 0, ids, 3), 7);
    sluice_experts_close(experts);
    io->free(io);
}

static void lookahead_is_promoted_and_never_read_twice(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        sluice_io *io = open_disk((sluice_io_sim_options){.seed = seed});
        sluice_experts *experts = open_cache(io, 12, 4, true);
        const int32_t guess[] = {1, 2, 3, 4, 5, 6}, ids[] = {2, 4, 6, 8};
        sluice_experts_request(experts, 1, guess, 6, SLUICE_EXPERTS_LOOKAHEAD);
        assert_int_equal(stats_of(experts).requests, 0);
        assert_int_equal(take_all(experts, 1, ids, 4), 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8);
        sluice_experts_settle(experts);
        sluice_experts_stats stats = stats_of(experts);
        /* 1 to 4 went to the disk at once, 5 and 6 waited; 6 is wanted, 5 is dropped. */
        assert_int_equal(stats.reads, 6);
        assert_int_equal(stats.lookahead_reads, 4);
        assert_int_equal(stats.lookahead_used, 2);
        assert_true(sluice_experts_resident(experts, 1, 3));
        assert_false(sluice_experts_resident(experts, 1, 5));
        sluice_experts_close(experts);
        io->free(io);
    }
}

static void a_sweep_fills_most_and_stops_for_the_ticket(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1, .depth = 16});
    sluice_experts *experts = open_cache(io, 8, 2, false);
    int32_t all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = i;
    sluice_experts_request(experts, 1, all, COUNT, SLUICE_EXPERTS_SWEEP);
    assert_int_equal(stats_of(experts).lookahead_reads, 6);
    assert_int_equal(take_all(experts, 1, all, 8), 255);
    sluice_experts_stats stats = stats_of(experts);
    assert_int_equal(stats.reads, 8);
    assert_int_equal(stats.lookahead_used, 6);
    assert_int_equal(stats.promoted + stats.hits, 6);
    sluice_experts_close(experts);
    io->free(io);
}

static void a_layer_is_calm_after_tickets_that_read_nothing(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 3});
    sluice_experts *experts = open_cache(io, 8, 2, false);
    const int32_t guess[] = {7}, ids[] = {2, 4, 7};
    for (int i = 0; i < 100; i++)
        take_all(experts, 1, ids, 2);
    assert_true(sluice_experts_calm(experts, 1));
    assert_false(sluice_experts_calm(experts, 0));
    sluice_experts_request(experts, 1, guess, 1, SLUICE_EXPERTS_LOOKAHEAD);
    sluice_experts_settle(experts);
    assert_true(sluice_experts_calm(experts, 1));
    take_all(experts, 1, ids, 3); /* a hit, thanks to the guess */
    assert_false(sluice_experts_calm(experts, 1));
    sluice_experts_close(experts);
    io->free(io);
}

static void guesses_never_take_what_a_step_needs(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1, .depth = 16});
    sluice_experts *experts = open_cache(io, 4, 3, false);
    int32_t all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = i;
    sluice_experts_request(experts, 0, all, COUNT, SLUICE_EXPERTS_LOOKAHEAD);
    sluice_experts_request(experts, 1, all, COUNT, SLUICE_EXPERTS_WARM);
    assert_int_equal(take_all(experts, 2, all, COUNT), (1u << COUNT) - 1);
    sluice_experts_settle(experts);
    assert_true(stats_of(experts).lookahead_reads <= 1);
    sluice_experts_close(experts);
    io->free(io);
}

/* What a cache of so many slots of a quarter of a huge page takes of a budget. */
static uint64_t bytes_taken(sluice_io *io, uint64_t slots, uint64_t budget_bytes)
{
    const uint64_t record = SLUICE_MEMORY_HUGE_PAGE / 4;
    const sluice_experts_layer layer = {.path = names[0],
                                        .stride = record,
                                        .bytes = record,
                                        .count = 16}; /* nothing of it is read */
    sluice_budget *budget;
    sluice_experts *experts;
    assert_int_equal(sluice_budget_new(budget_bytes, &budget, NULL), SLUICE_OK);
    const sluice_experts_options options = {.layers = &layer,
                                            .n_layers = 1,
                                            .cache_bytes = slots * record,
                                            .slots_min = 1,
                                            .io_engine = io,
                                            .budget = budget};
    assert_int_equal(sluice_experts_open(&options, &experts, NULL), SLUICE_OK);
    assert_int_equal(sluice_experts_slots(experts), slots);
    uint64_t taken = sluice_budget_used(budget);
    sluice_experts_close(experts);
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);
    return taken * 4 / SLUICE_MEMORY_HUGE_PAGE;
}

static void last_slots_lie_in_a_huge_page_too_if_the_budget_has_it(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    const uint64_t quarter = SLUICE_MEMORY_HUGE_PAGE / 4;
    assert_int_equal(bytes_taken(io, 8, 0), 8);
    assert_int_equal(bytes_taken(io, 9, 0), 9); /* three quarters for nothing are too much */
    assert_int_equal(bytes_taken(io, 10, 0), 12);
    assert_int_equal(bytes_taken(io, 11, 0), 12);
    assert_int_equal(bytes_taken(io, 11, 12 * quarter), 12);
    assert_int_equal(bytes_taken(io, 11, 12 * quarter - 1), 11);
    assert_int_equal(bytes_taken(io, 3, 0), 3); /* smaller ones have no mapping of their own */
    io->free(io);
}

static void warm_start_fills_free_slots_only(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_experts *experts = open_cache(io, 8, 2, false);
    const int32_t hot[] = {0, 1, 2, 3}, ids[] = {2, 3};
    int32_t all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = i;
    sluice_experts_request(experts, 0, hot, 4, SLUICE_EXPERTS_WARM);
    sluice_experts_settle(experts);
    take_all(experts, 0, ids, 2);
    assert_int_equal(stats_of(experts).hits, 2);
    sluice_experts_request(experts, 1, all, COUNT, SLUICE_EXPERTS_WARM);
    sluice_experts_settle(experts);
    assert_int_equal(stats_of(experts).evictions, 0);
    assert_true(sluice_experts_resident(experts, 0, 0));
    sluice_experts_close(experts);
    io->free(io);
}

static void abandoned_ticket_leaves_a_usable_cache(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        sluice_io *io = open_disk((sluice_io_sim_options){.seed = seed});
        sluice_experts *experts = open_cache(io, 6, 4, true);
        int32_t ids[COUNT];
        for (int i = 0; i < COUNT; i++)
            ids[i] = i;
        sluice_experts_abandon(experts); /* nothing open: nothing to do */
        sluice_experts_request(experts, 2, ids, COUNT, SLUICE_EXPERTS_DEMAND);
        for (uint64_t i = 0; i < seed % 5; i++)
            assert_true(take_one(experts, 2) >= 0);
        sluice_experts_abandon(experts);
        assert_int_equal(take_one(experts, 2), -1);
        assert_int_equal(take_all(experts, 2, ids, 4), 15);
        sluice_experts_close(experts);
        io->free(io);
    }
}

static void transient_error_is_retried(void **state)
{
    (void)state;
    uint64_t retries = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        sluice_io *io = open_disk((sluice_io_sim_options){.seed = seed, .error_permille = 30});
        sluice_experts *experts = open_cache(io, 6, 4, true);
        const int32_t ids[] = {1, 2, 3, 4};
        assert_int_equal(take_all(experts, 0, ids, 4), 30);
        retries += stats_of(experts).retries;
        sluice_experts_close(experts);
        io->free(io);
    }
    assert_true(retries > 0);
}

static void lasting_error_names_layer_expert_file_and_offset(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 9, .unplug_after = 2});
    sluice_experts *experts = open_cache(io, 6, 4, false);
    int32_t id;
    const void *record;
    sluice_error err;
    assert_int_equal(take_all(experts, 1, (const int32_t[]){0, 1}, 2), 3);
    sluice_experts_request(experts, 2, (const int32_t[]){5}, 1, SLUICE_EXPERTS_DEMAND);
    assert_int_equal(sluice_experts_next(experts, &id, &record, &err), SLUICE_IO);
    assert_int_equal(err.code, SLUICE_IO);
    assert_int_equal(id, -1);
    char expected[256];
    snprintf(expected, sizeof expected, "layer-2: layer 2, expert 5 at byte %d: cannot be read: %s",
             2 * BLOCK + 5 * 4 * BLOCK, strerror(EIO));
    assert_string_equal(err.detail, expected);
    assert_int_equal(stats_of(experts).retries, 2);
    /* the ticket is over, and what is resident still serves */
    assert_int_equal(take_one(experts, 2), -1);
    assert_int_equal(take_all(experts, 1, (const int32_t[]){0, 1}, 2), 3);
    sluice_experts_close(experts);
    io->free(io);
}

static void wrong_bytes_are_found_by_verify_and_only_then(void **state)
{
    (void)state;
    uint8_t *byte = &content[1][layers[1].offset + 4 * layers[1].stride + 77];
    for (int verify = 0; verify < 2; verify++) {
        sluice_io *io = open_disk((sluice_io_sim_options){.seed = 9});
        sluice_experts *experts = open_cache(io, 6, 4, verify);
        int32_t id;
        const void *record;
        sluice_error err;
        *byte ^= 0x10;
        sluice_experts_request(experts, 1, (const int32_t[]){4}, 1, SLUICE_EXPERTS_DEMAND);
        sluice_status status = sluice_experts_next(experts, &id, &record, &err);
        *byte ^= 0x10;
        assert_int_equal(status, verify ? SLUICE_CORRUPT : SLUICE_OK);
        if (verify) {
            assert_non_null(strstr(err.detail, "layer-1: layer 1, expert 4"));
            assert_non_null(strstr(err.detail, "checksum"));
            assert_false(sluice_experts_resident(experts, 1, 4));
            assert_int_equal(take_all(experts, 1, (const int32_t[]){4}, 1), 16);
        } else {
            sluice_experts_release(experts, 1, 4);
        }
        sluice_experts_close(experts);
        io->free(io);
    }
}

static void budget_is_charged_and_too_small_a_cache_is_refused(void **state)
{
    (void)state;
    sluice_io *io = open_disk((sluice_io_sim_options){.seed = 1});
    sluice_budget *budget;
    sluice_experts *experts = NULL;
    sluice_error err;
    assert_int_equal(sluice_budget_new(10 * 3 * BLOCK, &budget, NULL), SLUICE_OK);
    sluice_experts_options options = {.layers = layers,
                                      .n_layers = LAYERS,
                                      .cache_bytes = 5 * 3 * BLOCK,
                                      .slots_min = 5,
                                      .io_engine = io,
                                      .budget = budget};
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_OK);
    assert_int_equal(sluice_budget_used(budget), 5 * 3 * BLOCK);
    sluice_experts_close(experts);
    assert_int_equal(sluice_budget_used(budget), 0);

    experts = NULL;
    options.slots_min = 6;
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "needs 6"));
    options.cache_bytes = 11 * 3 * BLOCK;
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "expert cache"));
    options.cache_bytes = (uint64_t)1 << 40; /* never more slots than experts, though */
    options.budget = NULL;
    assert_null(experts);
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_OK);
    assert_int_equal(sluice_experts_slots(experts), LAYERS * COUNT);
    sluice_experts_close(experts);
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);
    io->free(io);
}

static void impossible_layers_are_refused(void **state)
{
    (void)state;
    sluice_experts_layer bad = layers[0];
    sluice_experts_options options = {
        .layers = &bad, .n_layers = 1, .cache_bytes = 1 << 20, .slots_min = 1};
    sluice_experts *experts = NULL;
    sluice_error err;
#define REFUSED(field, value)                                                                      \
    bad = layers[0];                                                                               \
    bad.field = value;                                                                             \
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_CORRUPT);               \
    assert_non_null(strstr(err.detail, "layer-0"))
    REFUSED(offset, 100);
    REFUSED(stride, 5000);
    REFUSED(bytes, 5000);
    REFUSED(bytes, 0);
    REFUSED(bytes, 3 * BLOCK); /* over the stride */
    REFUSED(count, 0);
    REFUSED(stride, UINT64_MAX - 4095);
    REFUSED(offset, UINT64_MAX - 4095);
#undef REFUSED
    bad = layers[0]; /* fine, but the file is not there */
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_NOT_FOUND);
    options.io = "pread";
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_NOT_FOUND);
    options.io = "floppy";
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_USAGE);
    options.n_layers = 0;
    assert_int_equal(sluice_experts_open(&options, &experts, &err), SLUICE_USAGE);
    assert_null(experts);
}

static void every_engine_serves_the_same_experts_from_files(void **state)
{
    (void)state;
    static const char *const engines[] = {"auto", "uring", "pread", "buffered", "mmap"};
    char path[] = "/tmp/sluice-test-experts-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    sluice_file_close(fd);
    assert_int_equal(sluice_file_save(path, content[2], content_bytes[2], NULL), SLUICE_OK);
    sluice_experts_layer on_disk[LAYERS] = {layers[2], layers[2], layers[2]};
    for (int l = 0; l < LAYERS; l++)
        on_disk[l].path = path;
    for (size_t e = 0; e < sizeof engines / sizeof *engines; e++) {
        const sluice_experts_options options = {.layers = on_disk,
                                                .n_layers = LAYERS,
                                                .cache_bytes = 7 * 3 * BLOCK,
                                                .slots_min = 4,
                                                .io = engines[e],
                                                .verify = true};
        sluice_experts *experts;
        sluice_error err;
        sluice_status status = sluice_experts_open(&options, &experts, &err);
        if (status == SLUICE_UNSUPPORTED) continue;
        assert_int_equal(status, SLUICE_OK);
        assert_true(e == 0 || !strcmp(sluice_experts_io_name(experts), engines[e]));
        for (int32_t round = 0; round < 40; round++) {
            const int32_t ids[] = {round % COUNT, (round + 3) % COUNT, (round + 7) % COUNT};
            const int32_t guess[] = {(round + 1) % COUNT, (round + 4) % COUNT};
            sluice_experts_request(experts, round % LAYERS, ids, 3, SLUICE_EXPERTS_DEMAND);
            sluice_experts_request(experts, (round + 1) % LAYERS, guess, 2,
                                   SLUICE_EXPERTS_LOOKAHEAD);
            int32_t id, came = 0;
            const void *record;
            for (;; came++) {
                assert_int_equal(sluice_experts_next(experts, &id, &record, &err), SLUICE_OK);
                if (id < 0) break;
                assert_memory_equal(record, truth(2, id), layers[2].bytes);
                sluice_experts_release(experts, round % LAYERS, id);
            }
            assert_int_equal(came, 3);
        }
        sluice_experts_close(experts);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_request_is_served_from_memory),
        cmocka_unit_test(hits_come_before_misses),
        cmocka_unit_test(more_experts_than_slots_pass_through),
        cmocka_unit_test(oldest_unpinned_expert_goes_first),
        cmocka_unit_test(holding_every_slot_is_a_clear_error),
        cmocka_unit_test(lookahead_is_promoted_and_never_read_twice),
        cmocka_unit_test(a_sweep_fills_most_and_stops_for_the_ticket),
        cmocka_unit_test(a_layer_is_calm_after_tickets_that_read_nothing),
        cmocka_unit_test(guesses_never_take_what_a_step_needs),
        cmocka_unit_test(last_slots_lie_in_a_huge_page_too_if_the_budget_has_it),
        cmocka_unit_test(warm_start_fills_free_slots_only),
        cmocka_unit_test(abandoned_ticket_leaves_a_usable_cache),
        cmocka_unit_test(transient_error_is_retried),
        cmocka_unit_test(lasting_error_names_layer_expert_file_and_offset),
        cmocka_unit_test(wrong_bytes_are_found_by_verify_and_only_then),
        cmocka_unit_test(budget_is_charged_and_too_small_a_cache_is_refused),
        cmocka_unit_test(impossible_layers_are_refused),
        cmocka_unit_test(every_engine_serves_the_same_experts_from_files),
    };
    return cmocka_run_group_tests_name("experts", tests, make_layers, free_layers);
}
