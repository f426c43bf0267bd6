/* The optimiser against its formula in double precision, whatever the threads; dropout: what a step
 * computes with, and what is left of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/random_layer.h"
#include "train/adamw.h"
#include "train/dropout.h"

static sluice_config nano;

static sluice_adapter *adapter_new(void)
{
    const sluice_adapter_key keys[] = {{0, SLUICE_ADAPTER_SHARED_UP, -1, 4, 2.0f},
                                       {1, SLUICE_ADAPTER_GDN_OUT, -1, 3, 2.0f},
                                       {5, SLUICE_ADAPTER_EXPERT_DOWN, 17, 2, 2.0f}};
    sluice_adapter *adapter;
    sluice_rng rng;
    assert_int_equal(sluice_adapter_new(&nano, keys, 3, true, NULL, &adapter, NULL), SLUICE_OK);
    sluice_rng_seed(&rng, 4);
    for (size_t i = 0; i < adapter->count; i++)
        adapter->values[i] = random_normal(&rng);
    return adapter;
}

static void fill_gradients(sluice_adapter *adapter, uint64_t seed)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    for (size_t i = 0; i < adapter->count; i++)
        adapter->gradients[i] = 0.1f * random_normal(&rng);
}

static sluice_adamw optimiser_of(sluice_adapter *adapter, sluice_pool *pool)
{
    sluice_adamw adamw;
    assert_int_equal(sluice_adamw_new(adapter, pool, &adamw, NULL), SLUICE_OK);
    adamw.beta1 = 0.9f;
    adamw.beta2 = 0.95f;
    adamw.epsilon = 1e-6f;
    adamw.decay = 0.1f;
    adamw.clip = 1.0f;
    return adamw;
}

static void steps_follow_the_paper(void **state)
{
    sluice_adapter *adapter = adapter_new();
    sluice_pool *pool;
    (void)state;
    assert_int_equal(sluice_pool_new(2, NULL, &pool, NULL), SLUICE_OK);
    sluice_adamw adamw = optimiser_of(adapter, pool);
    double *w = calloc(3 * adapter->count, sizeof *w), *m = w + adapter->count,
           *v = m + adapter->count;
    assert_non_null(w);
    for (size_t i = 0; i < adapter->count; i++)
        w[i] = (double)adapter->values[i];
    for (int step = 1; step <= 5; step++) {
        const double rate = 0.01 * step;
        double square = 0.0;
        fill_gradients(adapter, (uint64_t)step);
        if (step == 3) /* small enough not to be clipped */
            for (size_t i = 0; i < adapter->count; i++)
                adapter->gradients[i] *= 1e-3f;
        for (size_t i = 0; i < adapter->count; i++)
            square += (double)adapter->gradients[i] * (double)adapter->gradients[i];
        const double norm = sqrt(square), shrink = norm > 1.0 ? 1.0 / norm : 1.0;
        assert_true((shrink < 1.0) == (step != 3));
        for (size_t i = 0; i < adapter->count; i++) {
            const double g = shrink * (double)adapter->gradients[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            w[i] -= rate * (0.1 * w[i] + m[i] / (1 - pow(0.9, step)) /
                                             (sqrt(v[i] / (1 - pow(0.95, step))) + 1e-6));
        }
        assert_true(fabs(sluice_adamw_norm(&adamw) - norm) < 1e-9 * norm);
        sluice_adamw_step(&adamw, rate, norm);
        for (size_t i = 0; i < adapter->count; i++) {
            if (fabs((double)adapter->values[i] - w[i]) > 1e-4 * (1.0 + fabs(w[i])))
                fail_msg("step %d, %zu: %g, not %g", step, i, (double)adapter->values[i], w[i]);
            assert_true(adapter->gradients[i] == 0.0f);
        }
    }
    free(w);
    sluice_adamw_free(&adamw);
    sluice_adapter_free(adapter);
    sluice_pool_free(pool);
}

static void threads_change_no_bit(void **state)
{
    float *first = NULL;
    double norms[2];
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        sluice_adapter *adapter = adapter_new();
        sluice_pool *pool;
        assert_int_equal(sluice_pool_new(threads, NULL, &pool, NULL), SLUICE_OK);
        sluice_adamw adamw = optimiser_of(adapter, pool);
        fill_gradients(adapter, 7);
        norms[threads / 2] = sluice_adamw_norm(&adamw);
        sluice_adamw_step(&adamw, 0.1, norms[threads / 2]);
        if (first)
            assert_memory_equal(first, adapter->values, adapter->bytes);
        else
            first = memcpy(malloc(adapter->bytes), adapter->values, adapter->bytes);
        sluice_adamw_free(&adamw);
        sluice_adapter_free(adapter);
        sluice_pool_free(pool);
    }
    assert_true(norms[0] == norms[1]);
    free(first);
}

