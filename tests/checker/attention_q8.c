/* The family attention_q8: attention over keys and values in int8 against plain C in bits, against
 * its definition in double, and a row alone against the same row among others; and quantize_head.
 *
 * Codes are random or the largest there are, and what no row sees holds scales that are NaN. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/checker.h"
#include "kernels/ops.h"

#define CASES 300
#define HEADS 60 /* vectors that are quantised, beside every length up to 70 */

/* One call. Buffers end at an unmapped page, or a few bytes before it, to be misaligned. */
typedef struct attention_case {
    sluice_attention_tile tile;
    int32_t seen; /* positions that some row sees */
    check_buffer q, k, v, scores, codes, acc, max, sum;
} attention_case;

static check_buffer floats(int32_t count)
{
    return check_buffer_new((size_t)count * sizeof(float));
}

/* Blocks of 16 positions: codes of -127..127 (keys: + 128) and scales; zeros beyond head_dim. */
static void fill(check *c, const attention_case *a, unsigned char *at, bool keys, bool extreme)
{
    const int32_t dim = a->tile.head_dim, padded = sluice_kv_padded(dim);
    const int32_t blocks = sluice_kv_positions(a->seen) / SLUICE_KV_BLOCK;
    for (int32_t p = 0; p < blocks * SLUICE_KV_BLOCK; p++) {
        const int32_t lane = p % SLUICE_KV_BLOCK;
        unsigned char *block = at + (size_t)(p - lane) * sluice_kv_bytes(SLUICE_KV_INT8, dim);
        float scale = p < a->seen ? 0.02f * fabsf(check_normal(c)) : NAN;
        if (extreme && check_below(c, 20) == 0) scale = p < a->seen ? 0.0f : INFINITY;
        memcpy(block + padded * SLUICE_KV_BLOCK + lane * 4, &scale, sizeof scale);
        for (int32_t d = 0; d < padded; d++) {
            int32_t code = (int32_t)check_below(c, 255) - 127;
            if (extreme) code = check_below(c, 8) ? 127 : -127;
            if (d >= dim) code = 0;
            if (keys)
                block[d / 4 * 64 + lane * 4 + d % 4] = (unsigned char)(code + 128);
            else
                block[d / 16 * 256 + lane / 4 * 64 + d % 16 * 4 + lane % 4] = (unsigned char)code;
        }
    }
}

static attention_case case_new(check *c, bool extreme)
{
    attention_case a = {.tile = {.rows = check_between(c, 1, 7),
                                 .group = check_between(c, 1, 5),
                                 .head_dim = check_between(c, 1, check_below(c, 4) ? 70 : 260),
                                 .begin = 64 * check_between(c, 0, 2),
                                 .kv = SLUICE_KV_INT8}};
    sluice_attention_tile *t = &a.tile;
    t->limit = check_between(c, 1, t->begin + 200);
    const int32_t last = t->limit + t->rows - 1;
    t->end = last > t->begin + 1 ? check_between(c, t->begin + 1, last) : t->begin + 1;
    a.seen = t->end;
    const int32_t vectors = t->rows * t->group, shift = check_below(c, 2) ? 0 : 4;
    const size_t kv =
        (size_t)sluice_kv_positions(a.seen) * sluice_kv_bytes(t->kv, t->head_dim) + (size_t)shift;
    a.q = floats(vectors * t->head_dim);
    a.k = check_buffer_new(kv);
    a.v = check_buffer_new(kv);
    a.scores = floats(vectors * 64);
    a.codes = check_buffer_new((size_t)sluice_attention_codes_bytes(vectors, t->head_dim));
    a.acc = floats(vectors * t->head_dim);
    a.max = floats(vectors);
    a.sum = floats(vectors);
    float *q = a.q.data;
    for (int32_t i = 0; i < vectors * t->head_dim; i++)
        q[i] = extreme ? check_extreme(c, 5) : check_normal(c);
    fill(c, &a, a.k.data, true, extreme);
    fill(c, &a, a.v.data, false, extreme);
    t->q = q;
    t->k = a.k.data;
    t->v = a.v.data;
    t->scores = a.scores.data;
    t->codes = a.codes.data;
    t->sums = (sluice_attention_sums){a.acc.data, a.max.data, a.sum.data};
    return a;
}

static void case_free(check *c, attention_case *a)
{
    check_buffer_free(c, &a->q, "queries");
    check_buffer_free(c, &a->k, "keys");
    check_buffer_free(c, &a->v, "values");
    check_buffer_free(c, &a->scores, "scores");
    check_buffer_free(c, &a->codes, "scratch of codes");
    check_buffer_free(c, &a->acc, "sums of values");
    check_buffer_free(c, &a->max, "maxima");
    check_buffer_free(c, &a->sum, "sums of weights");
}

