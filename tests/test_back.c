/* The backward of each block against central finite differences of the blocks written out in
 * double: along random directions and single elements of the input, in several sequences at once,
 * of sizes that fill no tile and others that fill several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "base/pool.h"
#include "os/cpu.h"
#include "support/random_layer.h"
#include "train/back.h"

#define ROWS_MAX 150
#define STEP 1e-4
#define TOLERANCE 1e-3

static const sluice_geometry odd = {.hidden = 52,
                                    .vocab = 70,
                                    .layers = 2,
                                    .rms_eps = 1e-6f,
                                    .heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 20,
                                    .rotary_dim = 8,
                                    .rope_theta = 10000.0,
                                    .gdn_k_heads = 2,
                                    .gdn_v_heads = 4,
                                    .gdn_k_dim = 12,
                                    .gdn_v_dim = 9,
                                    .conv_width = 4,
                                    .experts = 37,
                                    .top_k = 5,
                                    .expert_width = 24,
                                    .shared_width = 40,
                                    .context_max = 256};

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
                                     .gdn_k_dim = 32,
                                     .gdn_v_dim = 64,
                                     .conv_width = 4,
                                     .experts = 64,
                                     .top_k = 8,
                                     .expert_width = 128,
                                     .shared_width = 64,
                                     .context_max = 256};

static const sluice_weight_format f32 = {SLUICE_WEIGHT_F32, 32, 0, 0};
static const sluice_weight_format q4 = {SLUICE_WEIGHT_AFFINE, 4, 64, SLUICE_WEIGHT_BF16};

/* Three sequences: one of a single token, one short of a tile, one past two tiles. */
static const sluice_segment segments[] = {{0, 1, 0}, {1, 19, 0}, {20, 130, 0}};
#define SEGMENTS 3

typedef struct bench {
    random_layer layer;
    sluice_pool *pool;
    sluice_back *back;
    float *h, *out, *dy; /* [ROWS_MAX, hidden]: input, output, a random gradient of it */
    double *at;          /* [ROWS_MAX, hidden]: the reference's */
} bench;

static void bench_open(bench *b, const sluice_geometry *g, sluice_weight_format format, int threads,
                       const char *cpu)
{
    sluice_back_options options = {.rows_max = ROWS_MAX, .rank_max = 4, .segment_max = ROWS_MAX};
    const int64_t count = (int64_t)ROWS_MAX * g->hidden;
    random_layer_init(&b->layer, g, format, 33);
    assert_int_equal(sluice_pool_new(threads, NULL, &b->pool, NULL), SLUICE_OK);
    assert_int_equal(sluice_cpu_flags_parse(cpu, &options.cpu_flags, NULL), SLUICE_OK);
    options.pool = b->pool;
    assert_int_equal(sluice_back_new(g, &options, &b->back, NULL), SLUICE_OK);
    b->h = random_floats(&b->layer, count, 0.0f, 1.0f);
    b->dy = random_floats(&b->layer, count, 0.0f, 1.0f);
    b->out = random_floats(&b->layer, count, 0.0f, 0.0f);
    b->at = calloc((size_t)count, sizeof *b->at);
    assert_non_null(b->at);
}

static void bench_close(bench *b)
{
    free(b->at);
    sluice_back_free(b->back);
    sluice_pool_free(b->pool);
    random_layer_free(&b->layer);
}

/* What a block makes of the double rows, in place. */
typedef void (*reference_fn)(const bench *b, double *h);

/* dy . block(h + step * direction) */
static double measure(const bench *b, reference_fn reference, const double *direction, double step)
{
    const size_t count = ROWS_MAX * (size_t)b->layer.geometry.hidden;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        b->at[i] = (double)b->h[i] + step * direction[i];
    reference(b, b->at);
    for (size_t i = 0; i < count; i++)
        sum += (double)b->dy[i] * b->at[i];
    return sum;
}