static void a_gradient_that_is_no_number_shows_in_the_norm(void **state)
{
    static const float wrong[] = {NAN, INFINITY};
    sluice_adapter *adapter = adapter_new();
    sluice_pool *pool;
    (void)state;
    assert_int_equal(sluice_pool_new(1, NULL, &pool, NULL), SLUICE_OK);
    sluice_adamw adamw = optimiser_of(adapter, pool);
    for (int i = 0; i < 2; i++) {
        fill_gradients(adapter, 1);
        adapter->gradients[adapter->count - 1] = wrong[i];
        assert_false(isfinite(sluice_adamw_norm(&adamw)));
    }
    sluice_adamw_free(&adamw);
    sluice_adapter_free(adapter);
    sluice_pool_free(pool);
}

/* Columns that are zero in all rows of an entry's A; the others are exactly count times what they
 * were. */
static int32_t dropped(const sluice_adapter *adapter, const float *before, const float *now,
                       float count)
{
    int32_t n = 0;
    for (int32_t e = 0; e < adapter->n_entries; e++) {
        const sluice_adapter_entry *entry = &adapter->entries[e];
        const ptrdiff_t at = entry->a - adapter->values;
        for (int32_t i = 0; i < entry->in; i++) {
            const bool zero = now[at + i] == 0.0f;
            n += zero;
            for (int32_t r = 0; r < entry->key.rank; r++) {
                const ptrdiff_t cell = at + (ptrdiff_t)r * entry->in + i;
                assert_true(now[cell] == (zero ? 0.0f : before[cell] * count));
            }
        }
        const ptrdiff_t b = entry->b - adapter->values;
        assert_memory_equal(before + b, now + b,
                            (size_t)(entry->key.rank * entry->out) * sizeof(float));
    }
    return n;
}

static void dropout_leaves_inputs_out_for_a_step(void **state)
{
    sluice_adapter *adapter = adapter_new();
    sluice_dropout dropout;
    float *values = malloc(2 * adapter->bytes), *gradients = values + adapter->count;
    int32_t inputs = 0;
    (void)state;
    assert_non_null(values);
    for (int32_t e = 0; e < adapter->n_entries; e++)
        inputs += adapter->entries[e].in;
    fill_gradients(adapter, 3);
    memcpy(values, adapter->values, adapter->bytes);
    memcpy(gradients, adapter->gradients, adapter->bytes);
    assert_int_equal(sluice_dropout_new(adapter, 0.25f, 11, &dropout, NULL), SLUICE_OK);
    sluice_dropout_begin(&dropout, 6);
    const int32_t n = dropped(adapter, values, adapter->values, 1.0f / 0.75f);
    assert_true(abs(4 * n - inputs) < inputs / 4);
    float *masked = malloc(adapter->bytes);
    memcpy(masked, adapter->values, adapter->bytes);
    sluice_dropout_end(&dropout, 6);
    assert_memory_equal(values, adapter->values, adapter->bytes);
    /* The gradient of m * A, taken back to A: the same mask. */
    assert_int_equal(dropped(adapter, gradients, adapter->gradients, 1.0f / 0.75f), n);
    for (size_t i = 0; i < adapter->count; i++)
        assert_true((masked[i] == 0.0f) == (adapter->gradients[i] == 0.0f));
    /* The same step again, and another one. */
    sluice_dropout_begin(&dropout, 6);
    assert_memory_equal(masked, adapter->values, adapter->bytes);
    sluice_dropout_end(&dropout, 6);
    sluice_dropout_begin(&dropout, 7);
    assert_memory_not_equal(masked, adapter->values, adapter->bytes);
    sluice_dropout_end(&dropout, 7);
    assert_memory_equal(values, adapter->values, adapter->bytes);
    sluice_dropout_free(&dropout);

    assert_int_equal(sluice_dropout_new(adapter, 0.0f, 11, &dropout, NULL), SLUICE_OK);
    sluice_dropout_begin(&dropout, 6);
    assert_memory_equal(values, adapter->values, adapter->bytes);
    sluice_dropout_free(&dropout);
    free(masked);
    free(values);
    sluice_adapter_free(adapter);
}

static int set_up(void **state)
{
    (void)state;
    return sluice_config_load(engines_source_path("models/nano/config.json"), &nano, NULL) !=
           SLUICE_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_the_paper),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(a_gradient_that_is_no_number_shows_in_the_norm),
        cmocka_unit_test(dropout_leaves_inputs_out_for_a_step),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