static void *take(size_t bytes)
{
    void *memory = calloc(bytes + 1, 1);
    if (!memory) exit(2);
    return memory;
}

static sluice_attention_sums sums_new(int32_t vectors, int32_t head_dim)
{
    return (sluice_attention_sums){.acc = take((size_t)vectors * (size_t)head_dim * sizeof(float)),
                                   .max = take((size_t)vectors * sizeof(float)),
                                   .sum = take((size_t)vectors * sizeof(float))};
}

static void sums_free(const sluice_attention_sums *s)
{
    free(s->acc);
    free(s->max);
    free(s->sum);
}

/* `got` is vectors [first, first + count) of want. */
static void compare(check *c, const sluice_attention_sums *got, const sluice_attention_sums *want,
                    int32_t first, int32_t count, int32_t head_dim, const char *what)
{
    for (int32_t i = 0; i < count; i++) {
        bool same = check_same(got->max[i], want->max[first + i]) &&
                    check_same(got->sum[i], want->sum[first + i]);
        for (int32_t d = 0; d < head_dim; d++)
            same &= check_same(got->acc[i * head_dim + d], want->acc[(first + i) * head_dim + d]);
        if (same) continue;
        check_fail(c, "vector %d of head dimension %d: %s", first + i, head_dim, what);
        return;
    }
}

static double code_of(const attention_case *a, const void *kv, int32_t p, int32_t d, double *scale)
{
    const int32_t dim = a->tile.head_dim, padded = sluice_kv_padded(dim), lane = p % 16;
    const unsigned char *block =
        (const unsigned char *)kv + (size_t)(p - lane) * sluice_kv_bytes(SLUICE_KV_INT8, dim);
    float each;
    memcpy(&each, block + padded * 16 + lane * 4, sizeof each);
    *scale = (double)each;
    if (kv == a->tile.k) return (double)block[d / 4 * 64 + lane * 4 + d % 4] - 128;
    return (double)(int8_t)block[d / 16 * 256 + lane / 4 * 64 + d % 16 * 4 + lane % 4];
}

/* The score of a query, rounded to codes, and a position. */
static double score(const attention_case *a, int32_t vector, int32_t p)
{
    const int32_t dim = a->tile.head_dim;
    const float *q = a->tile.q + (int64_t)vector * dim;
    float max = 0.0f;
    for (int32_t d = 0; d < dim; d++)
        max = fmaxf(max, fabsf(q[d]));
    double dot = 0, scale = 0;
    for (int32_t d = 0; d < dim && max >= 1e-30f; d++)
        dot += (double)rintf(q[d] * (127.0f / max)) * code_of(a, a->tile.k, p, d, &scale);
    return dot * scale * ((double)max / 127.0);
}

/* A weight's code is off by half a step, 1/510 of the largest of its block, at most. */
static void check_truth(check *c, const attention_case *a, const sluice_attention_sums *got,
                        int32_t vector)
{
    const sluice_attention_tile *t = &a->tile;
    const int32_t row = vector / t->group, dim = t->head_dim;
    const int32_t end = t->limit + row < t->end ? t->limit + row : t->end;
    double max = -(double)FLT_MAX, sum = 0;
    for (int32_t p = t->begin; p < end; p++)
        max = fmax(max, score(a, vector, p));
    double *acc = take((size_t)dim * sizeof *acc), *slack = take((size_t)dim * sizeof *slack);
    for (int32_t block = t->begin; block < end; block += 64) {
        const int32_t stop = block + 64 < end ? block + 64 : end;
        double weights[64], top = 0, scale;
        for (int32_t p = block; p < stop; p++) {
            const double weight = exp(fmax(score(a, vector, p) - max, -87));
            sum += weight;
            code_of(a, t->v, p, 0, &scale);
            top = fmax(top, weights[p - block] = weight * scale);
        }
        for (int32_t p = block; p < stop; p++)
            for (int32_t d = 0; d < dim; d++) {
                const double code = code_of(a, t->v, p, d, &scale);
                acc[d] += weights[p - block] * code;
                slack[d] += (top / 509 + weights[p - block] * 2e-5 * (1 + fabs(max))) * fabs(code);
            }
    }
    bool right = fabs((double)got->max[vector] - max) <= 1e-5 * (1 + fabs(max)) &&
                 fabs((double)got->sum[vector] - sum) <= 3e-5 * (1 + fabs(max)) * (1 + sum);
    for (int32_t d = 0; d < dim; d++)
        right &= fabs((double)got->acc[vector * dim + d] - acc[d]) <= slack[d] + 1e-6;
    if (!right) check_fail(c, "vector %d of head dimension %d: not the truth", vector, dim);
    free(acc);
    free(slack);
}

