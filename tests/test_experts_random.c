/* The expert cache over a simulated disk, in random scenarios: layers, sizes, slots, requests,
 * guesses, faults. Checked in each: bytes handed out are right and stay right while pinned, every
 * wanted expert comes exactly once, errors name a record that really failed, a fault-free disk
 * gives no error, counts add up, nothing is left allocated, and nothing hangs (the test has a time
 * limit).
 *
 * SLUICE_RUNS=10000 runs more; SLUICE_SEED=n runs that one alone. A failure prints its seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "experts/experts.h"
#include "experts/policy.h"
#include "io/sim.h"

#define BLOCK 4096
#define LAYERS_MAX 4
#define COUNT_MAX 24
#define BLOCKS_MAX 3
#define PINS_MAX 8
#define RUNS 3000
#define CONTENT_MAX ((size_t)(COUNT_MAX + 1) * (BLOCKS_MAX + 1) * BLOCK)

typedef struct pin {
    int layer, id;
    const void *record;
} pin;

typedef struct scenario {
    uint64_t seed;
    sluice_rng rng;
    int n_layers, slots_min, n_slots;
    sluice_experts_layer layers[LAYERS_MAX];
    sluice_io_sim_file files[LAYERS_MAX];
    char names[LAYERS_MAX][16];
    uint32_t crcs[LAYERS_MAX][COUNT_MAX];
    sluice_io_sim_options disk;
    bool verify;
    sluice_io *io;
    sluice_budget *budget;
    sluice_experts *experts;
    pin pins[PINS_MAX];
    int n_pins;
    uint64_t wanted, errors;
} scenario;

static uint8_t *content[LAYERS_MAX]; /* random bytes, the same for all runs */

#define CHECK(s, condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("SLUICE_SEED=%llu: %s", (unsigned long long)(s)->seed, #condition);           \
    } while (0)

static int below(scenario *s, int n)
{
    return (int)sluice_rng_below(&s->rng, (uint64_t)n);
}

static const uint8_t *truth(const scenario *s, int layer, int id)
{
    const sluice_experts_layer *l = &s->layers[layer];
    return content[layer] + l->offset + (size_t)id * l->stride;
}

static void draw_layers(scenario *s)
{
    s->n_layers = 1 + below(s, LAYERS_MAX);
    for (int l = 0; l < s->n_layers; l++) {
        uint64_t blocks = 1 + (uint64_t)below(s, BLOCKS_MAX);
        snprintf(s->names[l], sizeof s->names[l], "file-%d", l);
        s->layers[l] = (sluice_experts_layer){.path = s->names[l],
                                              .offset = (uint64_t)below(s, 3) * BLOCK,
                                              .stride = (blocks + (uint64_t)below(s, 2)) * BLOCK,
                                              .bytes = blocks * BLOCK,
                                              .count = 2 + below(s, COUNT_MAX - 1),
                                              .crc32c = s->crcs[l]};
        const sluice_experts_layer *layer = &s->layers[l];
        s->files[l] = (sluice_io_sim_file){s->names[l], content[l],
                                           layer->offset + (uint64_t)layer->count * layer->stride};
        for (int e = 0; e < layer->count; e++)
            s->crcs[l][e] = sluice_crc32c(0, truth(s, l, e), layer->bytes);
    }
}

/* A third of the disks are perfect, a third fail now and then, the rest have lasting faults too. */
static void draw_disk(scenario *s)
{
    int kind = below(s, 3);
    s->disk = (sluice_io_sim_options){.seed = s->seed,
                                      .depth = 1 + below(s, 12),
                                      .files = s->files,
                                      .n_files = s->n_layers,
                                      .latency_max = (uint32_t)below(s, 200),
                                      .short_permille = (uint32_t)below(s, 300),
                                      .refuse_permille = (uint32_t)below(s, 500)};
    s->verify = below(s, 2);
    if (kind == 0) return;
    s->disk.error_permille = (uint32_t)below(s, 200);
    if (s->verify) s->disk.corrupt_permille = (uint32_t)below(s, 200);
    if (kind == 1) return;
    s->disk.bad_permille = (uint32_t)below(s, 100);
    if (below(s, 4) == 0) s->disk.unplug_after = 1 + (uint64_t)below(s, 300);
}

static bool is_perfect(const scenario *s)
{
    return !s->disk.error_permille && !s->disk.corrupt_permille && !s->disk.bad_permille &&
           !s->disk.unplug_after;
}

