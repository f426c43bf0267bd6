/* Attention over one chunk of the cache, with an online softmax over blocks of 64 positions.
 *
 * Blocks are counted from position 0 and a row's own limit cuts its last one, so a row's arithmetic
 * does not depend on which rows share its tile. Masked positions are never multiplied into acc.
 * Keys and values in f16 are widened a block at a time and then go through the same arithmetic. */
#ifndef SLUICE_KERNELS_ATTENTION_BODY_H
#define SLUICE_KERNELS_ATTENTION_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/attention_softmax_body.h"
#include "kernels/gemm_body.h"
#include "kernels/vmath_body.h"

#define HALF_MAX 65504.0f

static void narrow(const float *x, int32_t n, uint16_t *out)
{
    const v16f max = v16_set1(HALF_MAX), min = v16_set1(-HALF_MAX);
    for (int32_t i = 0; i < n; i += 16) {
        uint16_t lanes[16];
        v16_store_f16(lanes, v16_max(v16_min(v16_load_at(x, i, n), max), min));
        memcpy(out + i, lanes, (size_t)(n - i < 16 ? n - i : 16) * sizeof *out);
    }
}

/* Elements [first, first + n) of keys or values as floats, in the tile's scratch unless they are
 * floats already. */
static const float *attention_wide(const sluice_attention_tile *t, const void *from, int64_t first,
                                   int32_t n)
{
    if (t->kv == SLUICE_KV_F32) return (const float *)from + first;
    const uint16_t *half = (const uint16_t *)from + first;
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16_store(t->wide + i, v16_load_f16(half + i));
    }
    if (i < n) {
        uint16_t lanes[16] = {0};
        memcpy(lanes, half + i, (size_t)(n - i) * sizeof *lanes);
        v16_store_at(t->wide, i, n, v16_load_f16(lanes));
    }
    return t->wide;
}

/* Where a block begins among keys or values, and how many bytes n positions take. */
static inline const void *attention_at(const sluice_attention_tile *t, const void *from,
                                       int32_t begin)
{
    return (const char *)from + (size_t)begin * sluice_kv_bytes(t->kv, t->head_dim);
}

static inline int64_t attention_bytes(const sluice_attention_tile *t, int32_t positions)
{
    return positions * (int64_t)sluice_kv_bytes(t->kv, t->head_dim);
}

/* acc of rows [row, row + rows) += weights times the first `seen` values of a block. */
static inline void attention_mix(const sluice_attention_tile *t, const float *values, int32_t begin,
                                 int32_t row, int32_t rows, int32_t seen)
{
    const int64_t first = (int64_t)row * t->group;
    gemm(&(sluice_gemm){.m = rows * t->group,
                        .n = t->head_dim,
                        .k = seen,
                        .a = t->scores + first * 64,
                        .a_row = 64,
                        .a_col = 1,
                        .b = values,
                        .b_row = t->head_dim,
                        .b_block = 16,
                        .c = t->sums.acc + first * t->head_dim,
                        .c_row = t->head_dim,
                        .accumulate = 1,
                        .ahead = attention_at(t, t->k, begin + 64),
                        .ahead_bytes = begin + 64 < t->end ? attention_bytes(t, 64) : 0});
}

static void attention_block(const sluice_attention_tile *t, int32_t begin)
{
    /* Rows see ever more, so those that see something of this block are the last ones. */
    int32_t row = 0;
    while (row < t->rows && attention_seen(t, begin, row) == 0) {
        row++;
    }
    if (row == t->rows) return;
    const int32_t end = begin + attention_seen(t, begin, t->rows - 1);
    const int64_t first = (int64_t)row * t->group, at = (int64_t)begin * t->head_dim;
    const int32_t lanes = (end - begin + 15) / 16 * 16;
    gemm(&(sluice_gemm){.m = (t->rows - row) * t->group,
                        .n = lanes,
                        .k = t->head_dim,
                        .a = t->q + first * t->head_dim,
                        .a_row = t->head_dim,
                        .a_col = 1,
                        .b = attention_wide(t, t->k, at, lanes * t->head_dim),
                        .b_row = 16,
                        .b_block = (int64_t)16 * t->head_dim,
                        .c = t->scores + first * 64,
                        .c_row = 64,
                        .ahead = attention_at(t, t->v, begin),
                        .ahead_bytes = attention_bytes(t, end - begin)});
    for (int32_t r = row; r < t->rows; r++) {
        const int32_t seen = attention_seen(t, begin, r);
        for (int32_t h = 0; h < t->group; h++) {
            attention_weigh(t, r * t->group + h, seen);
        }
    }
    const float *values = attention_wide(t, t->v, at, (end - begin) * t->head_dim);
    while (row < t->rows && attention_seen(t, begin, row) < 64) {
        attention_mix(t, values, begin, row, 1, attention_seen(t, begin, row));
        row++;
    }
    if (row < t->rows) attention_mix(t, values, begin, row, t->rows - row, 64);
}

static void attention(const sluice_attention_tile *t)
{
    attention_clear(t);
    for (int32_t begin = t->begin; begin < t->end; begin += 64) {
        attention_block(t, begin);
    }
}

static void attention_merge(const sluice_attention_sums *into, const sluice_attention_sums *part,
                            int32_t count, int32_t head_dim)
{
    for (int32_t i = 0; i < count; i++) {
        if (part->sum[i] == 0.0f) continue;
        const float max = into->max[i] > part->max[i] ? into->max[i] : part->max[i];
        const float keep = into->sum[i] == 0.0f ? 0.0f : exp_lane(into->max[i] - max);
        const float take = exp_lane(part->max[i] - max);
        float *acc = into->acc + (int64_t)i * head_dim;
        const float *add = part->acc + (int64_t)i * head_dim;
        for (int32_t d = 0; d < head_dim; d += 16) {
            const v16f kept = v16_mul(v16_set1(keep), v16_load_at(acc, d, head_dim));
            const v16f lanes = v16_load_at(add, d, head_dim);
            v16_store_at(acc, d, head_dim, v16_fma(v16_set1(take), lanes, kept));
        }
        into->sum[i] = fmaf(take, part->sum[i], keep * into->sum[i]);
        into->max[i] = max;
    }
}

static void attention_finish(const float *acc, float sum, const float *gate, int32_t head_dim,
                             float *out)
{
    const v16f scale = v16_set1(1.0f / sum);
    for (int32_t d = 0; d < head_dim; d += 16) {
        const v16f mean = v16_mul(v16_load_at(acc, d, head_dim), scale);
        const v16f open = v16_sigmoid(v16_load_at(gate, d, head_dim));
        v16_store_at(out, d, head_dim, v16_mul(mean, open));
    }
}

#endif
