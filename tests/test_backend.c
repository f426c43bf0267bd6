/* The CPU backend's other operations (embedding, router, experts, weighted sum, head), its memory,
 * and what it refuses. Attention and the delta rule are in test_backend_mixer.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "support/random_layer.h"

#define ROWS 300 /* more than a task takes */

static const sluice_geometry odd = {.hidden = 52,
                                    .vocab = 70,
                                    .layers = 2,
                                    .rms_eps = 1e-6f,
                                    .heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 20,
                                    .rotary_dim = 8,
                                    .rope_theta = 10000.0,
                                    .gdn_k_heads = 1,
                                    .gdn_v_heads = 2,
                                    .gdn_k_dim = 12,
                                    .gdn_v_dim = 9,
                                    .conv_width = 4,
                                    .experts = 37,
                                    .top_k = 5,
                                    .expert_width = 24,
                                    .shared_width = 40,
                                    .context_max = 128};

static const sluice_geometry even = {.hidden = 192,
                                     .vocab = 160,
                                     .layers = 2,
                                     .rms_eps = 1e-6f,
                                     .heads = 2,
                                     .kv_heads = 1,
                                     .head_dim = 64,
                                     .rotary_dim = 16,
                                     .rope_theta = 10000.0,
                                     .gdn_k_heads = 1,
                                     .gdn_v_heads = 2,
                                     .gdn_k_dim = 64,
                                     .gdn_v_dim = 64,
                                     .conv_width = 4,
                                     .experts = 64,
                                     .top_k = 8,
                                     .expert_width = 128,
                                     .shared_width = 64,
                                     .context_max = 128};

static const sluice_weight_format f32 = {SLUICE_WEIGHT_F32, 32, 0, 0};
static const sluice_weight_format q4 = {SLUICE_WEIGHT_AFFINE, 4, 64, SLUICE_WEIGHT_BF16};

typedef struct bench {
    random_layer layer;
    sluice_budget *budget;
    sluice_pool *pool;
    sluice_backend *be;
    sluice_buffer *h, *x, *y, *shared; /* [ROWS, hidden]; y: [ROWS * top_k, hidden] */
    float *rows;                       /* [ROWS, hidden], what h holds */
} bench;

static size_t row_bytes(const bench *b)
{
    return (size_t)b->layer.geometry.hidden * sizeof(float);
}

static sluice_buffer *rows_new(bench *b, size_t rows)
{
    sluice_buffer *buffer;
    assert_int_equal(b->be->buffer_new(b->be, rows * row_bytes(b), "test", &buffer, NULL),
                     SLUICE_OK);
    return buffer;
}

static void bench_open(bench *b, const sluice_geometry *g, sluice_weight_format format, int threads,
                       const char *cpu, bool exact)
{
    sluice_cpu_options options = {.rows_max = ROWS, .exact = exact};
    random_layer_init(&b->layer, g, format, 21);
    assert_int_equal(sluice_budget_new(0, &b->budget, NULL), SLUICE_OK);
    assert_int_equal(sluice_pool_new(threads, NULL, &b->pool, NULL), SLUICE_OK);
    assert_int_equal(sluice_cpu_flags_parse(cpu, &options.cpu_flags, NULL), SLUICE_OK);
    options.pool = b->pool;
    options.budget = b->budget;
    assert_int_equal(sluice_cpu_backend_new(g, &options, &b->be, NULL), SLUICE_OK);
    b->h = rows_new(b, ROWS);
    b->x = rows_new(b, ROWS);
    b->y = rows_new(b, ROWS * (size_t)g->top_k);
    b->shared = rows_new(b, ROWS);
    b->rows = random_floats(&b->layer, (int64_t)ROWS * g->hidden, 0.0f, 1.0f);
    b->be->buffer_write(b->be, b->h, 0, b->rows, ROWS * row_bytes(b));
}

static void bench_close(bench *b)
{
    b->be->buffer_free(b->be, b->h);
    b->be->buffer_free(b->be, b->x);
    b->be->buffer_free(b->be, b->y);
    b->be->buffer_free(b->be, b->shared);
    b->be->free(b->be);
    assert_int_equal(sluice_budget_used(b->budget), 0);
    sluice_pool_free(b->pool);
    sluice_budget_free(b->budget);
    random_layer_free(&b->layer);
}

