/* Elementary functions of 16 lanes: exp, sigmoid, silu, softplus, and loads with a tail.
 *
 * The polynomials are our own so that every instruction set gives the same bits; none of this asks
 * libm. exp is Cephes' expf (relative error below 2e-7); arguments are cut to [-87, 88.37], so that
 * nothing underflows to subnormal numbers, which are slow. Inputs are finite. */
#ifndef SLUICE_KERNELS_VMATH_BODY_H
#define SLUICE_KERNELS_VMATH_BODY_H

#include "kernels/v16.h"

/* Lanes of x[i ..] up to n, zeros after; and the same for stores. */
static inline v16f v16_load_at(const float *x, int32_t i, int32_t n)
{
    return i + 16 <= n ? v16_load(x + i) : v16_load_n(x + i, n - i);
}

static inline void v16_store_at(float *x, int32_t i, int32_t n, v16f value)
{
    if (i + 16 <= n) {
        v16_store(x + i, value);
    } else {
        v16_store_n(x + i, value, n - i);
    }
}

static inline v16f v16_exp(v16f x)
{
    x = v16_min(v16_max(x, v16_set1(-87.0f)), v16_set1(88.376f));
    const v16f n = v16_round(v16_mul(x, v16_set1(1.44269504088896341f)));
    v16f r = v16_fma(n, v16_set1(-0.693359375f), x);
    r = v16_fma(n, v16_set1(2.12194440e-4f), r);
    v16f p = v16_set1(1.9875691500e-4f);
    p = v16_fma(p, r, v16_set1(1.3981999507e-3f));
    p = v16_fma(p, r, v16_set1(8.3334519073e-3f));
    p = v16_fma(p, r, v16_set1(4.1665795894e-2f));
    p = v16_fma(p, r, v16_set1(1.6666665459e-1f));
    p = v16_fma(p, r, v16_set1(5.0000001201e-1f));
    p = v16_fma(v16_mul(p, r), r, v16_add(r, v16_set1(1.0f)));
    /* p is in (0.7, 1.5) and n in [-126, 127]: the exponent field takes n without overflow. */
    return v16_as_f(v16i_add(v16_as_i(p), v16i_shl(v16_to_i(n), 23)));
}

static inline float exp_lane(float x)
{
    return v16_reduce_max(v16_exp(v16_set1(x)));
}

static inline v16f v16_sigmoid(v16f x)
{
    const v16f one = v16_set1(1.0f);
    return v16_div(one, v16_add(one, v16_exp(v16_neg(x))));
}

static inline v16f v16_silu(v16f x)
{
    return v16_div(x, v16_add(v16_set1(1.0f), v16_exp(v16_neg(x))));
}

/* log(1 + e^x) = max(x, 0) + log1p(u), u = e^-|x|; log1p(u) = 2 atanh(s), s = u / (2 + u) <= 1/3.
 */
static inline v16f v16_softplus(v16f x)
{
    const v16f positive = v16_max(x, v16_zero());
    const v16f u = v16_exp(v16_sub(v16_min(x, v16_zero()), positive));
    const v16f s = v16_div(u, v16_add(v16_set1(2.0f), u));
    const v16f z = v16_mul(s, s);
    v16f p = v16_set1(2.0f / 15);
    p = v16_fma(p, z, v16_set1(2.0f / 13));
    p = v16_fma(p, z, v16_set1(2.0f / 11));
    p = v16_fma(p, z, v16_set1(2.0f / 9));
    p = v16_fma(p, z, v16_set1(2.0f / 7));
    p = v16_fma(p, z, v16_set1(2.0f / 5));
    p = v16_fma(p, z, v16_set1(2.0f / 3));
    p = v16_fma(p, z, v16_set1(2.0f));
    return v16_fma(p, s, positive);
}

#endif
