/* Rounding by importance: never worse than plain rounding, close to the best there is on groups
 * small enough to try everything, better where columns go together, and the same every time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "quant/fit.h"
#include "quant/fit_group.h"

#define COLS_MAX 256

static _Alignas(64) unsigned char scratch[64 << 10];

static double normal(sluice_rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += sluice_rng_unit(rng);
    return sum;
}

/* Half of the variance of all columns is common, in `factors` directions. */
static void make_products(sluice_rng *rng, int32_t cols, int32_t block, float *h)
{
    enum { ROWS = 1024, FACTORS = 8 };
    static float mix[FACTORS][COLS_MAX];
    float x[COLS_MAX];
    memset(h, 0, (size_t)cols * (size_t)block * sizeof *h);
    for (int f = 0; f < FACTORS; f++)
        for (int32_t c = 0; c < cols; c++)
            mix[f][c] = (float)normal(rng);
    for (int r = 0; r < ROWS; r++) {
        for (int32_t c = 0; c < cols; c++)
            x[c] = 2.0f * (float)normal(rng);
        for (int f = 0; f < FACTORS; f++) {
            float a = (float)normal(rng);
            for (int32_t c = 0; c < cols; c++)
                x[c] += a * mix[f][c];
        }
        for (int32_t i = 0; i < cols; i++)
            for (int32_t j = i / block * block; j < i / block * block + block && j < cols; j++)
                h[i * block + j % block] +=
                    x[i] * x[j] * (1.0f + (float)(i % 7)) * (1.0f + (float)(j % 7)) / (float)ROWS;
    }
}

static void make_row(sluice_rng *rng, int32_t cols, float *row)
{
    for (int32_t c = 0; c < cols; c++)
        row[c] = 0.02f * (float)normal(rng);
}

static sluice_weight_format affine(int bits, int group)
{
    return (sluice_weight_format){SLUICE_WEIGHT_AFFINE, (uint8_t)bits, (uint8_t)group,
                                  SLUICE_WEIGHT_BF16};
}

typedef struct rounded {
    unsigned char codes[COLS_MAX], scales[COLS_MAX], biases[COLS_MAX];
} rounded;

static double plain_error(sluice_weight_format format, int32_t cols, const float *row,
                          const sluice_fit_weights *weights)
{
    static float floats[2 * COLS_MAX];
    rounded r = {0};
    assert_int_equal(
        sluice_weight_quantize_row(format, cols, row, r.codes, r.scales, r.biases, NULL),
        SLUICE_OK);
    return sluice_fit_error(format, cols, row, weights, r.codes, r.scales, r.biases, floats);
}

static double fit(sluice_weight_format format, int32_t cols, const float *row,
                  const sluice_fit_weights *weights, rounded *r)
{
    static float floats[2 * COLS_MAX];
    *r = (rounded){0};
    assert_true(sluice_fit_scratch(format, cols) <= sizeof scratch);
    assert_int_equal(sluice_weight_fit_row(format, cols, row, weights, scratch, r->codes, r->scales,
                                           r->biases, NULL),
                     SLUICE_OK);
    return sluice_fit_error(format, cols, row, weights, r->codes, r->scales, r->biases, floats);
}

static sluice_fit_weights weights_of(const sluice_moment *moment)
{
    return (sluice_fit_weights){moment->block, moment->correlation, moment->factor, moment->scale};
}