static float *rows_read(const bench *b, const sluice_buffer *buffer, size_t rows)
{
    float *out = malloc(rows * row_bytes(b) + 1);
    assert_non_null(out);
    b->be->buffer_read(b->be, buffer, 0, out, rows * row_bytes(b));
    return out;
}

static void assert_close(const float *got, const double *want, int32_t n, double tolerance)
{
    for (int32_t i = 0; i < n; i++) {
        const double error = got[i] > want[i] ? got[i] - want[i] : want[i] - got[i];
        if (!(error <= tolerance)) fail_msg("element %d: %g, not %g", i, (double)got[i], want[i]);
    }
}

static void widen(const float *from, int32_t n, double *to)
{
    for (int32_t i = 0; i < n; i++)
        to[i] = from[i];
}

static void embedding_rows_are_the_table_s(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &even, q4, 2, "auto", true);
    int32_t tokens[ROWS];
    for (int32_t i = 0; i < ROWS; i++)
        tokens[i] = (i * 31) % even.vocab;
    b.be->embed(b.be, &b.layer.head, tokens, ROWS, b.x);
    float *x = rows_read(&b, b.x, ROWS);
    for (int32_t i = 0; i < ROWS; i++)
        assert_memory_equal(x + i * even.hidden, b.layer.head_reference + tokens[i] * even.hidden,
                            row_bytes(&b));
    free(x);
    bench_close(&b);
}

/* Largest first, ties to the lower index, all from the probabilities given. */
static void assert_top_k(const float *p, int32_t n, int32_t k, const int32_t *ids,
                         const float *probs)
{
    for (int32_t j = 0; j < k; j++) {
        assert_in_range(ids[j], 0, n - 1);
        assert_true(p[ids[j]] == probs[j]);
        assert_true(j == 0 || probs[j - 1] > probs[j] ||
                    (probs[j - 1] == probs[j] && ids[j - 1] < ids[j]));
    }
    for (int32_t i = 0; i < n; i++) {
        bool chosen = false;
        for (int32_t j = 0; j < k; j++)
            chosen |= ids[j] == i;
        assert_true(chosen || p[i] < probs[k - 1] || (p[i] == probs[k - 1] && i > ids[k - 1]));
    }
}

static void router_probabilities(const bench *b, const double *row, double *p)
{
    const sluice_geometry *g = &b->layer.geometry;
    double x[256], sum = 0.0;
    reference_rmsnorm(row, b->layer.router.norm, g->rms_eps, g->hidden, x);
    reference_linear(b->layer.router_reference, g->experts, g->hidden, x, p);
    for (int32_t i = 0; i < g->experts; i++)
        sum += p[i] = __builtin_exp(p[i]);
    for (int32_t i = 0; i < g->experts; i++)
        p[i] /= sum;
}

static void the_router_takes_the_k_most_probable_experts(void **state)
{
    (void)state;
    const sluice_geometry *sizes[] = {&odd, &even};
    for (int s = 0; s < 2; s++) {
        const sluice_geometry *g = sizes[s];
        bench b;
        bench_open(&b, g, s ? q4 : f32, 2, "auto", true);
        const int32_t k = g->top_k;
        int32_t *ids = malloc((size_t)(ROWS * k) * sizeof *ids);
        float *probs = malloc((size_t)(ROWS * k) * sizeof *probs);
        float *all = malloc((size_t)(ROWS * g->experts) * sizeof *all);
        assert_true(ids && probs && all);
        b.be->router(b.be, &b.layer.router, ROWS, k, b.h, b.x, ids, probs, all);
        float *x = rows_read(&b, b.x, ROWS);
        for (int32_t i = 0; i < ROWS; i++) {
            double row[256], want[256];
            widen(b.rows + i * g->hidden, g->hidden, row);
            router_probabilities(&b, row, want);
            assert_close(all + i * g->experts, want, g->experts, 1e-6);
            reference_rmsnorm(row, b.layer.router.norm, g->rms_eps, g->hidden, want);
            assert_close(x + i * g->hidden, want, g->hidden, 1e-5);
            assert_top_k(all + i * g->experts, g->experts, k, ids + i * k, probs + i * k);
        }
        free(ids);
        free(probs);
        free(all);
        free(x);
        bench_close(&b);
    }
}

