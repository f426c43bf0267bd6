/* Attention and the delta rule of the CPU backend: right against the reference in double, and the
 * same bits whatever the threads, the instruction set, the slices of a sequence and its neighbours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "support/random_layer.h"

#define ROWS_MAX 256

/* Sizes that no vector length divides. */
static const sluice_geometry odd = {.hidden = 52,
                                    .vocab = 70,
                                    .layers = 2,
                                    .rms_eps = 1e-6f,
                                    .heads = 6,
                                    .kv_heads = 2,
                                    .head_dim = 20,
                                    .rotary_dim = 12,
                                    .rope_theta = 10000.0,
                                    .gdn_k_heads = 2,
                                    .gdn_v_heads = 6,
                                    .gdn_k_dim = 12,
                                    .gdn_v_dim = 25,
                                    .conv_width = 4,
                                    .experts = 11,
                                    .top_k = 3,
                                    .expert_width = 24,
                                    .shared_width = 40,
                                    .context_max = 4096};

/* Sizes as in models, for quantised weights. */
static const sluice_geometry even = {.hidden = 128,
                                     .vocab = 96,
                                     .layers = 2,
                                     .rms_eps = 1e-6f,
                                     .heads = 4,
                                     .kv_heads = 1,
                                     .head_dim = 64,
                                     .rotary_dim = 16,
                                     .rope_theta = 10000000.0,
                                     .gdn_k_heads = 2,
                                     .gdn_v_heads = 4,
                                     .gdn_k_dim = 64,
                                     .gdn_v_dim = 64,
                                     .conv_width = 4,
                                     .experts = 16,
                                     .top_k = 4,
                                     .expert_width = 64,
                                     .shared_width = 128,
                                     .context_max = 4096};

static const sluice_weight_format f32 = {SLUICE_WEIGHT_F32, 32, 0, 0};
static const sluice_weight_format q4 = {SLUICE_WEIGHT_AFFINE, 4, 64, SLUICE_WEIGHT_BF16};

/* Attention with keys and values in f32, f16 and int8, and the delta rule. */
typedef enum mixer { ATTENTION, ATTENTION_F16, ATTENTION_INT8, GDN } mixer;

typedef struct machine {
    int threads;
    const char *cpu;
    bool integers;
} machine;

static const machine plain = {.threads = 1, .cpu = "auto"};

/* Segments of one or two sequences a step, in order; the lists end with 0. */
typedef struct plan {
    int32_t slices[2][48];
} plan;

static size_t state_bytes(const sluice_geometry *g, mixer which, int32_t capacity,
                          sluice_layer_state *at)
{
    static const sluice_kv_type types[] = {
        [ATTENTION_F16] = SLUICE_KV_F16, [ATTENTION_INT8] = SLUICE_KV_INT8, [GDN] = SLUICE_KV_F32};
    at->kv = types[which];
    const size_t kv = (size_t)(g->kv_heads * capacity) * sluice_kv_bytes(at->kv, g->head_dim);
    const int32_t channels = 2 * g->gdn_k_heads * g->gdn_k_dim + g->gdn_v_heads * g->gdn_v_dim;
    const size_t conv = (size_t)((g->conv_width - 1) * channels) * sizeof(float);
    at->capacity = capacity;
    at->k = 0;
    at->v = (kv + 63) / 64 * 64;
    at->conv = 2 * at->v;
    at->s = at->conv + (conv + 63) / 64 * 64;
    return at->s + (size_t)(g->gdn_v_heads * g->gdn_k_dim * g->gdn_v_dim) * sizeof(float);
}