/* gradient: [ROWS_MAX, hidden], ours. */
static void check_gradient(const bench *b, reference_fn reference, const float *gradient)
{
    const size_t count = ROWS_MAX * (size_t)b->layer.geometry.hidden;
    double *direction = calloc(count, sizeof *direction);
    assert_non_null(direction);
    sluice_rng rng;
    sluice_rng_seed(&rng, 5);
    for (int test = 0; test < 12; test++) {
        memset(direction, 0, count * sizeof *direction);
        if (test < 4) /* everywhere */
            for (size_t i = 0; i < count; i++)
                direction[i] = (double)random_normal(&rng);
        else /* one row */
            for (int32_t i = 0; i < b->layer.geometry.hidden; i++)
                direction[(size_t)(test < 8 ? test * 17 : test - 8 + 19) *
                              (size_t)b->layer.geometry.hidden +
                          (size_t)i] = (double)random_normal(&rng);
        const double expected =
            (measure(b, reference, direction, STEP) - measure(b, reference, direction, -STEP)) /
            (2 * STEP);
        double ours = 0.0, size = 0.0;
        for (size_t i = 0; i < count; i++) {
            ours += (double)gradient[i] * direction[i];
            size += (double)gradient[i] * (double)gradient[i] * direction[i] * direction[i];
        }
        if (fabs(ours - expected) > TOLERANCE * (fabs(expected) + sqrt(size)))
            fail_msg("direction %d: %.9g, by differences %.9g", test, ours, expected);
    }
    free(direction);
}

static void reference_attention_block(const bench *b, double *h)
{
    for (int s = 0; s < SEGMENTS; s++)
        reference_attention_run(&b->layer.geometry, &b->layer.attention_reference,
                                segments[s].count,
                                h + (size_t)segments[s].row * (size_t)b->layer.geometry.hidden);
}

static void reference_gdn_block(const bench *b, double *h)
{
    for (int s = 0; s < SEGMENTS; s++)
        reference_gdn_run(&b->layer.geometry, &b->layer.gdn_reference, segments[s].count,
                          h + (size_t)segments[s].row * (size_t)b->layer.geometry.hidden);
}

/* The recomputed output must be the block's. */
static void check_output(const bench *b, reference_fn reference)
{
    const size_t count = ROWS_MAX * (size_t)b->layer.geometry.hidden;
    for (size_t i = 0; i < count; i++)
        b->at[i] = (double)b->h[i];
    reference(b, b->at);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(b->at[i] - (double)b->out[i]) < 1e-3 * (1.0 + fabs(b->at[i])));
}

static void run_attention(bench *b, float *dh)
{
    static const sluice_back_attention_entries none;
    memcpy(dh, b->dy, ROWS_MAX * (size_t)b->layer.geometry.hidden * sizeof *dh);
    sluice_back_attention_forward(b->back, &b->layer.attention, segments, SEGMENTS, ROWS_MAX, b->h,
                                  b->out);
    sluice_back_attention(b->back, &b->layer.attention, &none, segments, SEGMENTS, ROWS_MAX, b->h,
                          dh);
}

static void run_gdn(bench *b, float *dh)
{
    static const sluice_back_gdn_entries none;
    memcpy(dh, b->dy, ROWS_MAX * (size_t)b->layer.geometry.hidden * sizeof *dh);
    sluice_back_gdn_forward(b->back, &b->layer.gdn, segments, SEGMENTS, ROWS_MAX, b->h, b->out);
    sluice_back_gdn(b->back, &b->layer.gdn, &none, segments, SEGMENTS, ROWS_MAX, b->h, dh);
}

static void check_block(const sluice_geometry *g, sluice_weight_format format,
                        void (*run)(bench *b, float *dh), reference_fn reference)
{
    bench b;
    bench_open(&b, g, format, 2, "auto");
    float *dh = random_floats(&b.layer, (int64_t)ROWS_MAX * g->hidden, 0.0f, 0.0f);
    run(&b, dh);
    check_output(&b, reference);
    check_gradient(&b, reference, dh);
    bench_close(&b);
}

