/* The online softmax of attention, over blocks of 64 positions: shared by keys and values of every
 * type. The including file has included v16 before. */
#ifndef SLUICE_KERNELS_ATTENTION_SOFTMAX_BODY_H
#define SLUICE_KERNELS_ATTENTION_SOFTMAX_BODY_H

#include <float.h>
#include <string.h>

#include "kernels/ops.h"
#include "kernels/vmath_body.h"

/* A tile's sums before its first block. */
static void attention_clear(const sluice_attention_tile *t)
{
    for (int32_t i = 0; i < t->rows * t->group; i++) {
        t->sums.max[i] = -FLT_MAX;
        t->sums.sum[i] = 0.0f;
    }
    memset(t->sums.acc, 0,
           sizeof *t->sums.acc * (size_t)t->rows * (size_t)t->group * (size_t)t->head_dim);
}

/* How many positions of the block that begins at `begin` row r sees. */
static inline int32_t attention_seen(const sluice_attention_tile *t, int32_t begin, int32_t r)
{
    const int32_t end = begin + 64 < t->end ? begin + 64 : t->end;
    const int32_t limit = t->limit + r < end ? t->limit + r : end;
    return limit > begin ? limit - begin : 0;
}

/* Scores of one vector become weights; acc and sum are rescaled when the maximum grows. */
static void attention_weigh(const sluice_attention_tile *t, int32_t i, int32_t seen)
{
    float *score = t->scores + (int64_t)i * 64;
    for (int32_t j = seen; j < 64; j++) {
        score[j] = -FLT_MAX;
    }
    const v16f s0 = v16_load(score), s1 = v16_load(score + 16);
    const v16f s2 = v16_load(score + 32), s3 = v16_load(score + 48);
    const float block_max = v16_reduce_max(v16_max(v16_max(s0, s1), v16_max(s2, s3)));
    if (block_max > t->sums.max[i]) {
        if (t->sums.sum[i] > 0.0f) {
            const float shrink = exp_lane(t->sums.max[i] - block_max);
            float *acc = t->sums.acc + (int64_t)i * t->head_dim;
            for (int32_t d = 0; d < t->head_dim; d += 16) {
                const v16f scaled = v16_mul(v16_load_at(acc, d, t->head_dim), v16_set1(shrink));
                v16_store_at(acc, d, t->head_dim, scaled);
            }
            t->sums.sum[i] *= shrink;
        }
        t->sums.max[i] = block_max;
    }
    const v16f max = v16_set1(t->sums.max[i]);
    v16_store(score, v16_exp(v16_sub(s0, max)));
    v16_store(score + 16, v16_exp(v16_sub(s1, max)));
    v16_store(score + 32, v16_exp(v16_sub(s2, max)));
    v16_store(score + 48, v16_exp(v16_sub(s3, max)));
    for (int32_t j = seen; j < 64; j++) {
        score[j] = 0.0f;
    }
    const v16f low = v16_add(v16_load(score), v16_load(score + 16));
    const v16f high = v16_add(v16_load(score + 32), v16_load(score + 48));
    t->sums.sum[i] += v16_reduce_add(v16_add(low, high));
}

#endif