/* Runs the mixer over both sequences of h ([positions, hidden] each, in place) by the plan. */
static void run(const random_layer *layer, mixer which, const machine *m, const plan *p,
                float *h[2])
{
    const sluice_geometry *g = &layer->geometry;
    sluice_pool *pool;
    sluice_backend *be;
    sluice_cpu_options options = {.rows_max = ROWS_MAX, .exact = !m->integers};
    assert_int_equal(sluice_pool_new(m->threads, NULL, &pool, NULL), SLUICE_OK);
    assert_int_equal(sluice_cpu_flags_parse(m->cpu, &options.cpu_flags, NULL), SLUICE_OK);
    options.pool = pool;
    assert_int_equal(sluice_cpu_backend_new(g, &options, &be, NULL), SLUICE_OK);
    const size_t row = (size_t)g->hidden * sizeof(float);
    sluice_buffer *rows;
    sluice_layer_state states[2];
    assert_int_equal(be->buffer_new(be, ROWS_MAX * row, "test", &rows, NULL), SLUICE_OK);
    for (int i = 0; i < 2; i++) {
        const size_t bytes = state_bytes(g, which, g->context_max, &states[i]);
        assert_int_equal(be->buffer_new(be, bytes, "test", &states[i].memory, NULL), SLUICE_OK);
    }
    int32_t done[2] = {0, 0};
    for (int step = 0; p->slices[0][step] || p->slices[1][step]; step++) {
        sluice_segment segments[2];
        sluice_layer_state used[2];
        int32_t n_segments = 0, n = 0;
        for (int i = 0; i < 2; i++) {
            const int32_t count = p->slices[i][step];
            if (!count) continue;
            assert_true(n + count <= ROWS_MAX);
            be->buffer_write(be, rows, (size_t)n * row, h[i] + done[i] * g->hidden,
                             (size_t)count * row);
            segments[n_segments] = (sluice_segment){n, count, done[i]};
            used[n_segments++] = states[i];
            n += count;
        }
        if (which == GDN)
            be->gdn(be, &layer->gdn, segments, used, n_segments, n, rows);
        else
            be->attention(be, &layer->attention, segments, used, n_segments, n, rows);
        for (int i = 0, s = 0; i < 2; i++) {
            const int32_t count = p->slices[i][step];
            if (!count) continue;
            be->buffer_read(be, rows, (size_t)segments[s++].row * row, h[i] + done[i] * g->hidden,
                            (size_t)count * row);
            done[i] += count;
        }
    }
    for (int i = 0; i < 2; i++)
        be->buffer_free(be, states[i].memory);
    be->buffer_free(be, rows);
    be->free(be);
    sluice_pool_free(pool);
}

/* The same, from a fresh copy of the input; both results in one block, to be freed. */
static float *run_copy(const random_layer *layer, mixer which, const machine *m, const plan *p,
                       const float *in, const int32_t lengths[2])
{
    const size_t hidden = (size_t)layer->geometry.hidden;
    const size_t all = (size_t)(lengths[0] + lengths[1]) * hidden;
    float *out = malloc((all + 1) * sizeof *out);
    assert_non_null(out);
    memcpy(out, in, all * sizeof *out);
    run(layer, which, m, p, (float *[2]){out, out + (size_t)lengths[0] * hidden});
    return out;
}

static double largest_error(const random_layer *layer, mixer which, const float *in,
                            const float *out, int32_t positions)
{
    const size_t n = (size_t)positions * (size_t)layer->geometry.hidden;
    double *h = malloc((n + 1) * sizeof *h), worst = 0.0;
    assert_non_null(h);
    for (size_t i = 0; i < n; i++)
        h[i] = in[i];
    if (which == GDN)
        reference_gdn_run(&layer->geometry, &layer->gdn_reference, positions, h);
    else
        reference_attention_run(&layer->geometry, &layer->attention_reference, positions, h);
    for (size_t i = 0; i < n; i++) {
        const double error = h[i] > out[i] ? h[i] - out[i] : out[i] - h[i];
        if (!(error <= worst)) worst = error;
    }
    free(h);
    return worst;
}

static void same_as_reference(const sluice_geometry *g, sluice_weight_format format, mixer which,
                              double tolerance)
{
    static const plan plans[] = {
        {{{150}, {0}}},
        {{{64, 64, 22}, {0}}},
        {{{1, 1, 1, 1, 1, 1, 1, 90, 53}, {0}}}, /* a block between single steps */
        {{{2, 3, 145}, {70, 1, 5}}},
    };
    random_layer layer;
    random_layer_init(&layer, g, format, 7);
    const int32_t lengths[2] = {150, 76};
    const float *in = random_floats(&layer, (int64_t)226 * g->hidden, 0.0f, 1.0f);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        float *out = run_copy(&layer, which, &plain, &plans[i], in, lengths);
        const double error = largest_error(&layer, which, in, out, 150);
        if (error > tolerance) fail_msg("plan %zu: error %g", i, error);
        if (plans[i].slices[1][0])
            assert_true(largest_error(&layer, which, in + 150 * g->hidden, out + 150 * g->hidden,
                                      76) <= tolerance);
        free(out);
    }
    random_layer_free(&layer);
}

static void attention_agrees_with_the_reference(void **state)
{
    (void)state;
    same_as_reference(&odd, f32, ATTENTION, 2e-5);
    same_as_reference(&even, q4, ATTENTION, 2e-5);
}

static void keys_and_values_in_f16_stay_close_to_the_reference(void **state)
{
    (void)state;
    same_as_reference(&odd, f32, ATTENTION_F16, 2e-3);
    same_as_reference(&even, q4, ATTENTION_F16, 2e-3);
}

