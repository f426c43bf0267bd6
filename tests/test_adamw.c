/* The optimiser against its formula in double precision, whatever the threads and whatever of its
 * state is on disk; dropout: what a step computes with, and what is left of it. */
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
#include "train/gradients.h"

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
    assert_int_equal(sluice_adamw_new(adapter, NULL, NULL, pool, &adamw, NULL), SLUICE_OK);
    adamw.beta1 = 0.9f;
    adamw.beta2 = 0.95f;
    adamw.epsilon = 1e-6f;
    adamw.decay = 0.1f;
    adamw.clip = 1.0f;
    return adamw;
}

static double norm_of(sluice_adamw *adamw)
{
    double norm;
    assert_int_equal(sluice_adamw_norm(adamw, &norm, NULL), SLUICE_OK);
    return norm;
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
        assert_true(fabs(norm_of(&adamw) - norm) < 1e-9 * norm);
        assert_int_equal(sluice_adamw_step(&adamw, rate, norm, NULL), SLUICE_OK);
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
        norms[threads / 2] = norm_of(&adamw);
        assert_int_equal(sluice_adamw_step(&adamw, 0.1, norms[threads / 2], NULL), SLUICE_OK);
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
        assert_false(isfinite(norm_of(&adamw)));
    }
    sluice_adamw_free(&adamw);
    sluice_adapter_free(adapter);
    sluice_pool_free(pool);
}

#define LARGE 42 /* entries: two windows and a bit */

/* Layers 0, 1, 2 and 4; 0 and 2 are large, 1 has a small entry. */
static sluice_adapter *large_new(bool gradients)
{
    sluice_adapter_key keys[LARGE];
    sluice_adapter *adapter;
    for (int32_t i = 0; i < LARGE; i++)
        keys[i] = (sluice_adapter_key){i / 20 * 2, SLUICE_ADAPTER_EXPERT_GATE, i,
                                       i == 7 ? 255 : 256, 1.0f};
    for (int32_t layer = 0; layer < 2; layer++)
        keys[layer] = (sluice_adapter_key){layer, SLUICE_ADAPTER_GDN_QKV, -1, 3, 1.0f};
    assert_int_equal(sluice_adapter_new(&nano, keys, LARGE, gradients, NULL, &adapter, NULL),
                     SLUICE_OK);
    sluice_adapter_init(adapter, 1);
    return adapter;
}

/* What a backward pass would leave, from the top layer down; layer 1 is not reached by all. */
static void add_gradients(sluice_adapter *adapter, sluice_gradients *gradients, uint64_t seed)
{
    for (int32_t layer = adapter->layers - 1; layer >= 0; layer--) {
        if (gradients) assert_int_equal(sluice_gradients_begin(gradients, layer, NULL), SLUICE_OK);
        for (int32_t e = 0; e < adapter->n_entries; e++) {
            const sluice_adapter_entry *entry = &adapter->entries[e];
            sluice_rng rng;
            if (entry->key.layer != layer || (layer == 1 && seed % 3 == 2)) continue;
            sluice_rng_seed(&rng, seed * 100 + (uint64_t)e);
            for (int32_t i = 0; i < entry->key.rank * entry->in; i++)
                entry->da[i] += (float)sluice_rng_unit(&rng) - 0.5f;
            for (int32_t i = 0; i < entry->key.rank * entry->out; i++)
                entry->db[i] += (float)sluice_rng_unit(&rng) - 0.5f;
        }
        if (gradients) assert_int_equal(sluice_gradients_end(gradients, layer, NULL), SLUICE_OK);
    }
}

typedef struct moments {
    float *floats;
    size_t n;
} moments;

static sluice_status keep_piece(void *context, float *floats, size_t count, sluice_error *err)
{
    moments *to = context;
    (void)err;
    memcpy(to->floats + to->n, floats, count * sizeof *floats);
    to->n += count;
    return SLUICE_OK;
}

static sluice_status put_piece(void *context, float *floats, size_t count, sluice_error *err)
{
    moments *from = context;
    (void)err;
    memcpy(floats, from->floats + from->n, count * sizeof *floats);
    from->n += count;
    return SLUICE_OK;
}

/* Three steps of two passes each with dropout; spill: 1 the moments, 2 the gradients too. The
 * moments are taken out and put back after the second, as a checkpoint does. */
