/* v16 in plain C: the reference for the other instruction sets, and what runs where there is none.
 */
#ifndef SLUICE_KERNELS_V16_SCALAR_H
#define SLUICE_KERNELS_V16_SCALAR_H

#include <math.h>

#include "kernels/v16.h"

typedef struct v16f {
    float v[16];
} v16f;

typedef struct v16i {
    uint32_t v[16];
} v16i;

/* out.v[i] = expression in i, for all lanes. */
#define V16_LANES(type, expression)                                                                \
    type out;                                                                                      \
    for (int i = 0; i < 16; i++)                                                                   \
        out.v[i] = (expression);                                                                   \
    return out

V16_INLINE v16f v16_set1(float a)
{
    V16_LANES(v16f, a);
}

V16_INLINE v16f v16_zero(void)
{
    return v16_set1(0.0f);
}

V16_INLINE v16f v16_load(const float *p)
{
    v16f out;
    memcpy(out.v, p, sizeof out.v);
    return out;
}

V16_INLINE void v16_store(float *p, v16f a)
{
    memcpy(p, a.v, sizeof a.v);
}

V16_INLINE v16f v16_load_n(const float *p, int n)
{
    v16f out = v16_zero();
    memcpy(out.v, p, (size_t)n * sizeof(float));
    return out;
}

V16_INLINE void v16_store_n(float *p, v16f a, int n)
{
    memcpy(p, a.v, (size_t)n * sizeof(float));
}

V16_INLINE v16f v16_load_bf16(const uint16_t *p)
{
    V16_LANES(v16f, sluice_bf16_to_float(p[i]));
}

V16_INLINE v16f v16_load_f16(const uint16_t *p)
{
    V16_LANES(v16f, sluice_half_to_float(p[i]));
}

V16_INLINE void v16_store_f16(uint16_t *p, v16f a)
{
    for (int i = 0; i < 16; i++)
        p[i] = sluice_float_to_half(a.v[i]);
}

V16_INLINE v16f v16_add(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] + b.v[i]);
}

V16_INLINE v16f v16_sub(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] - b.v[i]);
}

V16_INLINE v16f v16_mul(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] * b.v[i]);
}

V16_INLINE v16f v16_div(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] / b.v[i]);
}

V16_INLINE v16f v16_sqrt(v16f a)
{
    V16_LANES(v16f, sqrtf(a.v[i]));
}

V16_INLINE v16f v16_fma(v16f a, v16f b, v16f c)
{
    V16_LANES(v16f, fmaf(a.v[i], b.v[i], c.v[i]));
}

V16_INLINE v16f v16_fnma(v16f a, v16f b, v16f c)
{
    V16_LANES(v16f, fmaf(-a.v[i], b.v[i], c.v[i]));
}

V16_INLINE v16f v16_max(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

V16_INLINE v16f v16_min(v16f a, v16f b)
{
    V16_LANES(v16f, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

V16_INLINE v16f v16_abs(v16f a)
{
    V16_LANES(v16f, fabsf(a.v[i]));
}

V16_INLINE v16f v16_neg(v16f a)
{
    V16_LANES(v16f, -a.v[i]);
}

V16_INLINE v16f v16_select_gt(v16f a, v16f b, v16f x, v16f y)
{
    V16_LANES(v16f, a.v[i] > b.v[i] ? x.v[i] : y.v[i]);
}

V16_INLINE v16f v16_round(v16f a)
{
    V16_LANES(v16f, rintf(a.v[i]));
}

V16_INLINE v16i v16_to_i(v16f a)
{
    V16_LANES(v16i, (uint32_t)(int32_t)rintf(a.v[i]));
}

V16_INLINE v16f v16_from_i(v16i a)
{
    V16_LANES(v16f, (float)(int32_t)a.v[i]);
}

V16_INLINE v16i v16_as_i(v16f a)
{
    v16i out;
    memcpy(&out, &a, sizeof out);
    return out;
}

V16_INLINE v16f v16_as_f(v16i a)
{
    v16f out;
    memcpy(&out, &a, sizeof out);
    return out;
}

V16_INLINE v16f v16_swap(v16f a, int h)
{
    V16_LANES(v16f, a.v[i ^ h]);
}

V16_INLINE float v16_reduce_add(v16f a)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.v[i] = a.v[i] + a.v[i + half];
    return a.v[0];
}

V16_INLINE float v16_reduce_max(v16f a)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
    return a.v[0];
}

V16_INLINE v16i v16i_set1(int32_t a)
{
    V16_LANES(v16i, (uint32_t)a);
}

V16_INLINE v16i v16i_load(const void *p)
{
    v16i out;
    memcpy(out.v, p, sizeof out.v);
    return out;
}

V16_INLINE void v16i_store(void *p, v16i a)
{
    memcpy(p, a.v, sizeof a.v);
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    V16_LANES(v16i, a.v[i] + b.v[i]);
}

V16_INLINE v16i v16i_sub(v16i a, v16i b)
{
    V16_LANES(v16i, a.v[i] - b.v[i]);
}

V16_INLINE v16i v16i_and(v16i a, v16i b)
{
    V16_LANES(v16i, a.v[i] & b.v[i]);
}

V16_INLINE v16i v16i_or(v16i a, v16i b)
{
    V16_LANES(v16i, a.v[i] | b.v[i]);
}

V16_INLINE v16i v16i_xor(v16i a, v16i b)
{
    V16_LANES(v16i, a.v[i] ^ b.v[i]);
}

V16_INLINE v16i v16i_shl(v16i a, int bits)
{
    V16_LANES(v16i, a.v[i] << bits);
}

V16_INLINE v16i v16i_shr(v16i a, int bits)
{
    V16_LANES(v16i, a.v[i] >> bits);
}

#undef V16_LANES

#endif
