/* The family of small matrix products and of what is made of them: attention over a chunk of the
 * cache and the gated delta rule. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "checker/ops.h"
#include "quant/weight.h"

/* m x n x k; b in blocks of 16 columns, as keys are, or row-major. */
static sluice_gemm gemm_of(const ops_call *a)
{
    const bool blocked = a->context;
    return (sluice_gemm){.m = a->m,
                         .n = a->n,
                         .k = a->k,
                         .a = a->buffers[0],
                         .a_row = a->k + 1,
                         .a_col = 1,
                         .b = a->buffers[1],
                         .b_row = blocked ? 16 : a->n,
                         .b_block = blocked ? 16 * (int64_t)a->k : 16,
                         .c = a->buffers[2],
                         .c_row = a->n + 2,
                         .accumulate = a->m % 2};
}

static void call_gemm(const sluice_ops *ops, const ops_call *a)
{
    const sluice_gemm g = gemm_of(a);
    ops->gemm(&g);
}

static void truth_gemm(const ops_call *a, double *const *want)
{
    const sluice_gemm g = gemm_of(a);
    for (int32_t i = 0; i < g.m; i++) {
        for (int32_t j = 0; j < g.n; j++) {
            double sum = g.accumulate ? want[0][i * g.c_row + j] : 0.0;
            for (int32_t k = 0; k < g.k; k++)
                sum += (double)g.a[i * g.a_row + k * g.a_col] *
                       (double)g.b[j / 16 * g.b_block + k * g.b_row + j % 16];
            want[0][i * g.c_row + j] = sum;
        }
    }
}

static void check_gemm(check *c)
{
    static const char blocked = 1;
    const bool keys = check_below(c, 2);
    const int32_t m = check_between(c, 1, 20), k = check_between(c, 1, 40);
    const int32_t n = keys ? 16 * check_between(c, 1, 8) : check_between(c, 1, 140);
    ops_check(c,
              &(ops_call){.what = "gemm",
                          .call = call_gemm,
                          .truth = truth_gemm,
                          .tolerance = 1e-5,
                          .n_in = 2,
                          .n_out = 1,
                          .sizes = {(size_t)(m * (k + 1)), (size_t)(k * n), (size_t)(m * (n + 2))},
                          .m = m,
                          .n = n,
                          .k = k,
                          .context = keys ? &blocked : NULL});
}

static float element(const sluice_attention_tile *t, const float *buffer, size_t i)
{
    uint16_t half;
    if (t->kv == SLUICE_KV_F32) return buffer[i];
    memcpy(&half, (const char *)buffer + 2 * i, sizeof half);
    return sluice_half_to_float(half);
}

/* Each random number of keys and values makes two in f16. */
static void prepare_attention(const ops_call *a)
{
    const sluice_attention_tile *t = a->context;
    if (t->kv == SLUICE_KV_F32) return;
    for (int b = 1; b <= 2; b++) {
        for (size_t i = 0; i < a->sizes[b]; i++) {
            const float x = a->buffers[b][i];
            const uint16_t two[] = {sluice_float_to_half(x), sluice_float_to_half(0.7f - x)};
            memcpy(&a->buffers[b][i], two, sizeof two);
        }
    }
}

/* Buffers: q, k, v, scores (scratch); acc, max, sum. */
static void call_attention(const sluice_ops *ops, const ops_call *a)
{
    sluice_attention_tile tile = *(const sluice_attention_tile *)a->context;
    _Alignas(64) float wide[64 * 70];
    tile.wide = wide;
    tile.q = a->buffers[0];
    tile.k = a->buffers[1];
    tile.v = a->buffers[2];
    tile.scores = a->buffers[3];
    tile.sums = (sluice_attention_sums){a->buffers[4], a->buffers[5], a->buffers[6]};
    ops->attention(&tile);
}

static double score(const ops_call *a, int32_t vector, int32_t position)
{
    const sluice_attention_tile *t = a->context;
    double sum = 0.0;
    for (int32_t d = 0; d < t->head_dim; d++)
        sum += (double)a->buffers[0][vector * t->head_dim + d] *
               (double)element(t, a->buffers[1],
                               (size_t)((position / 16 * t->head_dim + d) * 16 + position % 16));
    return sum;
}