static void keys_and_values_in_int8_stay_close_to_the_reference(void **state)
{
    (void)state;
    same_as_reference(&odd, f32, ATTENTION_INT8, 4e-2);
    same_as_reference(&even, q4, ATTENTION_INT8, 4e-2);
}

static void the_delta_rule_agrees_with_the_reference(void **state)
{
    (void)state;
    same_as_reference(&odd, f32, GDN, 2e-5);
    same_as_reference(&even, q4, GDN, 2e-5);
}

/* Every plan on every machine gives the bits of the first plan on one thread of plain C, which runs
 * no other of a long sequence: its fused multiply-adds are calls where the processor must be asked.
 */
static void same_bits(const sluice_geometry *g, sluice_weight_format format, mixer which,
                      const plan *plans, int n_plans, const int32_t lengths[2], bool integers)
{
    static const machine machines[] = {{1, "scalar", false},
                                       {2, "auto", false},
                                       {4, "auto", false},
                                       {1, "avx2", false},
                                       {3, "avx512", false}};
    random_layer layer;
    random_layer_init(&layer, g, format, 11);
    const size_t n = (size_t)(lengths[0] + lengths[1]) * (size_t)g->hidden;
    const float *in = random_floats(&layer, (int64_t)n, 0.0f, 1.0f);
    float *first = NULL;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        machine m = machines[i];
        m.integers = integers;
        uint32_t flags;
        if (sluice_cpu_flags_parse(m.cpu, &flags, NULL) != SLUICE_OK) continue;
        const bool slow = !strcmp(m.cpu, "scalar") && lengths[0] > 1000;
        for (int p = 0; p < (slow ? 1 : n_plans); p++) {
            float *out = run_copy(&layer, which, &m, &plans[p], in, lengths);
            if (first && memcmp(first, out, n * sizeof *out) != 0)
                fail_msg("machine %zu (%s, %d threads), plan %d: other bits", i, m.cpu, m.threads,
                         p);
            if (first)
                free(out);
            else
                first = out;
        }
    }
    free(first);
    random_layer_free(&layer);
}

static void attention_gives_the_same_bits_however_it_is_run(void **state)
{
    (void)state;
    static const plan plans[] = {
        {{{150}, {0, 60}}},
        {{{0, 0, 64, 64, 22}, {7, 53}}},
        {{{1, 1, 1, 5, 90, 52}, {20, 20, 20}}},
        {{{17, 133}, {60}}},
    };
    const int32_t lengths[2] = {150, 60};
    same_bits(&odd, f32, ATTENTION, plans, 4, lengths, false);
    same_bits(&even, q4, ATTENTION, plans, 4, lengths, false);
    same_bits(&even, q4, ATTENTION, plans, 4, lengths, true);
    same_bits(&odd, f32, ATTENTION_F16, plans, 4, lengths, false);
    same_bits(&odd, f32, ATTENTION_INT8, plans, 4, lengths, false);
    same_bits(&even, q4, ATTENTION_INT8, plans, 4, lengths, true);
}

/* Only cuts at multiples of 64 leave the chunked form where it is. */
static void the_delta_rule_gives_the_same_bits_for_slices_at_64(void **state)
{
    (void)state;
    static const plan plans[] = {
        {{{214}, {0, 63}}},
        {{{64, 64, 64, 22}, {5, 1, 50, 7}}},
        {{{128, 86}, {63}}},
        {{{192, 1, 1, 1, 19}, {62, 1}}},
    };
    const int32_t lengths[2] = {214, 63};
    same_bits(&odd, f32, GDN, plans, 4, lengths, false);
    same_bits(&even, q4, GDN, plans, 4, lengths, false);
    same_bits(&even, q4, GDN, plans, 4, lengths, true);
}

/* Cuts inside [0, 64): that block runs in steps, and the blocks at 64 and 128 stay whole, wherever
 * the slice that holds them begins. */
static void blocks_of_the_delta_rule_are_counted_from_the_start_of_the_sequence(void **state)
{
    (void)state;
    static const plan plans[] = {
        {{{10, 204}, {63}}},
        {{{20, 108, 86}, {0, 63}}},
        {{{1, 1, 61, 1, 128, 22}, {50, 13}}},
    };
    const int32_t lengths[2] = {214, 63};
    same_bits(&odd, f32, GDN, plans, 3, lengths, false);
    same_bits(&even, q4, GDN, plans, 3, lengths, false);
}

