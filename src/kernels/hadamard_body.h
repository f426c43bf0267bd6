/* Turning a vector by a Hadamard matrix, scaled to keep its length: what one element holds is
 * shared out over all, so that one scale suits them (Ashkboos et al. 2024, "QuaRot"). */
#ifndef SLUICE_KERNELS_HADAMARD_BODY_H
#define SLUICE_KERNELS_HADAMARD_BODY_H

#include <math.h>

#include "kernels/vmath_body.h"

/* Lane j becomes a[j] + a[j ^ h] where j & h is 0, else a[j ^ h] - a[j]. */
V16_INLINE v16f hadamard_lanes(v16f a, int h)
{
    float signs[16];
    for (int j = 0; j < 16; j++) {
        signs[j] = j & h ? -1.0f : 1.0f;
    }
    return v16_fma(v16_load(signs), a, v16_swap(a, h));
}

static void hadamard(float *x, int32_t n)
{
    const int32_t block = n & -n;
    const v16f scale = v16_set1(1.0f / sqrtf((float)block));
    for (int32_t i = 0; i < n; i += 16) {
        v16f a = v16_mul(v16_load_at(x, i, n), scale);
        if (block > 1) a = hadamard_lanes(a, 1);
        if (block > 2) a = hadamard_lanes(a, 2);
        if (block > 4) a = hadamard_lanes(a, 4);
        if (block > 8) a = hadamard_lanes(a, 8);
        v16_store_at(x, i, n, a);
    }
    for (int32_t h = 16; h < block; h *= 2) {
        for (int32_t i = 0; i < n; i += 16) {
            if (i & h) continue;
            const v16f a = v16_load(x + i), b = v16_load(x + i + h);
            v16_store(x + i, v16_add(a, b));
            v16_store(x + i + h, v16_sub(a, b));
        }
    }
}

#endif
