/* Packing: every sample once an epoch, in an order of (seed, epoch); targets are the next learnt
 * tokens; a run that goes on finds the same batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "train/packer.h"

#define SAMPLES 23
#define ROWS 32
#define SEGMENTS 5

static uint32_t tokens[SAMPLES * 16];
static sluice_sample list[SAMPLES];
static int32_t chosen[SAMPLES];
static sluice_samples samples = {.tokens = tokens, .samples = list, .n = SAMPLES};

/* Sample i has 2 + i % 13 tokens, 100 i, 100 i + 1, ...; the second half of each is learnt. */
static int make_samples(void **state)
{
    size_t at = 0;
    (void)state;
    for (int32_t i = 0; i < SAMPLES; i++) {
        list[i] = (sluice_sample){.at = at, .count = 2 + i % 13, .line = i + 1};
        chosen[i] = i;
        for (int32_t j = 0; j < list[i].count; j++) {
            const bool learn = 2 * j >= list[i].count;
            list[i].learn += learn && j > 0;
            tokens[at++] = (uint32_t)(100 * i + j) | (learn ? SLUICE_SAMPLE_LEARN : 0);
        }
    }
    samples.count = at;
    return 0;
}

static sluice_packer packer_of(bool shuffle, uint64_t seed)
{
    sluice_packer packer;
    assert_int_equal(
        sluice_packer_new(&samples, chosen, SAMPLES, ROWS, SEGMENTS, shuffle, seed, &packer, NULL),
        SLUICE_OK);
    return packer;
}

/* Takes a batch; the samples in it go to the end of seen. Returns how many. */
static int32_t take(sluice_packer *packer, int64_t limit, int32_t *seen)
{
    sluice_train_batch batch;
    int32_t row = 0, targets = 0;
    const int32_t told = sluice_packer_next(packer, limit, &batch);
    assert_true(batch.rows <= ROWS && batch.n_segments <= SEGMENTS);
    for (int32_t s = 0; s < batch.n_segments; s++) {
        const sluice_segment *segment = &batch.segments[s];
        const int32_t number = batch.tokens[row] / 100;
        const sluice_sample *sample = &list[number];
        assert_int_equal(segment->row, row);
        assert_int_equal(segment->count, sample->count);
        assert_int_equal(segment->position, 0);
        for (int32_t j = 0; j < sample->count; j++) {
            const bool learn = j + 1 < sample->count && 2 * (j + 1) >= sample->count;
            assert_int_equal(batch.tokens[row + j], 100 * number + j);
            assert_int_equal(batch.targets[row + j], learn ? 100 * number + j + 1 : -1);
        }
        targets += sample->learn;
        row += sample->count;
        seen[s] = number;
    }
    assert_int_equal(row, batch.rows);
    assert_int_equal(told, targets);
    return batch.n_segments;
}

static int32_t take_all(sluice_packer *packer, int64_t limit, int32_t *seen)
{
    int32_t n = 0, more;
    while ((more = take(packer, limit, seen + n)) > 0)
        n += more;
    return n;
}

static void every_epoch_has_every_sample_once_in_an_order_of_its_own(void **state)
{
    int32_t seen[3 * SAMPLES + SEGMENTS], times[SAMPLES];
    sluice_packer packer = packer_of(true, 5);
    (void)state;
    assert_int_equal(take_all(&packer, 3 * SAMPLES, seen), 3 * SAMPLES);
    for (int epoch = 0; epoch < 3; epoch++) {
        memset(times, 0, sizeof times);
        for (int32_t i = 0; i < SAMPLES; i++)
            times[seen[epoch * SAMPLES + i]]++;
        for (int32_t i = 0; i < SAMPLES; i++)
            assert_int_equal(times[i], 1);
    }
    assert_memory_not_equal(seen, seen + SAMPLES, SAMPLES * sizeof *seen);
    assert_memory_not_equal(seen, chosen, SAMPLES * sizeof *seen);
    sluice_packer_free(&packer);
}

static void the_seed_makes_the_order_and_none_keeps_it(void **state)
{
    int32_t a[SAMPLES + SEGMENTS], b[SAMPLES + SEGMENTS], c[SAMPLES + SEGMENTS];
    sluice_packer first = packer_of(true, 5), same = packer_of(true, 5), other = packer_of(true, 6);
    sluice_packer plain = packer_of(false, 5);
    (void)state;
    take_all(&first, SAMPLES, a);
    take_all(&same, SAMPLES, b);
    take_all(&other, SAMPLES, c);
    assert_memory_equal(a, b, SAMPLES * sizeof *a);
    assert_memory_not_equal(a, c, SAMPLES * sizeof *a);
    take_all(&plain, SAMPLES, a);
    assert_memory_equal(a, chosen, SAMPLES * sizeof *a);
    sluice_packer_free(&first);
    sluice_packer_free(&same);
    sluice_packer_free(&other);
    sluice_packer_free(&plain);
}

static void a_run_goes_on_where_it_was(void **state)
{
    int32_t whole[3 * SAMPLES + SEGMENTS], part[3 * SAMPLES + SEGMENTS], n = 0;
    sluice_packer packer = packer_of(true, 9);
    (void)state;
    take_all(&packer, 2 * SAMPLES, whole);
    sluice_packer_free(&packer);
    packer = packer_of(true, 9);
    while (n < SAMPLES + 4) /* into the second epoch */
        n += take(&packer, 2 * SAMPLES, part + n);
    sluice_packer again = packer_of(true, 9);
    again.taken = packer.taken;
    assert_int_equal(again.taken, n);
    n += take_all(&again, 2 * SAMPLES, part + n);
    assert_int_equal(n, 2 * SAMPLES);
    assert_memory_equal(whole, part, (size_t)n * sizeof *part);
    sluice_packer_free(&packer);
    sluice_packer_free(&again);
}

static void skipping_takes_what_next_would(void **state)
{
    int32_t seen[SAMPLES * 2 + SEGMENTS], batches = 0;
    sluice_packer packer = packer_of(true, 3), skipper = packer_of(true, 3);
    (void)state;
    while (sluice_packer_skip(&skipper, SAMPLES + 7)) {
        take(&packer, SAMPLES + 7, seen);
        assert_int_equal(packer.taken, skipper.taken);
        batches++;
    }
    assert_true(batches > 3);
    assert_int_equal(take(&packer, SAMPLES + 7, seen), 0);
    sluice_packer_free(&packer);
    sluice_packer_free(&skipper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_has_every_sample_once_in_an_order_of_its_own),
        cmocka_unit_test(the_seed_makes_the_order_and_none_keeps_it),
        cmocka_unit_test(a_run_goes_on_where_it_was),
        cmocka_unit_test(skipping_takes_what_next_would),
    };
    return cmocka_run_group_tests(tests, make_samples, NULL);
}