static void the_chunked_delta_rule_is_close_to_the_steps(void **state)
{
    (void)state;
    static const plan chunked = {{{256}, {0}}};
    /* Never 64 positions from a multiple of 64 in one slice. */
    static const plan steps = {{{63, 63, 63, 63, 4}, {0}}};
    const int32_t lengths[2] = {256, 0};
    random_layer layer;
    random_layer_init(&layer, &even, q4, 3);
    const float *in = random_floats(&layer, (int64_t)256 * even.hidden, 0.0f, 1.0f);
    float *a = run_copy(&layer, GDN, &plain, &chunked, in, lengths);
    float *b = run_copy(&layer, GDN, &plain, &steps, in, lengths);
    for (int32_t i = 0; i < 256 * even.hidden; i++)
        assert_true(a[i] - b[i] < 1e-4f && b[i] - a[i] < 1e-4f);
    free(a);
    free(b);
    random_layer_free(&layer);
}

/* Long enough for several chunks of the cache: many units in prefill, shared chunks in decode. */
static void attention_over_a_long_cache_gives_the_same_bits_in_prefill_and_decode(void **state)
{
    (void)state;
    static plan plans[2];
    int32_t left = 2100;
    for (int i = 0; left > 0; i++, left -= 250)
        plans[0].slices[0][i] = left < 250 ? left : 250;
    left = 2100;
    for (int i = 0; left > 0; i++) {
        const int32_t count = i >= 9 && i < 40 ? (i % 3 ? 1 : 9) : 200;
        plans[1].slices[0][i] = left < count ? left : count;
        left -= plans[1].slices[0][i];
    }
    const int32_t lengths[2] = {2100, 0};
    same_bits(&even, q4, ATTENTION, plans, 2, lengths, false);
    same_bits(&odd, f32, ATTENTION_INT8, plans, 2, lengths, false);
}

static void attention_over_a_long_cache_agrees_with_the_reference(void **state)
{
    (void)state;
    static const plan slices = {{{250, 250, 250, 250, 250, 1, 1, 48}, {0}}};
    const int32_t lengths[2] = {1300, 0};
    random_layer layer;
    random_layer_init(&layer, &odd, f32, 5);
    const float *in = random_floats(&layer, (int64_t)1300 * odd.hidden, 0.0f, 1.0f);
    float *out = run_copy(&layer, ATTENTION, &plain, &slices, in, lengths);
    assert_true(largest_error(&layer, ATTENTION, in, out, 1300) < 5e-5);
    free(out);
    random_layer_free(&layer);
}

static void whole_numbers_stay_close_to_the_exact_path(void **state)
{
    (void)state;
    static const plan p = {{{140}, {0}}};
    const int32_t lengths[2] = {140, 0};
    const machine integers = {.threads = 2, .cpu = "auto", .integers = true};
    random_layer layer;
    random_layer_init(&layer, &even, q4, 13);
    const float *in = random_floats(&layer, (int64_t)140 * even.hidden, 0.0f, 1.0f);
    for (mixer which = ATTENTION; which <= GDN; which++) {
        float *exact = run_copy(&layer, which, &plain, &p, in, lengths);
        float *quick = run_copy(&layer, which, &integers, &p, in, lengths);
        double error = 0.0, size = 0.0;
        for (int32_t i = 0; i < 140 * even.hidden; i++) {
            error += (double)(exact[i] - quick[i]) * (double)(exact[i] - quick[i]);
            size += (double)(exact[i] - in[i]) * (double)(exact[i] - in[i]);
        }
        assert_true(error > 0.0); /* the mode does something */
        assert_true(error < 4e-4 * size);
        free(exact);
        free(quick);
    }
    random_layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_with_the_reference),
        cmocka_unit_test(keys_and_values_in_f16_stay_close_to_the_reference),
        cmocka_unit_test(keys_and_values_in_int8_stay_close_to_the_reference),
        cmocka_unit_test(the_delta_rule_agrees_with_the_reference),
        cmocka_unit_test(attention_gives_the_same_bits_however_it_is_run),
        cmocka_unit_test(the_delta_rule_gives_the_same_bits_for_slices_at_64),
        cmocka_unit_test(blocks_of_the_delta_rule_are_counted_from_the_start_of_the_sequence),
        cmocka_unit_test(the_chunked_delta_rule_is_close_to_the_steps),
        cmocka_unit_test(attention_over_a_long_cache_gives_the_same_bits_in_prefill_and_decode),
        cmocka_unit_test(attention_over_a_long_cache_agrees_with_the_reference),
        cmocka_unit_test(whole_numbers_stay_close_to_the_exact_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