static void the_error_never_exceeds_plain_rounding(void **state)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8}, groups[] = {32, 64, 128};
    sluice_rng rng;
    float row[COLS_MAX];
    static float h[COLS_MAX * COLS_MAX];
    (void)state;
    sluice_rng_seed(&rng, 11);
    make_products(&rng, COLS_MAX, 128, h);
    sluice_moment *moment = NULL;
    assert_int_equal(sluice_moment_new(COLS_MAX, 128, &moment, NULL), SLUICE_OK);
    assert_int_equal(sluice_moment_set(moment, h, 0.01f, NULL), SLUICE_OK);
    const sluice_fit_weights whole = weights_of(moment);
    const sluice_fit_weights cases[] = {{0}, {.scale = moment->scale}, whole};
    for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
                for (int n = 0; n < 8; n++) {
                    sluice_weight_format format = affine(bits[b], groups[g]);
                    rounded r;
                    make_row(&rng, COLS_MAX, row);
                    double plain = plain_error(format, COLS_MAX, row, &cases[c]);
                    double ours = fit(format, COLS_MAX, row, &cases[c], &r);
                    if (ours > plain)
                        fail_msg("q%d/%d, weights %zu: %g > %g", bits[b], groups[g], c, ours,
                                 plain);
                }
    sluice_moment_free(moment);
}

/* The error without the products between columns as weights shows what carrying it gains. */
static void carrying_errors_reduces_what_comes_out(void **state)
{
    sluice_rng rng;
    float row[COLS_MAX];
    static float h[COLS_MAX * COLS_MAX], floats[2 * COLS_MAX];
    double plain = 0, alone = 0, together = 0;
    (void)state;
    sluice_rng_seed(&rng, 12);
    make_products(&rng, COLS_MAX, COLS_MAX, h);
    sluice_moment *moment = NULL;
    assert_int_equal(sluice_moment_new(COLS_MAX, COLS_MAX, &moment, NULL), SLUICE_OK);
    assert_int_equal(sluice_moment_set(moment, h, 0.01f, NULL), SLUICE_OK);
    const sluice_fit_weights whole = weights_of(moment), columns = {.scale = moment->scale};
    sluice_weight_format format = affine(2, 64);
    for (int n = 0; n < 16; n++) {
        rounded r;
        make_row(&rng, COLS_MAX, row);
        plain += plain_error(format, COLS_MAX, row, &whole);
        fit(format, COLS_MAX, row, &columns, &r);
        alone +=
            sluice_fit_error(format, COLS_MAX, row, &whole, r.codes, r.scales, r.biases, floats);
        together += fit(format, COLS_MAX, row, &whole, &r);
    }
    sluice_moment_free(moment);
    assert_true(alone < 0.8 * plain);
    assert_true(together < 0.8 * alone);
}

/* Every grid of a fine lattice over a group: the search finds one that is nearly as good. */
static void a_group_comes_close_to_the_best_of_all_grids(void **state)
{
    sluice_rng rng;
    float x[32], weight[32];
    sluice_weight_format format = affine(2, 32);
    (void)state;
    sluice_rng_seed(&rng, 13);
    double excess = 0;
    for (int n = 0; n < 20; n++) {
        double best = INFINITY, found = 0;
        for (int i = 0; i < 32; i++) {
            x[i] = (float)normal(&rng);
            weight[i] = 0.1f + 2.0f * (float)sluice_rng_unit(&rng);
        }
        for (float scale = 0.1f; scale < 2.0f; scale += 0.02f)
            for (float bias = -3.0f; bias < 0.5f; bias += 0.02f) {
                double sum = 0;
                for (int i = 0; i < 32; i++) {
                    float code = fminf(fmaxf(rintf((x[i] - bias) / scale), 0.0f), 3.0f);
                    double off = (double)(x[i] - (scale * code + bias));
                    sum += (double)weight[i] * off * off;
                }
                if (sum < best) best = sum;
            }
        sluice_fit_grid grid = sluice_fit_search(format, x, weight);
        for (int i = 0; i < 32; i++) {
            float code = fminf(fmaxf(rintf((x[i] - grid.bias) / grid.scale), 0.0f), 3.0f);
            double off = (double)(x[i] - (grid.scale * code + grid.bias));
            found += (double)weight[i] * off * off;
        }
        if (found > 1.5 * best) fail_msg("group %d: %g, the best is %g", n, found, best);
        excess += found / best - 1;
    }
    assert_true(excess / 20 < 0.1);
}

