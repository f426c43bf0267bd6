/* Bits for matrices: the mean that was asked for, and the least error among those that have it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "format/convert_mix.h"

enum { COUNT = 5 };

static double mean_of(const int32_t *levels, int32_t count)
{
    double sum = 0;
    for (int32_t i = 0; i < count; i++)
        sum += sluice_mix_bits[levels[i]];
    return sum / count;
}

static double error_of(const double errors[][SLUICE_MIX_LEVELS], const int32_t *levels,
                       int32_t count)
{
    double sum = 0;
    for (int32_t i = 0; i < count; i++)
        sum += errors[i][levels[i]];
    return sum;
}

/* The least error of all ways to choose with at most this mean. */
static double least(const double errors[][SLUICE_MIX_LEVELS], int32_t count, double mean)
{
    double best = INFINITY;
    int32_t levels[COUNT] = {0}, at = 0;
    while (at < count) {
        double error = error_of(errors, levels, count);
        if (mean_of(levels, count) <= mean && error < best) best = error;
        for (at = 0; at < count; at++) {
            if (++levels[at] < SLUICE_MIX_LEVELS) break;
            levels[at] = 0;
        }
    }
    return best;
}

/* Errors that fall by about four for each bit, from very different heights. */
static void make_errors(sluice_rng *rng, double errors[COUNT][SLUICE_MIX_LEVELS])
{
    for (int i = 0; i < COUNT; i++) {
        double height = exp(6.0 * sluice_rng_unit(rng)), fall = 1.0 + sluice_rng_unit(rng);
        for (int level = 0; level < SLUICE_MIX_LEVELS; level++)
            errors[i][level] = height * exp(-fall * (double)sluice_mix_bits[level]);
    }
}

static void a_mix_is_near_the_best_of_all(void **state)
{
    sluice_rng rng;
    double ours = 0, all = 0;
    (void)state;
    sluice_rng_seed(&rng, 7);
    for (int round = 0; round < 40; round++) {
        double errors[COUNT][SLUICE_MIX_LEVELS], mean = 2.0 + 4.0 * sluice_rng_unit(&rng);
        int32_t levels[COUNT];
        make_errors(&rng, errors);
        sluice_mix_allocate(errors[0], COUNT, mean, levels);
        double error = error_of((const double(*)[SLUICE_MIX_LEVELS])errors, levels, COUNT);
        double best = least((const double(*)[SLUICE_MIX_LEVELS])errors, COUNT, mean);
        assert_true(mean_of(levels, COUNT) <= mean);
        assert_true(error >= best);
        ours += log(error);
        all += log(best);
    }
    if (!(ours - all < 40 * 0.05)) fail_msg("%.3f worse than the best", (ours - all) / 40);
}

static void whole_means_of_equal_matrices_are_uniform(void **state)
{
    double errors[COUNT][SLUICE_MIX_LEVELS];
    int32_t levels[COUNT];
    (void)state;
    for (int i = 0; i < COUNT; i++)
        for (int level = 0; level < SLUICE_MIX_LEVELS; level++)
            errors[i][level] = pow(0.25, sluice_mix_bits[level]);
    for (int level = 0; level < SLUICE_MIX_LEVELS; level++) {
        sluice_mix_allocate(errors[0], COUNT, sluice_mix_bits[level], levels);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(levels[i], level);
    }
}

static void bits_that_remove_nothing_are_not_spent(void **state)
{
    static const double errors[2][SLUICE_MIX_LEVELS] = {{5, 1, 0, 0, 0, 0}, {0}};
    int32_t levels[2];
    (void)state;
    sluice_mix_allocate(errors[0], 2, 8, levels);
    assert_int_equal(levels[0], 2);
    assert_int_equal(levels[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mix_is_near_the_best_of_all),
        cmocka_unit_test(whole_means_of_equal_matrices_are_uniform),
        cmocka_unit_test(bits_that_remove_nothing_are_not_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