static void run_large(int spill, sluice_adapter *adapter, double *norms, moments *out)
{
    sluice_gradients *gradients = NULL;
    sluice_dropout dropout;
    sluice_adamw adamw;
    sluice_pool *pool;
    assert_int_equal(sluice_pool_new(2, NULL, &pool, NULL), SLUICE_OK);
    if (spill == 2)
        assert_int_equal(sluice_gradients_new(adapter, ".", &gradients, NULL), SLUICE_OK);
    assert_int_equal(sluice_dropout_new(adapter, gradients, 0.1f, 3, &dropout, NULL), SLUICE_OK);
    assert_int_equal(sluice_adamw_new(adapter, gradients, spill ? "." : NULL, pool, &adamw, NULL),
                     SLUICE_OK);
    assert_true(!spill || adapter->count > 2 * adamw.window);
    adamw.beta1 = 0.9f;
    adamw.beta2 = 0.99f;
    adamw.epsilon = 1e-8f;
    adamw.clip = 1.0f;
    for (int step = 0; step < 3; step++) {
        sluice_dropout_begin(&dropout, step);
        add_gradients(adapter, gradients, (uint64_t)(2 * step));
        add_gradients(adapter, gradients, (uint64_t)(2 * step + 1));
        assert_int_equal(sluice_dropout_end(&dropout, step, NULL), SLUICE_OK);
        norms[step] = norm_of(&adamw);
        assert_int_equal(sluice_adamw_step(&adamw, 0.01, norms[step], NULL), SLUICE_OK);
        if (step != 1) continue;
        out->n = 0;
        assert_int_equal(sluice_adamw_moments(&adamw, false, keep_piece, out, NULL), SLUICE_OK);
        sluice_adamw_free(&adamw);
        assert_int_equal(
            sluice_adamw_new(adapter, gradients, spill ? "." : NULL, pool, &adamw, NULL),
            SLUICE_OK);
        adamw.beta1 = 0.9f;
        adamw.beta2 = 0.99f;
        adamw.epsilon = 1e-8f;
        adamw.clip = 1.0f;
        adamw.step = step + 1;
        out->n = 0;
        assert_int_equal(sluice_adamw_moments(&adamw, true, put_piece, out, NULL), SLUICE_OK);
    }
    out->n = 0;
    assert_int_equal(sluice_adamw_moments(&adamw, false, keep_piece, out, NULL), SLUICE_OK);
    sluice_adamw_free(&adamw);
    sluice_dropout_free(&dropout);
    sluice_gradients_free(gradients);
    sluice_pool_free(pool);
}

static void what_is_on_disk_changes_no_bit(void **state)
{
    sluice_adapter *kept = large_new(true);
    moments first = {.floats = malloc(2 * kept->bytes)},
            second = {.floats = malloc(2 * kept->bytes)};
    double norms[3], again[3];
    (void)state;
    assert_true(first.floats && second.floats);
    run_large(0, kept, norms, &first);
    assert_true(norms[0] > 1.0);
    for (int spill = 1; spill <= 2; spill++) {
        sluice_adapter *spilled = large_new(spill == 1);
        run_large(spill, spilled, again, &second);
        assert_memory_equal(norms, again, sizeof norms);
        assert_memory_equal(kept->values, spilled->values, kept->bytes);
        assert_int_equal(second.n, 2 * kept->count);
        assert_memory_equal(first.floats, second.floats, 2 * kept->bytes);
        sluice_adapter_free(spilled);
    }
    sluice_adapter_free(kept);
    free(first.floats);
    free(second.floats);
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
    assert_int_equal(sluice_dropout_new(adapter, NULL, 0.25f, 11, &dropout, NULL), SLUICE_OK);
    sluice_dropout_begin(&dropout, 6);
    const int32_t n = dropped(adapter, values, adapter->values, 1.0f / 0.75f);
    assert_true(abs(4 * n - inputs) < inputs / 4);
    float *masked = malloc(adapter->bytes);
    memcpy(masked, adapter->values, adapter->bytes);
    assert_int_equal(sluice_dropout_end(&dropout, 6, NULL), SLUICE_OK);
    assert_memory_equal(values, adapter->values, adapter->bytes);
    /* The gradient of m * A, taken back to A: the same mask. */
    assert_int_equal(dropped(adapter, gradients, adapter->gradients, 1.0f / 0.75f), n);
    for (size_t i = 0; i < adapter->count; i++)
        assert_true((masked[i] == 0.0f) == (adapter->gradients[i] == 0.0f));
    /* The same step again, and another one. */
    sluice_dropout_begin(&dropout, 6);
    assert_memory_equal(masked, adapter->values, adapter->bytes);
    assert_int_equal(sluice_dropout_end(&dropout, 6, NULL), SLUICE_OK);
    sluice_dropout_begin(&dropout, 7);
    assert_memory_not_equal(masked, adapter->values, adapter->bytes);
    assert_int_equal(sluice_dropout_end(&dropout, 7, NULL), SLUICE_OK);
    assert_memory_equal(values, adapter->values, adapter->bytes);
    sluice_dropout_free(&dropout);

    assert_int_equal(sluice_dropout_new(adapter, NULL, 0.0f, 11, &dropout, NULL), SLUICE_OK);
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
        cmocka_unit_test(what_is_on_disk_changes_no_bit),
        cmocka_unit_test(dropout_leaves_inputs_out_for_a_step),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
