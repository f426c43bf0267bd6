/* Replacement policies on traces: against plain models, the real cache, and each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "experts/experts.h"
#include "experts/policy.h"
#include "experts/replay.h"
#include "io/sim.h"

#define LAYERS 4
#define COUNT 64
#define KEYS (LAYERS * COUNT)
#define TOP_K 4
#define TOKENS 600
#define STEPS (LAYERS * TOKENS)
#define BLOCK 4096

static int64_t starts[STEPS + 1];
static int32_t keys[STEPS * TOP_K];
static const sluice_trace trace = {STEPS, KEYS, starts, keys, COUNT};

/* Tokens go through the layers; experts are drawn skewed, and often again what was used lately. */
static void draw_trace(uint64_t seed)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    for (int step = 0; step < STEPS; step++) {
        int layer = step % LAYERS, base = step * TOP_K;
        starts[step] = base;
        for (int i = 0; i < TOP_K; i++) {
            bool fresh;
            do {
                double u = sluice_rng_unit(&rng);
                int32_t key = layer * COUNT + (int32_t)(u * u * u * COUNT);
                uint64_t back = LAYERS * (1 + sluice_rng_below(&rng, 12));
                if (sluice_rng_below(&rng, 2) && (uint64_t)step >= back)
                    key = keys[(uint64_t)base - back * TOP_K + sluice_rng_below(&rng, TOP_K)];
                keys[base + i] = key;
                fresh = true;
                for (int j = 0; j < i; j++)
                    fresh = fresh && keys[base + j] != key;
            } while (!fresh);
        }
    }
    starts[STEPS] = STEPS * TOP_K;
}

static uint64_t hits_of(const char *policy, int32_t slots)
{
    sluice_cache_replay_result result;
    sluice_error err;
    if (sluice_cache_replay(&trace, policy, slots, 0, &result, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(result.requests, STEPS * TOP_K);
    return result.hits;
}

/* Least recently used, by time stamps. */
static uint64_t plain_lru(int32_t slots)
{
    int64_t used[KEYS], now = 0;
    uint64_t hits = 0;
    int32_t n = 0;
    memset(used, 0, sizeof used);
    for (int step = 0; step < STEPS; step++)
        for (int pass = 0; pass < 2; pass++)
            for (int64_t i = starts[step]; i < starts[step + 1]; i++) {
                int64_t *mine = &used[keys[i]];
                bool resident = *mine > 0;
                if (pass == 0 && resident) hits++;
                if (resident == (pass == 1)) continue;
                if (!resident && n == slots) {
                    int32_t oldest = -1;
                    for (int32_t key = 0; key < KEYS; key++)
                        if (used[key] && (oldest < 0 || used[key] < used[oldest])) oldest = key;
                    used[oldest] = 0;
                    n--;
                }
                n += !resident;
                *mine = ++now;
            }
    return hits;
}

static void lru_equals_a_plain_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        draw_trace(seed);
        for (int32_t slots = TOP_K; slots <= KEYS; slots = slots * 3 / 2)
            assert_int_equal(hits_of("lru", slots), plain_lru(slots));
    }
}

static void no_policy_beats_the_oracle_and_all_are_perfect_with_every_slot(void **state)
{
    (void)state;
    draw_trace(7);
    bool seen[KEYS] = {false};
    uint64_t distinct = 0;
    for (int i = 0; i < STEPS * TOP_K; i++) {
        distinct += !seen[keys[i]];
        seen[keys[i]] = true;
    }
    for (const char *const *policy = sluice_cache_policy_names(); *policy; policy++) {
        uint64_t before = 0;
        for (int32_t slots = TOP_K; slots < KEYS; slots *= 2) {
            uint64_t hits = hits_of(*policy, slots), best = hits_of("oracle", slots);
            assert_in_range(hits, before, best);
            before = hits * 9 / 10; /* more slots are hardly ever worse */
        }
        assert_int_equal(hits_of(*policy, KEYS), STEPS * TOP_K - distinct);
        assert_int_equal(hits_of(*policy, 2 * KEYS), STEPS * TOP_K - distinct);
    }
}