static void attention_gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    check_block(&odd, f32, run_attention, reference_attention_block);
    check_block(&even, q4, run_attention, reference_attention_block);
}

static void delta_rule_gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    check_block(&odd, f32, run_gdn, reference_gdn_block);
    check_block(&even, q4, run_gdn, reference_gdn_block);
}

static double logit(const bench *b, const double *x)
{
    double y;
    reference_linear(b->layer.shared_gate_reference, 1, b->layer.geometry.hidden, x, &y);
    return y;
}

static void reference_shared(const bench *b, double *h)
{
    const sluice_geometry *g = &b->layer.geometry;
    double *y = calloc((size_t)g->hidden, sizeof *y);
    for (int row = 0; row < ROWS_MAX; row++, h += g->hidden) {
        const double open = reference_sigmoid(logit(b, h));
        reference_expert(b->layer.shared_reference[0], b->layer.shared_reference[1],
                         b->layer.shared_reference[2], g->shared_width, g->hidden, h, y);
        for (int32_t i = 0; i < g->hidden; i++)
            h[i] = open * y[i];
    }
    free(y);
}

/* Logits of the first five experts of a row, of which 0, 2 and 4 are chosen; the first of a row's
 * outputs are their weights. */
static const int32_t chosen[] = {4, 0, 2};

static void reference_router(const bench *b, double *h)
{
    const sluice_geometry *g = &b->layer.geometry;
    double logits[3];
    for (int row = 0; row < ROWS_MAX; row++, h += g->hidden) {
        double sum = 0.0;
        for (int j = 0; j < 3; j++) {
            reference_linear(b->layer.router_reference + (size_t)chosen[j] * (size_t)g->hidden, 1,
                             g->hidden, h, &logits[j]);
            sum += exp(logits[j]);
        }
        memset(h, 0, (size_t)g->hidden * sizeof *h);
        for (int j = 0; j < 3; j++)
            h[j] = exp(logits[j]) / sum;
    }
}

static void shared_expert_gradients_are_those_of_finite_differences(void **state)
{
    static const sluice_back_expert_entries none;
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        bench b;
        bench_open(&b, kind ? &even : &odd, kind ? q4 : f32, 2, "auto");
        float *dx = random_floats(&b.layer, (int64_t)ROWS_MAX * b.layer.geometry.hidden, 0, 0);
        sluice_back_shared(b.back, &b.layer.shared, &none, b.h, b.dy, ROWS_MAX, dx);
        check_gradient(&b, reference_shared, dx);
        bench_close(&b);
    }
}

static void router_gradients_go_straight_through_the_chosen_experts(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        bench b;
        bench_open(&b, kind ? &even : &odd, kind ? q4 : f32, 2, "auto");
        const int32_t hidden = b.layer.geometry.hidden;
        float *dx = random_floats(&b.layer, (int64_t)ROWS_MAX * hidden, 0, 0);
        float weights[ROWS_MAX * 4] = {0}, d_weights[ROWS_MAX * 4];
        int32_t ids[ROWS_MAX * 4];
        for (int row = 0; row < ROWS_MAX; row++) {
            for (int i = 0; i < hidden; i++)
                b.at[i] = (double)b.h[row * hidden + i];
            double sum = 0.0, logits[3];
            for (int j = 0; j < 3; j++) {
                reference_linear(b.layer.router_reference + (size_t)chosen[j] * (size_t)hidden, 1,
                                 hidden, b.at, &logits[j]);
                sum += exp(logits[j]);
            }
            for (int j = 0; j < 4; j++) { /* the fourth has weight zero: not chosen */
                ids[row * 4 + j] = j < 3 ? chosen[j] : 1;
                if (j < 3) weights[row * 4 + j] = (float)(exp(logits[j]) / sum);
                d_weights[row * 4 + j] = j < 3 ? b.dy[row * hidden + j] : 1e6f;
            }
        }
        sluice_back_router(b.back, &b.layer.router, ids, weights, d_weights, ROWS_MAX, 4, dx);
        check_gradient(&b, reference_router, dx);
        bench_close(&b);
    }
}