static void truth_attention(const ops_call *a, double *const *want)
{
    const sluice_attention_tile *t = a->context;
    memset(want[0], 0, a->sizes[4] * sizeof(double));
    for (int32_t i = 0; i < t->rows * t->group; i++) {
        const int32_t limit = t->limit + i / t->group, end = limit < t->end ? limit : t->end;
        want[1][i] = -(double)FLT_MAX;
        want[2][i] = 0.0;
        for (int32_t p = t->begin; p < end; p++)
            want[1][i] = fmax(want[1][i], score(a, i, p));
        for (int32_t p = t->begin; p < end; p++) {
            const double weight = exp(score(a, i, p) - want[1][i]);
            want[2][i] += weight;
            for (int32_t d = 0; d < t->head_dim; d++)
                want[0][i * t->head_dim + d] +=
                    weight * (double)element(t, a->buffers[2], (size_t)(p * t->head_dim + d));
        }
    }
}

static void check_attention(check *c)
{
    sluice_attention_tile t = {.rows = check_between(c, 1, 7),
                               .group = check_between(c, 1, 5),
                               .head_dim = check_between(c, 1, 70),
                               .begin = 64 * check_between(c, 0, 2),
                               .kv = check_between(c, 0, 1) ? SLUICE_KV_F16 : SLUICE_KV_F32};
    t.limit = check_between(c, 1, t.begin + 200);
    t.end =
        check_between(c, t.begin + 1, t.limit + t.rows > t.begin ? t.limit + t.rows : t.begin + 1);
    if (t.end > t.limit + t.rows - 1 && t.limit + t.rows - 1 > t.begin)
        t.end = t.limit + t.rows - 1;
    const size_t vectors = (size_t)(t.rows * t.group), dim = (size_t)t.head_dim;
    const int32_t last = t.end > t.limit ? t.end : t.limit;
    const size_t positions = (size_t)sluice_kv_positions(last);
    const size_t shared = 4 / sluice_kv_bytes(t.kv, 1); /* elements of a float's size */
    ops_check(c, &(ops_call){.what = t.kv == SLUICE_KV_F16 ? "attention-f16" : "attention",
                             .prepare = prepare_attention,
                             .call = call_attention,
                             .truth = truth_attention,
                             .tolerance = 3e-5,
                             .n_in = 4,
                             .n_out = 3,
                             .sizes = {vectors * dim, positions * dim / shared,
                                       ((size_t)last * dim + shared - 1) / shared, vectors * 64,
                                       vectors * dim, vectors, vectors},
                             .n = t.head_dim,
                             .m = t.rows * t.group,
                             .k = t.end - t.begin,
                             .scale = 0.7f,
                             .context = &t});
}

/* Buffers: q, k, v, g, beta, scratch; o, s. Scratch counts as input: compared in bits, not with the
 * truth. */
static sluice_gdn_head head_of(const ops_call *a)
{
    return (sluice_gdn_head){.rows = a->m,
                             .k_dim = a->k,
                             .v_dim = a->n,
                             .q = a->buffers[0],
                             .k = a->buffers[1],
                             .qk_row = a->k + 3,
                             .v = a->buffers[2],
                             .v_row = a->n + 1,
                             .g = a->buffers[3],
                             .beta = a->buffers[4],
                             .gate_row = 2,
                             .s = a->buffers[7],
                             .o = a->buffers[6],
                             .o_row = a->n + 2,
                             .scratch = a->buffers[5]};
}

/* Random numbers become what the model has: g below zero, beta in (0, 1), keys of length one. */
static void tame(const ops_call *a)
{
    for (int32_t i = 0; i < a->m; i++) {
        float *g = &a->buffers[3][2 * i], *beta = &a->buffers[4][2 * i];
        if (*g > 0.0f) *g = -*g;
        if (*beta < 0.0f || *beta > 1.0f) *beta = 0.5f;
        float *k = a->buffers[1] + i * (a->k + 3);
        double sum = 1e-6;
        for (int32_t d = 0; d < a->k; d++)
            sum += (double)k[d] * (double)k[d];
        for (int32_t d = 0; d < a->k; d++)
            k[d] = (float)((double)k[d] / sqrt(sum));
    }
}