static void open_all(scenario *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    sluice_rng_seed(&s->rng, seed);
    draw_layers(s);
    draw_disk(s);
    int keys = 0;
    uint64_t record_max = 0;
    for (int l = 0; l < s->n_layers; l++) {
        keys += s->layers[l].count;
        if (s->layers[l].bytes > record_max) record_max = s->layers[l].bytes;
    }
    s->slots_min = 1 + below(s, PINS_MAX);
    s->n_slots = s->slots_min + below(s, below(s, 2) ? 6 : keys);
    int policies = 0;
    while (sluice_cache_policy_names()[policies])
        policies++;
    sluice_error err;
    CHECK(s, sluice_io_sim_new(&s->disk, &s->io, &err) == SLUICE_OK);
    CHECK(s, sluice_budget_new(0, &s->budget, &err) == SLUICE_OK);
    const sluice_experts_options options = {.layers = s->layers,
                                            .n_layers = s->n_layers,
                                            .cache_bytes = (uint64_t)s->n_slots * record_max,
                                            .slots_min = s->slots_min,
                                            .io_engine = s->io,
                                            .verify = s->verify,
                                            .policy =
                                                sluice_cache_policy_names()[below(s, policies)],
                                            .budget = s->budget};
    CHECK(s, sluice_experts_open(&options, &s->experts, &err) == SLUICE_OK);
    s->n_slots = sluice_experts_slots(s->experts);
    if (s->slots_min > s->n_slots) s->slots_min = s->n_slots;
}

/* Gives back one of the held records, after checking that nobody has written over it. */
static void release_one(scenario *s)
{
    int at = below(s, s->n_pins);
    pin p = s->pins[at];
    CHECK(s, !memcmp(p.record, truth(s, p.layer, p.id), s->layers[p.layer].bytes));
    CHECK(s, sluice_experts_resident(s->experts, p.layer, p.id));
    s->pins[at] = s->pins[--s->n_pins];
    sluice_experts_release(s->experts, p.layer, p.id);
}

/* Draws n distinct experts of a layer into ids, and returns n; half the time from a few favourites.
 */
static int draw_ids(scenario *s, int layer, int32_t *ids)
{
    int count = s->layers[layer].count, pool = below(s, 2) ? count : 1 + count / 3;
    for (int i = 0; i < pool; i++)
        ids[i] = i;
    int n = 1 + below(s, below(s, 4) ? (pool < s->slots_min ? pool : s->slots_min) : pool);
    for (int i = 0; i < n; i++) {
        int other = i + below(s, pool - i);
        int32_t kept = ids[i];
        ids[i] = ids[other];
        ids[other] = kept;
    }
    return n;
}

static void guess(scenario *s)
{
    int32_t ids[COUNT_MAX];
    int layer = below(s, s->n_layers), n = draw_ids(s, layer, ids);
    sluice_experts_request(s->experts, layer, ids, n,
                           (sluice_experts_priority)(SLUICE_EXPERTS_LOOKAHEAD + below(s, 3)));
}

/* The error of a ticket must be about one of its experts, on a disk that has faults. */
static void check_error(scenario *s, sluice_status status, const sluice_error *err, int layer,
                        uint32_t missing)
{
    CHECK(s, !is_perfect(s));
    CHECK(s, status == SLUICE_IO || status == SLUICE_CORRUPT);
    CHECK(s, status == err->code);
    CHECK(s, status != SLUICE_CORRUPT || s->disk.corrupt_permille);
    char name[64];
    bool named = false;
    for (int id = 0; id < s->layers[layer].count; id++) {
        snprintf(
            name, sizeof name, "%s: layer %d, expert %d at byte %llu:", s->names[layer], layer, id,
            (unsigned long long)(s->layers[layer].offset + (uint64_t)id * s->layers[layer].stride));
        named = named || ((missing >> id & 1) && strstr(err->detail, name));
    }
    CHECK(s, named);
    s->errors++;
}