static void run_subject(check *c, void *context)
{
    c->subject.attention_q8(context);
}

/* One row by itself, on the buffers of all. */
static void check_alone(check *c, attention_case *a, const sluice_attention_sums *want)
{
    sluice_attention_tile one = a->tile;
    const int32_t row = check_between(c, 0, one.rows - 1);
    one.q += (int64_t)row * one.group * one.head_dim;
    one.limit += row;
    one.rows = 1;
    check_guarded(c, run_subject, &one, "attention_q8");
    compare(c, &one.sums, want, row * one.group, one.group, one.head_dim,
            "not what it is among other rows");
}

static void check_case(check *c, bool extreme)
{
    attention_case a = case_new(c, extreme);
    const int32_t vectors = a.tile.rows * a.tile.group;
    sluice_attention_tile plain = a.tile;
    plain.sums = sums_new(vectors, plain.head_dim);
    plain.scores = take((size_t)vectors * 64 * sizeof(float));
    plain.codes = take((size_t)sluice_attention_codes_bytes(vectors, plain.head_dim));
    c->plain.attention_q8(&plain);
    check_guarded(c, run_subject, &a.tile, "attention_q8");
    compare(c, &a.tile.sums, &plain.sums, 0, vectors, plain.head_dim, "not the bits of plain C");
    if (!extreme) check_truth(c, &a, &plain.sums, check_between(c, 0, vectors - 1));
    check_alone(c, &a, &plain.sums);
    sums_free(&plain.sums);
    free(plain.scores);
    free(plain.codes);
    case_free(c, &a);
    c->cases++;
}

typedef struct head_run {
    const float *x;
    int32_t n;
    int8_t *codes;
    float scale;
} head_run;

static void run_head(check *c, void *context)
{
    head_run *r = context;
    r->scale = c->subject.quantize_head(r->x, r->n, r->codes);
}

static void check_head(check *c, int32_t n, bool extreme)
{
    const int32_t padded = sluice_kv_padded(n);
    check_buffer x = floats(n), codes = check_buffer_new((size_t)padded);
    float *values = x.data;
    for (int32_t i = 0; i < n; i++)
        values[i] = extreme ? check_extreme(c, 3) : check_normal(c);
    head_run run = {values, n, codes.data, 0};
    int8_t *want = take((size_t)padded);
    const float scale = c->plain.quantize_head(values, n, want);
    check_guarded(c, run_head, &run, "quantize_head");
    if (!check_same(run.scale, scale) || memcmp(want, run.codes, (size_t)padded) != 0)
        check_fail(c, "a head of %d: not the bits of plain C", n);
    for (int32_t i = 0; i < padded; i++) {
        const double is = i < n ? (double)values[i] : 0.0;
        if (fabs((double)want[i] * (double)scale - is) > (double)scale * 0.50002 + 1.01e-30)
            check_fail(c, "element %d of %d: %g became %d * %g", i, n, is, want[i], (double)scale);
    }
    free(want);
    check_buffer_free(c, &codes, "codes");
    check_buffer_free(c, &x, "a head");
    c->cases++;
}

static void run(check *c)
{
    for (int32_t n = 1; n <= 70 && !check_enough(c); n++)
        check_head(c, n, n % 2);
    for (int i = 0; i < HEADS && !check_enough(c); i++)
        check_head(c, check_between(c, 1, 400), i % 2);
    for (int i = 0; i < CASES && !check_enough(c); i++)
        check_case(c, i % 3 == 2);
}

typedef struct bench_run {
    const sluice_kernels *table;
    sluice_attention_tile tile;
} bench_run;

static void run_bench(void *context, int worker)
{
    const bench_run *b = context;
    if (worker == 0) b->table->attention_q8(&b->tile);
}

