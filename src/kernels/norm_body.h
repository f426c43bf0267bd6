/* RMSNorm, its gated form after the delta rule, and the L2 norm of keys and queries. */
#ifndef SLUICE_KERNELS_NORM_BODY_H
#define SLUICE_KERNELS_NORM_BODY_H

#include <math.h>

#include "kernels/vmath_body.h"

/* Sum of squares: 16 partial sums over the row, then the fixed tree. */
static inline float sum_of_squares(const float *x, int32_t n)
{
    v16f sum = v16_zero();
    for (int32_t i = 0; i < n; i += 16) {
        const v16f lane = v16_load_at(x, i, n);
        sum = v16_fma(lane, lane, sum);
    }
    return v16_reduce_add(sum);
}

static void rmsnorm(const float *x, const float *weight, float eps, int32_t n, float *out)
{
    const v16f scale = v16_set1(1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 16) {
        const v16f normed = v16_mul(v16_load_at(x, i, n), scale);
        v16_store_at(out, i, n, v16_mul(normed, v16_load_at(weight, i, n)));
    }
}

static void rmsnorm_gated(float *x, const float *weight, const float *z, float eps, int32_t n)
{
    const v16f scale = v16_set1(1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 16) {
        const v16f normed = v16_mul(v16_load_at(x, i, n), scale);
        const v16f weighted = v16_mul(normed, v16_load_at(weight, i, n));
        v16_store_at(x, i, n, v16_mul(weighted, v16_silu(v16_load_at(z, i, n))));
    }
}

static void l2norm(float *x, float factor, int32_t n)
{
    const v16f scale = v16_set1(factor / sqrtf(sum_of_squares(x, n) + 1e-6f));
    for (int32_t i = 0; i < n; i += 16) {
        v16_store_at(x, i, n, v16_mul(v16_load_at(x, i, n), scale));
    }
}

#endif