static void demand(scenario *s)
{
    int32_t ids[COUNT_MAX];
    int layer = below(s, s->n_layers), n = draw_ids(s, layer, ids);
    uint32_t missing = 0;
    for (int i = 0; i < n; i++)
        missing |= 1u << ids[i];
    sluice_experts_request(s->experts, layer, ids, n, SLUICE_EXPERTS_DEMAND);
    s->wanted += (uint64_t)n;
    for (;;) {
        if (below(s, 8) == 0) guess(s);
        if (below(s, 60) == 0) {
            sluice_experts_abandon(s->experts);
            return;
        }
        while (s->n_pins >= s->slots_min)
            release_one(s);
        int32_t id;
        const void *record;
        sluice_error err = {0};
        sluice_experts_stats before, after;
        sluice_experts_stats_get(s->experts, &before);
        sluice_status status = sluice_experts_next(s->experts, &id, &record, &err);
        sluice_experts_stats_get(s->experts, &after);
        CHECK(s, before.requests == after.requests && before.reads <= after.reads);
        if (status != SLUICE_OK) {
            CHECK(s, id == -1 && record == NULL);
            check_error(s, status, &err, layer, missing);
            return;
        }
        if (id < 0) break;
        CHECK(s, missing >> id & 1);
        missing &= ~(1u << id);
        CHECK(s, !memcmp(record, truth(s, layer, id), s->layers[layer].bytes));
        CHECK(s,
              !sluice_io_sim_is_bad(
                  s->io, layer, s->layers[layer].offset + (uint64_t)id * s->layers[layer].stride));
        s->pins[s->n_pins++] = (pin){layer, id, record};
        while (s->n_pins && below(s, 3))
            release_one(s);
    }
    CHECK(s, missing == 0);
}

/* Fewer slots or more again, with records pinned and reads under way. */
static void resize(scenario *s)
{
    int32_t wish = below(s, s->n_slots + 2), before = sluice_experts_slots_now(s->experts);
    int32_t now = sluice_experts_resize(s->experts, wish);
    CHECK(s, now == sluice_experts_slots_now(s->experts));
    CHECK(s, now >= s->slots_min && now <= s->n_slots);
    CHECK(s, wish < before ? now <= before
                           : now == (wish > s->n_slots ? s->n_slots : wish) || now == s->slots_min);
}

static void close_all(scenario *s)
{
    sluice_experts_stats stats;
    sluice_experts_stats_get(s->experts, &stats);
    CHECK(s, stats.requests == s->wanted);
    CHECK(s, stats.requests == stats.hits + stats.misses);
    CHECK(s, stats.promoted <= stats.misses);
    CHECK(s, stats.lookahead_used <= stats.lookahead_reads);
    CHECK(s, stats.bytes_read >= stats.reads * BLOCK);
    CHECK(s, stats.evictions <= stats.reads);
    CHECK(s, !is_perfect(s) || stats.retries == 0);
    int resident = 0;
    for (int l = 0; l < s->n_layers; l++)
        for (int e = 0; e < s->layers[l].count; e++)
            resident += sluice_experts_resident(s->experts, l, e);
    CHECK(s, resident <= sluice_experts_slots_now(s->experts));
    CHECK(s, (uint64_t)resident == stats.reads - stats.evictions);
    sluice_experts_close(s->experts); /* with reads still in flight, mostly */
    CHECK(s, s->io->wait(s->io, &(sluice_io_done){0}, 1, 1) == 0); /* close has waited for them */
    CHECK(s, sluice_budget_used(s->budget) == 0);
    sluice_budget_free(s->budget);
    s->io->free(s->io);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void random_scenarios_never_hand_out_wrong_bytes_or_hang(void **state)
{
    (void)state;
    sluice_rng rng;
    sluice_rng_seed(&rng, 21);
    for (int l = 0; l < LAYERS_MAX; l++) {
        content[l] = malloc(CONTENT_MAX);
        assert_non_null(content[l]);
        for (size_t i = 0; i + 8 <= CONTENT_MAX; i += 8)
            memcpy(content[l] + i, &(uint64_t){sluice_rng_next(&rng)}, 8);
    }
    static scenario s;
    uint64_t only = number_from("SLUICE_SEED", UINT64_MAX);
    uint64_t first = only == UINT64_MAX ? 0 : only;
    uint64_t end = only == UINT64_MAX ? number_from("SLUICE_RUNS", RUNS) : only + 1;
    uint64_t errors = 0;
    for (uint64_t seed = first; seed < end; seed++) {
        open_all(&s, seed);
        for (int step = 10 + below(&s, 30); step > 0; step--) {
            if (below(&s, 3) == 0) guess(&s);
            demand(&s);
            if (below(&s, 10) == 0) resize(&s);
            if (below(&s, 20) == 0) {
                sluice_experts_abandon(s.experts);
                sluice_experts_settle(s.experts);
            }
        }
        while (s.n_pins)
            release_one(&s);
        errors += s.errors;
        close_all(&s);
    }
    if (only == UINT64_MAX) assert_true(errors > end / 10); /* the faults were really there */
    for (int l = 0; l < LAYERS_MAX; l++)
        free(content[l]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_scenarios_never_hand_out_wrong_bytes_or_hang),
    };
    return cmocka_run_group_tests_name("experts_random", tests, NULL, NULL);
}