/* The most hits over all ways to choose victims, by trying them: Belady's rule must reach it. */
static uint64_t best_hits(const int32_t *wanted, int n, uint32_t resident, int slots)
{
    for (uint64_t hits = 0;; wanted++, n--) {
        if (n == 0) return hits;
        uint32_t bit = 1u << *wanted;
        if (resident & bit) {
            hits++;
            continue;
        }
        if (__builtin_popcount(resident) < slots) {
            resident |= bit;
            continue;
        }
        uint64_t best = 0;
        for (int victim = 0; victim < 6; victim++) {
            if (!(resident >> victim & 1)) continue;
            uint64_t got = best_hits(wanted + 1, n - 1, (resident & ~(1u << victim)) | bit, slots);
            if (got > best) best = got;
        }
        return hits + best;
    }
}

static void oracle_is_optimal(void **state)
{
    (void)state;
    sluice_rng rng;
    sluice_rng_seed(&rng, 5);
    for (int run = 0; run < 200; run++) {
        int64_t at[15];
        int32_t wanted[14];
        for (int i = 0; i < 14; i++) {
            at[i] = i;
            wanted[i] = (int32_t)sluice_rng_below(&rng, 6);
        }
        at[14] = 14;
        const sluice_trace small = {14, 6, at, wanted, 0};
        sluice_cache_replay_result result;
        int slots = 2 + run % 3;
        assert_int_equal(sluice_cache_replay(&small, "oracle", slots, 0, &result, NULL), SLUICE_OK);
        assert_int_equal(result.hits, best_hits(wanted, 14, 0, slots));
    }
}

/* Depth 1, so that records arrive in the order of the trace. */
static uint64_t hits_of_cache(const char *policy, int32_t slots, const uint8_t *content)
{
    const sluice_io_sim_file file = {"experts", content, KEYS * BLOCK};
    const sluice_io_sim_options disk = {.seed = 1, .depth = 1, .files = &file, .n_files = 1};
    sluice_experts_layer layers[LAYERS];
    for (uint64_t l = 0; l < LAYERS; l++)
        layers[l] = (sluice_experts_layer){
            "experts", l * COUNT * BLOCK, BLOCK, BLOCK, COUNT, NULL, NULL, 0};
    sluice_io *io;
    sluice_experts *experts;
    assert_int_equal(sluice_io_sim_new(&disk, &io, NULL), SLUICE_OK);
    const sluice_experts_options options = {.layers = layers,
                                            .n_layers = LAYERS,
                                            .cache_bytes = (uint64_t)slots * BLOCK,
                                            .slots_min = TOP_K,
                                            .io_engine = io,
                                            .policy = policy};
    assert_int_equal(sluice_experts_open(&options, &experts, NULL), SLUICE_OK);
    for (int step = 0; step < STEPS; step++) {
        int32_t ids[TOP_K], layer = step % LAYERS, id;
        const void *records[TOP_K];
        for (int i = 0; i < TOP_K; i++)
            ids[i] = keys[step * TOP_K + i] - layer * COUNT;
        sluice_experts_request(experts, layer, ids, TOP_K, SLUICE_EXPERTS_DEMAND);
        for (int i = 0; i < TOP_K; i++)
            assert_int_equal(sluice_experts_next(experts, &id, &records[i], NULL), SLUICE_OK);
        for (int i = 0; i < TOP_K; i++)
            sluice_experts_release(experts, layer, ids[i]);
    }
    sluice_experts_stats stats;
    sluice_experts_stats_get(experts, &stats);
    sluice_experts_close(experts);
    io->free(io);
    return stats.hits;
}

static void replay_predicts_the_cache(void **state)
{
    (void)state;
    draw_trace(9);
    uint8_t *content = calloc(KEYS, BLOCK);
    assert_non_null(content);
    for (int32_t slots = 8; slots < KEYS; slots *= 2)
        for (const char *const *policy = sluice_cache_policy_names(); *policy; policy++)
            assert_int_equal(hits_of(*policy, slots), hits_of_cache(*policy, slots, content));
    free(content);
}

