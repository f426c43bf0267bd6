/* The two halves of a low-rank term beside a matrix: into the narrow middle, and out of it. */
#ifndef SLUICE_KERNELS_LOW_RANK_BODY_H
#define SLUICE_KERNELS_LOW_RANK_BODY_H

#include "kernels/vmath_body.h"

static void low_rank_in(const float *x, const float *a, int32_t rank, float scale, int32_t n,
                        float *t)
{
    for (int32_t r = 0; r < rank; r++, a += n) {
        v16f sum = v16_zero();
        for (int32_t i = 0; i < n; i += 16) {
            sum = v16_fma(v16_load_at(x, i, n), v16_load_at(a, i, n), sum);
        }
        t[r] = scale * v16_reduce_add(sum);
    }
}

static void low_rank_out(const float *t, const float *b, int64_t b_row, int32_t rank, int32_t n,
                         float *y)
{
    for (int32_t i = 0; i < n; i += 16) {
        v16f sum = v16_load_at(y, i, n);
        for (int32_t r = 0; r < rank; r++) {
            sum = v16_fma(v16_set1(t[r]), v16_load_at(b + r * b_row, i, n), sum);
        }
        v16_store_at(y, i, n, sum);
    }
}

#endif