static int32_t target_of(int row)
{
    return row % 3 ? (row * 7) % 70 : -1;
}

/* The loss alone stands in the first element; the rest is zero. */
static void reference_loss(const bench *b, double *h)
{
    const sluice_geometry *g = &b->layer.geometry;
    double *x = calloc((size_t)g->hidden, sizeof *x), *y = calloc((size_t)g->vocab, sizeof *y);
    double loss = 0.0;
    for (int row = 0; row < ROWS_MAX; row++) {
        if (target_of(row) < 0) continue;
        double sum = 0.0;
        reference_rmsnorm(h + (size_t)row * (size_t)g->hidden, b->layer.attention.norm, g->rms_eps,
                          g->hidden, x);
        reference_linear(b->layer.head_reference, g->vocab, g->hidden, x, y);
        for (int32_t v = 0; v < g->vocab; v++)
            sum += exp(y[v]);
        loss += log(sum) - y[target_of(row)];
    }
    memset(h, 0, ROWS_MAX * (size_t)g->hidden * sizeof *h);
    h[0] = loss;
    free(x);
    free(y);
}

static void loss_and_its_gradient_are_those_of_finite_differences(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        bench b;
        int32_t targets[ROWS_MAX], counted;
        bench_open(&b, kind ? &even : &odd, kind ? q4 : f32, 2, "auto");
        const size_t count = ROWS_MAX * (size_t)b.layer.geometry.hidden;
        for (int row = 0; row < ROWS_MAX; row++)
            targets[row] = target_of(row);
        float *dh = random_floats(&b.layer, (int64_t)count, 1.0f, 1.0f);
        const double loss = sluice_back_loss(b.back, b.layer.attention.norm, &b.layer.head, b.h,
                                             targets, ROWS_MAX, b.dy[0], dh, &counted);
        assert_int_equal(counted, 100);
        for (size_t i = 0; i < count; i++)
            b.at[i] = (double)b.h[i];
        reference_loss(&b, b.at);
        assert_true(fabs(b.at[0] - loss) < 1e-5 * loss);
        check_gradient(&b, reference_loss, dh);
        bench_close(&b);
    }
}

static void gradients_are_the_same_bits_for_any_threads_and_instruction_set(void **state)
{
    (void)state;
    void (*const runs[])(bench *, float *) = {run_attention, run_gdn};
    for (int block = 0; block < 2; block++) {
        const size_t bytes = ROWS_MAX * (size_t)odd.hidden * sizeof(float);
        float *first = NULL;
        for (int threads = 1; threads <= 4; threads++) {
            bench b;
            bench_open(&b, &odd, f32, threads, threads == 4 ? "scalar" : "auto");
            float *dh = random_floats(&b.layer, (int64_t)ROWS_MAX * odd.hidden, 0.0f, 0.0f);
            runs[block](&b, dh);
            if (!first) {
                first = malloc(bytes);
                assert_non_null(first);
                memcpy(first, dh, bytes);
            }
            assert_memory_equal(first, dh, bytes);
            bench_close(&b);
        }
        free(first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_gradients_are_those_of_finite_differences),
        cmocka_unit_test(delta_rule_gradients_are_those_of_finite_differences),
        cmocka_unit_test(shared_expert_gradients_are_those_of_finite_differences),
        cmocka_unit_test(router_gradients_go_straight_through_the_chosen_experts),
        cmocka_unit_test(loss_and_its_gradient_are_those_of_finite_differences),
        cmocka_unit_test(gradients_are_the_same_bits_for_any_threads_and_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