static void equal_experts_go_to_the_lower_index(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &odd, f32, 1, "auto", true);
    /* A router of zeros finds all experts equal. */
    void *zeros = NULL;
    const size_t bytes = sluice_weight_bytes(f32, odd.experts, odd.hidden);
    assert_int_equal(posix_memalign(&zeros, 64, bytes), 0);
    memset(zeros, 0, bytes);
    const sluice_router_weights w = {b.layer.router.norm,
                                     {f32, odd.experts, odd.hidden, zeros, NULL}};
    int32_t ids[3 * 5];
    float probs[3 * 5];
    b.be->router(b.be, &w, 3, 5, b.h, b.x, ids, probs, NULL);
    for (int32_t i = 0; i < 15; i++)
        assert_int_equal(ids[i], i % 5);
    free(zeros);
    bench_close(&b);
}

/* m of the rows, out of order, into slots that are out of order too. */
static void expert_rows(const bench *b, int32_t m, float *out)
{
    const sluice_geometry *g = &b->layer.geometry;
    const int32_t n_slots = ROWS * g->top_k;
    int32_t rows[ROWS], slots[ROWS];
    for (int32_t i = 0; i < m; i++) {
        rows[i] = (i * 7 + 3) % ROWS;
        slots[i] = (i * 11 + 5) % n_slots;
    }
    const sluice_expert_call call = {b->layer.expert, rows, slots, m};
    b->be->experts(b->be, &call, 1, b->h, b->y);
    for (int32_t i = 0; i < m; i++)
        b->be->buffer_read(b->be, b->y, (size_t)slots[i] * row_bytes(b), out + i * g->hidden,
                           row_bytes(b));
}

static void an_expert_takes_rows_and_fills_slots(void **state)
{
    (void)state;
    const sluice_geometry *sizes[] = {&odd, &even};
    for (int s = 0; s < 2; s++) {
        const sluice_geometry *g = sizes[s];
        bench b;
        bench_open(&b, g, s ? q4 : f32, 2, "auto", true);
        float *alone = malloc(row_bytes(&b)), *all = malloc(ROWS * row_bytes(&b));
        assert_true(alone && all);
        expert_rows(&b, ROWS, all);
        for (int32_t i = 0; i < ROWS; i++) {
            double x[256], y[256];
            widen(b.rows + (i * 7 + 3) % ROWS * g->hidden, g->hidden, x);
            const float *const *w = b.layer.expert_reference;
            reference_expert(w[0], w[1], w[2], g->expert_width, g->hidden, x, y);
            assert_close(all + i * g->hidden, y, g->hidden, 2e-5);
        }
        /* A row alone has the bits that it has among others. */
        expert_rows(&b, 1, alone);
        assert_memory_equal(alone, all, row_bytes(&b));
        free(alone);
        free(all);
        bench_close(&b);
    }
}

/* More calls than run together; of one row each, then of as many as a step has. */
static void experts_at_once_give_the_bits_of_each_alone(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        for (int32_t m = 1; m <= ROWS; m += ROWS - 1) {
            bench b;
            bench_open(&b, &even, q4, 2, "auto", exact);
            enum { CALLS = 21 };
            const int32_t n_slots = ROWS * even.top_k;
            sluice_expert_call calls[CALLS];
            int32_t rows[CALLS][ROWS], slots[CALLS][ROWS];
            float *alone = malloc(ROWS * row_bytes(&b)), *got = malloc(ROWS * row_bytes(&b));
            assert_true(alone && got);
            expert_rows(&b, ROWS, alone); /* row (i * 7 + 3) % ROWS at i */
            for (int32_t c = 0; c < CALLS; c++) {
                for (int32_t i = 0; i < m; i++) {
                    rows[c][i] = ((i + c % 2) * 7 + 3) % ROWS;
                    slots[c][i] = (c * m + i) % n_slots;
                }
                calls[c] = (sluice_expert_call){b.layer.expert, rows[c], slots[c], m};
            }
            b.be->experts(b.be, calls, CALLS, b.h, b.y);
            for (int32_t c = CALLS - 2; c < CALLS; c++) {
                for (int32_t i = 0; i < m; i++) {
                    b.be->buffer_read(b.be, b.y, (size_t)slots[c][i] * row_bytes(&b), got,
                                      row_bytes(&b));
                    assert_memory_equal(got, alone + (i + c % 2) % ROWS * even.hidden,
                                        row_bytes(&b));
                }
            }
            free(alone);
            free(got);
            bench_close(&b);
        }
    }
}