static void call_step(const sluice_ops *ops, const ops_call *a)
{
    const sluice_gdn_head head = head_of(a);
    ops->gdn_step(&head);
}

static void call_block(const sluice_ops *ops, const ops_call *a)
{
    const sluice_gdn_head head = head_of(a);
    ops->gdn_block(&head);
}

static void truth_gdn(const ops_call *a, double *const *want)
{
    const sluice_gdn_head h = head_of(a);
    double *o = want[0], *s = want[1];
    for (int32_t t = 0; t < h.rows; t++) {
        const double decay = exp((double)h.g[t * h.gate_row]);
        const double beta = (double)h.beta[t * h.gate_row];
        for (int32_t c = 0; c < h.v_dim; c++) {
            double recalled = 0.0, out = 0.0;
            for (int32_t i = 0; i < h.k_dim; i++)
                recalled += (double)h.k[t * h.qk_row + i] * (s[i * h.v_dim + c] *= decay);
            const double delta = beta * ((double)h.v[t * h.v_row + c] - recalled);
            for (int32_t i = 0; i < h.k_dim; i++)
                out += (double)h.q[t * h.qk_row + i] *
                       (s[i * h.v_dim + c] += (double)h.k[t * h.qk_row + i] * delta);
            o[t * h.o_row + c] = out;
        }
    }
}

static void check_gdn(check *c, bool block)
{
    const int32_t rows = block ? SLUICE_GDN_BLOCK : check_between(c, 1, 9);
    const int32_t k = check_between(c, 1, 70), n = check_between(c, 1, 90);
    const size_t r = (size_t)rows;
    ops_check(c,
              &(ops_call){.what = block ? "gdn_block" : "gdn_step",
                          .prepare = tame,
                          .call = block ? call_block : call_step,
                          .truth = truth_gdn,
                          .tolerance = 3e-5,
                          .n_in = 6,
                          .n_out = 2,
                          .sizes = {r * (size_t)(k + 3), r * (size_t)(k + 3), r * (size_t)(n + 1),
                                    2 * r, 2 * r, (size_t)sluice_gdn_scratch(k, n),
                                    r * (size_t)(n + 2), (size_t)(k * n)},
                          .n = n,
                          .k = k,
                          .m = rows,
                          .scale = 0.5f});
}

static void run(check *c)
{
    for (int i = 0; i < 300 && !check_enough(c); i++) {
        check_gemm(c);
        check_attention(c);
        check_gdn(c, false);
        if (i % 4 == 0) check_gdn(c, true);
    }
    ops_planted_clear();
}

static void (*right_gemm)(const sluice_gemm *);
static void (*right_step)(const sluice_gdn_head *);
static void (*right_attention)(const sluice_attention_tile *);

static void lost_product(const sluice_gemm *gemm)
{
    sluice_gemm less = *gemm;
    if (less.k > 20) less.k--;
    right_gemm(&less);
}

static void late_decay(const sluice_gdn_head *head)
{
    right_step(head);
    if (head->rows > 1) head->s[0] = nextafterf(head->s[0], 0.0f);
}

static void blind_to_the_last(const sluice_attention_tile *tile)
{
    sluice_attention_tile less = *tile;
    if (less.end > less.begin + 1) less.end--;
    right_attention(&less);
}

static const char *const defects[] = {"gemm-lost-product", "gdn-one-ulp", "attention-last-position",
                                      NULL};

static bool plant(check *c, const char *defect)
{
    if (!strcmp(defect, defects[0])) {
        sluice_ops *ops = ops_plant(c);
        right_gemm = ops->gemm;
        ops->gemm = lost_product;
    } else if (!strcmp(defect, defects[1])) {
        sluice_ops *ops = ops_plant(c);
        right_step = ops->gdn_step;
        ops->gdn_step = late_decay;
    } else if (!strcmp(defect, defects[2])) {
        sluice_ops *ops = ops_plant(c);
        right_attention = ops->attention;
        ops->attention = blind_to_the_last;
    } else {
        return false;
    }
    return true;
}

const check_family check_ops_mixers = {"ops_mixers", run, NULL, ops_same, plant, defects};