/* A group of 16 query heads of 256 over positions that a core holds in its cache. */
static void bench(const check *c, int threads)
{
    enum { GROUP = 16, HEAD = 256, POSITIONS = 1024 };
    const size_t kv = POSITIONS * sluice_kv_bytes(SLUICE_KV_INT8, HEAD);
    const double clock = check_limit_clock(), peak = check_limit_dot(c->flags);
    (void)threads;
    bench_run b = {.table = &c->subject,
                   .tile = {.rows = 1,
                            .group = GROUP,
                            .head_dim = HEAD,
                            .end = POSITIONS,
                            .limit = POSITIONS,
                            .kv = SLUICE_KV_INT8,
                            .q = take(GROUP * HEAD * sizeof(float)),
                            .k = take(kv),
                            .v = take(kv),
                            .scores = take(GROUP * 64 * sizeof(float)),
                            .codes = take((size_t)sluice_attention_codes_bytes(GROUP, HEAD)),
                            .sums = sums_new(GROUP, HEAD)}};
    const double seconds = check_time(1, 0.3, run_bench, &b);
    const double products = 2.0 * GROUP * HEAD * POSITIONS / (seconds * clock);
    printf("attention_q8: %.1f products a cycle (limit %.1f, %.2f of it)\n", products, peak,
           peak > 0 ? products / peak : 0);
    free((void *)(uintptr_t)b.tile.q);
    free((void *)(uintptr_t)b.tile.k);
    free((void *)(uintptr_t)b.tile.v);
    free(b.tile.scores);
    free(b.tile.codes);
    sums_free(&b.tile.sums);
}

static void (*right)(const sluice_attention_tile *);
static float (*right_head)(const float *, int32_t, int8_t *);

static void blind_to_the_last(const sluice_attention_tile *tile)
{
    sluice_attention_tile less = *tile;
    if (less.end > less.begin + 1) less.end--;
    right(&less);
}

static void one_ulp(const sluice_attention_tile *tile)
{
    right(tile);
    tile->sums.acc[tile->head_dim - 1] = nextafterf(tile->sums.acc[tile->head_dim - 1], 1e9f);
}

/* What a saturating sum of two products in 16 bits would do: only the largest codes show it. */
static void saturates(const sluice_attention_tile *tile)
{
    right(tile);
    const unsigned char *keys = tile->k;
    if (keys[0] == 255 && keys[1] == 255) tile->sums.max[0] *= 0.999f;
}

static void sees_a_neighbour(const sluice_attention_tile *tile)
{
    right(tile);
    if (tile->rows == 1) tile->sums.sum[0] = nextafterf(tile->sums.sum[0], 1e9f);
}

/* Multiplies by the scale of a position that no row sees. */
static void sees_the_future(const sluice_attention_tile *tile)
{
    sluice_attention_tile more = *tile;
    if (more.end % SLUICE_KV_BLOCK && more.rows == 1) {
        more.end++;
        more.limit++;
    }
    right(&more);
}

static void reads_past_the_end(const sluice_attention_tile *tile)
{
    const size_t bytes =
        (size_t)sluice_kv_positions(tile->end) * sluice_kv_bytes(SLUICE_KV_INT8, tile->head_dim);
    right(tile);
    if (((const volatile unsigned char *)tile->v)[bytes + 4]) tile->sums.max[0] += 0.0f;
}

static float wrong_tail(const float *x, int32_t n, int8_t *codes)
{
    const float scale = right_head(x, n, codes);
    if (n % 16 > 1) codes[n - 1] = codes[n - 2];
    return scale;
}

static const struct {
    const char *name;
    void (*kernel)(const sluice_attention_tile *);
} planted[] = {{"attention-q8-last-position", blind_to_the_last},
               {"attention-q8-one-ulp", one_ulp},
               {"attention-q8-saturates", saturates},
               {"attention-q8-neighbour", sees_a_neighbour},
               {"attention-q8-future", sees_the_future},
               {"attention-q8-past-the-end", reads_past_the_end}};

static const char *const defects[] = {"attention-q8-last-position", "attention-q8-one-ulp",
                                      "attention-q8-saturates",     "attention-q8-neighbour",
                                      "attention-q8-future",        "attention-q8-past-the-end",
                                      "quantize-head-tail",         NULL};

static bool plant(check *c, const char *defect)
{
    right = c->subject.attention_q8;
    right_head = c->subject.quantize_head;
    if (!strcmp(defect, "quantize-head-tail")) {
        c->subject.quantize_head = wrong_tail;
        return true;
    }
    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        if (strcmp(planted[i].name, defect) != 0) continue;
        c->subject.attention_q8 = planted[i].kernel;
        return true;
    }
    return false;
}

static bool same(const check *a, const check *b)
{
    return a->subject.attention_q8 == b->subject.attention_q8 &&
           a->subject.quantize_head == b->subject.quantize_head;
}

const check_family check_attention_q8 = {"attention_q8", run, bench, same, plant, defects};