static void the_shared_expert_is_gated_by_a_sigmoid(void **state)
{
    (void)state;
    const sluice_geometry *g = &even;
    bench b;
    bench_open(&b, g, q4, 2, "auto", true);
    b.be->shared_expert(b.be, &b.layer.shared, ROWS, b.h, b.shared);
    float *y = rows_read(&b, b.shared, ROWS);
    for (int32_t i = 0; i < ROWS; i++) {
        double x[256], want[256], gate;
        widen(b.rows + i * g->hidden, g->hidden, x);
        const float *const *w = b.layer.shared_reference;
        reference_expert(w[0], w[1], w[2], g->shared_width, g->hidden, x, want);
        reference_linear(b.layer.shared_gate_reference, 1, g->hidden, x, &gate);
        for (int32_t c = 0; c < g->hidden; c++)
            want[c] *= reference_sigmoid(gate);
        assert_close(y + i * g->hidden, want, g->hidden, 2e-5);
    }
    free(y);
    bench_close(&b);
}

static void the_weighted_sum_does_not_read_entries_of_weight_zero(void **state)
{
    (void)state;
    const sluice_geometry *g = &odd;
    const int32_t k = g->top_k, hidden = g->hidden;
    bench b;
    bench_open(&b, g, f32, 2, "auto", true);
    float *y = random_floats(&b.layer, (int64_t)ROWS * k * hidden, 0.0f, 1.0f);
    float *shared = random_floats(&b.layer, (int64_t)ROWS * hidden, 0.0f, 1.0f);
    float *weights = random_floats(&b.layer, (int64_t)ROWS * k, 0.3f, 0.1f);
    for (int32_t i = 0; i < ROWS; i++) {
        weights[i * k + i % k] = 0.0f;
        for (int32_t c = 0; c < hidden; c++)
            y[(i * k + i % k) * hidden + c] = __builtin_nanf("");
    }
    b.be->buffer_write(b.be, b.y, 0, y, (size_t)(ROWS * k) * row_bytes(&b));
    b.be->buffer_write(b.be, b.shared, 0, shared, ROWS * row_bytes(&b));
    b.be->combine(b.be, ROWS, k, weights, b.y, b.shared, b.h);
    float *h = rows_read(&b, b.h, ROWS);
    for (int32_t i = 0; i < ROWS; i++) {
        double want[256];
        for (int32_t c = 0; c < hidden; c++) {
            want[c] = (double)b.rows[i * hidden + c] + (double)shared[i * hidden + c];
            for (int32_t j = 0; j < k; j++)
                if (j != i % k)
                    want[c] += (double)weights[i * k + j] * (double)y[(i * k + j) * hidden + c];
        }
        assert_close(h + i * hidden, want, hidden, 1e-5);
    }
    free(h);
    bench_close(&b);
}

static void the_head_norms_the_rows_that_are_wanted(void **state)
{
    (void)state;
    const sluice_geometry *g = &odd;
    static const int32_t rows[] = {299, 4, 5, 120};
    bench b;
    bench_open(&b, g, f32, 2, "auto", true);
    float logits[4 * 70];
    const float *norm = b.layer.router.norm;
    b.be->head(b.be, norm, &b.layer.head, rows, 4, b.h, logits, b.x);
    float *normed = rows_read(&b, b.x, 4);
    for (int32_t i = 0; i < 4; i++) {
        double row[256], x[256], want[256];
        widen(b.rows + rows[i] * g->hidden, g->hidden, row);
        reference_rmsnorm(row, norm, g->rms_eps, g->hidden, x);
        reference_linear(b.layer.head_reference, g->vocab, g->hidden, x, want);
        assert_close(normed + i * g->hidden, x, g->hidden, 1e-5);
        assert_close(logits + i * g->vocab, want, g->vocab, 1e-5);
    }
    float again[4 * 70];
    b.be->head(b.be, norm, &b.layer.head, rows, 4, b.h, again, NULL);
    assert_memory_equal(logits, again, sizeof logits);
    free(normed);
    bench_close(&b);
}