static bool none_is_busy(const void *context, int32_t slot)
{
    (void)context;
    (void)slot;
    return false;
}

/* Two layers of three keys; 0 and 1 of the first and 3 and 4 of the second are resident, in slots
 * 0, 1, 2 and 3. Key 1 is left out from the fourth round on. */
static sluice_cache_policy *reuse_after(int rounds)
{
    const sluice_cache_sizes sizes = {4, 6, 3};
    sluice_cache_policy *policy;
    assert_int_equal(sluice_cache_policy_new("reuse", &sizes, &policy, NULL), SLUICE_OK);
    for (int round = 0; round < rounds; round++)
        for (int32_t slot = 0; slot < 4; slot++) {
            int32_t key = slot + slot / 2;
            if (slot % 2 == 0) policy->turn(policy, key);
            if (round == 0)
                policy->insert(policy, slot, key, true);
            else if (slot != 1 || round < 3)
                policy->use(policy, slot);
        }
    return policy;
}

static void reuse_gives_up_what_has_just_had_its_turn(void **state)
{
    (void)state;
    sluice_cache_policy *policy = reuse_after(3);
    assert_in_range(policy->evict(policy, none_is_busy, NULL), 2, 3);
    policy->turn(policy, 0); /* the second layer is next */
    assert_in_range(policy->evict(policy, none_is_busy, NULL), 0, 1);
    policy->free(policy);
}

static void reuse_gives_up_what_is_left_out_most(void **state)
{
    (void)state;
    sluice_cache_policy *policy = reuse_after(12);
    assert_int_equal(policy->evict(policy, none_is_busy, NULL), 1);
    assert_in_range(policy->evict(policy, none_is_busy, NULL), 2, 3);
    policy->free(policy);
}

static void reuse_keeps_its_order_when_shares_are_scaled_anew(void **state)
{
    (void)state;
    sluice_cache_policy *policy = reuse_after(20000);
    assert_int_equal(policy->evict(policy, none_is_busy, NULL), 1);
    policy->free(policy);
}

static void bad_traces_and_names_are_refused(void **state)
{
    (void)state;
    sluice_cache_replay_result result;
    sluice_error err;
    const int64_t at[] = {0, 2};
    const int32_t wanted[] = {0, 9};
    const sluice_trace wild = {1, 9, at, wanted, 0};
    assert_int_equal(sluice_cache_replay(&wild, "lru", 4, 0, &result, &err), SLUICE_BAD_INPUT);
    const sluice_trace tame = {1, 10, at, wanted, 0};
    assert_int_equal(sluice_cache_replay(&tame, "fancy", 4, 0, &result, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "fancy"));
    assert_int_equal(sluice_cache_replay(&tame, "lru", 0, 0, &result, &err), SLUICE_USAGE);
    assert_int_equal(sluice_cache_replay(&tame, "lru", 1, 0, &result, &err), SLUICE_OK);
    assert_int_equal(result.requests, 2); /* more than there are slots */
    assert_int_equal(sluice_cache_replay(&tame, "oracle", 1, 1, &result, &err), SLUICE_OK);
    assert_int_equal(result.requests, 0); /* all of it was warm-up */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lru_equals_a_plain_model),
        cmocka_unit_test(no_policy_beats_the_oracle_and_all_are_perfect_with_every_slot),
        cmocka_unit_test(oracle_is_optimal),
        cmocka_unit_test(replay_predicts_the_cache),
        cmocka_unit_test(reuse_gives_up_what_has_just_had_its_turn),
        cmocka_unit_test(reuse_gives_up_what_is_left_out_most),
        cmocka_unit_test(reuse_keeps_its_order_when_shares_are_scaled_anew),
        cmocka_unit_test(bad_traces_and_names_are_refused),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