static void constant_and_zero_rows_are_kept(void **state)
{
    float row[64];
    const sluice_fit_weights none = {0};
    rounded r;
    (void)state;
    for (int value = -1; value <= 1; value++) {
        for (int i = 0; i < 64; i++)
            row[i] = 0.5f * (float)value;
        assert_true(fit(affine(2, 64), 64, row, &none, &r) < 1e-10);
    }
}

static void the_same_row_gives_the_same_bytes(void **state)
{
    sluice_rng rng;
    float row[COLS_MAX];
    static float h[COLS_MAX * 128];
    rounded a, b;
    (void)state;
    sluice_rng_seed(&rng, 14);
    make_products(&rng, COLS_MAX, 128, h);
    make_row(&rng, COLS_MAX, row);
    sluice_moment *moment = NULL;
    assert_int_equal(sluice_moment_new(COLS_MAX, 128, &moment, NULL), SLUICE_OK);
    assert_int_equal(sluice_moment_set(moment, h, 0.01f, NULL), SLUICE_OK);
    const sluice_fit_weights whole = weights_of(moment);
    fit(affine(3, 64), COLS_MAX, row, &whole, &a);
    memset(scratch, 0xff, sizeof scratch);
    fit(affine(3, 64), COLS_MAX, row, &whole, &b);
    sluice_moment_free(moment);
    assert_memory_equal(&a, &b, sizeof a);
}

/* U is upper triangular with C UT U = 1. */
static void the_factor_inverts_the_correlations(void **state)
{
    enum { N = 96 };
    sluice_rng rng;
    static float h[N * N];
    (void)state;
    sluice_rng_seed(&rng, 15);
    make_products(&rng, N, N, h);
    sluice_moment *moment = NULL;
    assert_int_equal(sluice_moment_new(N, N, &moment, NULL), SLUICE_OK);
    assert_int_equal(sluice_moment_set(moment, h, 0.01f, NULL), SLUICE_OK);
    const float *u = moment->factor, *c = moment->correlation;
    static double inverse[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            inverse[i][j] = 0;
            for (int k = 0; k < N; k++)
                inverse[i][j] += (double)u[k * N + i] * (double)u[k * N + j];
            if (j < i) assert_true(u[i * N + j] == 0.0f);
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += (double)c[i * N + k] * inverse[k][j];
            assert_true(fabs(sum - (i == j)) < 1e-3);
        }
    sluice_moment_free(moment);
}

static void products_of_no_inputs_are_refused(void **state)
{
    float h[64 * 64] = {0};
    sluice_error err = {0};
    (void)state;
    for (int i = 0; i < 64; i++)
        h[i * 64 + i] = 1.0f;
    h[1] = h[64] = 3.0f; /* more than their squares allow */
    sluice_moment *moment = NULL;
    assert_int_equal(sluice_moment_new(64, 64, &moment, NULL), SLUICE_OK);
    assert_int_equal(sluice_moment_set(moment, h, 0.01f, &err), SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "columns 0 to 63"));
    sluice_moment_free(moment);
}

static void not_a_number_is_refused(void **state)
{
    float row[64] = {0};
    const sluice_fit_weights none = {0};
    rounded r;
    (void)state;
    row[7] = NAN;
    assert_int_equal(sluice_weight_fit_row(affine(2, 64), 64, row, &none, scratch, r.codes,
                                           r.scales, r.biases, NULL),
                     SLUICE_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_error_never_exceeds_plain_rounding),
        cmocka_unit_test(carrying_errors_reduces_what_comes_out),
        cmocka_unit_test(a_group_comes_close_to_the_best_of_all_grids),
        cmocka_unit_test(constant_and_zero_rows_are_kept),
        cmocka_unit_test(the_same_row_gives_the_same_bytes),
        cmocka_unit_test(the_factor_inverts_the_correlations),
        cmocka_unit_test(products_of_no_inputs_are_refused),
        cmocka_unit_test(not_a_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