/* Router, experts and head of a machine, one after another in one array. */
static float *everything(const sluice_geometry *g, int threads, const char *cpu, bool exact,
                         size_t *floats)
{
    bench b;
    bench_open(&b, g, q4, threads, cpu, exact);
    const int32_t k = g->top_k;
    const size_t rows = ROWS * (size_t)g->hidden, logits = 9 * (size_t)g->vocab;
    *floats = 2 * rows + logits + (size_t)(ROWS * k);
    float *out = malloc(*floats * sizeof *out);
    int32_t *ids = malloc((size_t)(ROWS * k) * sizeof *ids), nine[9];
    assert_true(out && ids);
    for (int32_t i = 0; i < 9; i++)
        nine[i] = i * 30;
    b.be->router(b.be, &b.layer.router, ROWS, k, b.h, b.x, ids, out + 2 * rows + logits, NULL);
    b.be->shared_expert(b.be, &b.layer.shared, ROWS, b.h, b.shared);
    b.be->buffer_read(b.be, b.shared, 0, out, ROWS * row_bytes(&b));
    expert_rows(&b, ROWS, out + rows);
    b.be->head(b.be, b.layer.router.norm, &b.layer.head, nine, 9, b.h, out + 2 * rows, NULL);
    free(ids);
    bench_close(&b);
    return out;
}

static void threads_and_instruction_sets_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const cpus[] = {"auto", "scalar", "avx2", "avx512", "neon"};
    for (int exact = 0; exact < 2; exact++) {
        size_t n;
        float *first = everything(&even, 1, "auto", exact, &n);
        for (int threads = 1; threads <= 4; threads *= 2) {
            for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
                uint32_t flags;
                if (sluice_cpu_flags_parse(cpus[i], &flags, NULL) != SLUICE_OK) continue;
                float *out = everything(&even, threads, cpus[i], exact, &n);
                if (memcmp(first, out, n * sizeof *out) != 0)
                    fail_msg("%s, %d threads, exact %d: other bits", cpus[i], threads, exact);
                free(out);
            }
        }
        free(first);
    }
}

static void scratch_is_as_large_as_announced_and_charged(void **state)
{
    (void)state;
    sluice_budget *budget;
    sluice_pool *pool;
    sluice_backend *be;
    assert_int_equal(sluice_budget_new(0, &budget, NULL), SLUICE_OK);
    assert_int_equal(sluice_pool_new(3, NULL, &pool, NULL), SLUICE_OK);
    const sluice_cpu_options options = {.rows_max = 77, .pool = pool, .budget = budget};
    assert_int_equal(sluice_cpu_backend_new(&even, &options, &be, NULL), SLUICE_OK);
    const uint64_t announced = sluice_cpu_backend_bytes(&even, 77, 3, false);
    assert_in_range(sluice_budget_used(budget), announced, announced + 4095); /* whole pages */
    be->free(be);
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);

    sluice_error err;
    assert_int_equal(sluice_budget_new(100000, &budget, NULL), SLUICE_OK);
    const sluice_cpu_options tight = {.rows_max = 77, .pool = pool, .budget = budget};
    assert_int_equal(sluice_cpu_backend_new(&even, &tight, &be, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "scratch"));
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);
    sluice_pool_free(pool);
}

static void impossible_geometries_are_refused(void **state)
{
    (void)state;
    sluice_pool *pool;
    sluice_backend *be;
    assert_int_equal(sluice_pool_new(1, NULL, &pool, NULL), SLUICE_OK);
    const sluice_cpu_options options = {.rows_max = 1, .pool = pool, .exact = true};
    sluice_geometry bad[5] = {even, even, even, even, even};
    bad[0].kv_heads = 0;
    bad[1].rotary_dim = 80;
    bad[2].gdn_v_heads = 3;
    bad[2].gdn_k_heads = 2;
    bad[3].hidden = 0;
    bad[4].conv_width = 0;
    for (int i = 0; i < 5; i++) {
        sluice_error err;
        assert_int_equal(sluice_cpu_backend_new(&bad[i], &options, &be, &err), SLUICE_UNSUPPORTED);
        assert_true(strlen(err.detail) > 10);
    }
    sluice_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_rows_are_the_table_s),
        cmocka_unit_test(the_router_takes_the_k_most_probable_experts),
        cmocka_unit_test(equal_experts_go_to_the_lower_index),
        cmocka_unit_test(an_expert_takes_rows_and_fills_slots),
        cmocka_unit_test(experts_at_once_give_the_bits_of_each_alone),
        cmocka_unit_test(the_shared_expert_is_gated_by_a_sigmoid),
        cmocka_unit_test(the_weighted_sum_does_not_read_entries_of_weight_zero),
        cmocka_unit_test(the_head_norms_the_rows_that_are_wanted),
        cmocka_unit_test(threads_and_instruction_sets_give_the_same_bits),
        cmocka_unit_test(scratch_is_as_large_as_announced_and_charged),
        cmocka_unit_test(impossible_geometries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
