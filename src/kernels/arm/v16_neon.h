/* v16 in four NEON registers: q[i] holds lanes 4i .. 4i+3. Base aarch64 only. */
#ifndef SLUICE_KERNELS_ARM_V16_NEON_H
#define SLUICE_KERNELS_ARM_V16_NEON_H

#include <arm_neon.h>

#include "kernels/v16.h"

typedef float32x4x4_t v16f;
typedef uint32x4x4_t v16i;

/* A v16 whose quarter i is the expression. */
#define V16_QUARTERS(type, expression)                                                             \
    type out;                                                                                      \
    for (int i = 0; i < 4; i++)                                                                    \
        out.val[i] = (expression);                                                                 \
    return out

V16_INLINE v16f v16_set1(float a)
{
    V16_QUARTERS(v16f, vdupq_n_f32(a));
}

V16_INLINE v16f v16_zero(void)
{
    return v16_set1(0.0f);
}

V16_INLINE v16f v16_load(const float *p)
{
    V16_QUARTERS(v16f, vld1q_f32(p + 4 * i));
}

V16_INLINE void v16_store(float *p, v16f a)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, a.val[i]);
}

V16_INLINE v16f v16_load_n(const float *p, int n)
{
    float lanes[16] = {0};
    memcpy(lanes, p, (size_t)n * sizeof(float));
    return v16_load(lanes);
}

V16_INLINE void v16_store_n(float *p, v16f a, int n)
{
    float lanes[16];
    v16_store(lanes, a);
    memcpy(p, lanes, (size_t)n * sizeof(float));
}

V16_INLINE v16f v16_load_bf16(const uint16_t *p)
{
    V16_QUARTERS(v16f, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}

V16_INLINE v16f v16_load_f16(const uint16_t *p)
{
    V16_QUARTERS(v16f, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}

V16_INLINE void v16_store_f16(uint16_t *p, v16f a)
{
    for (int i = 0; i < 4; i++)
        vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.val[i])));
}

V16_INLINE v16f v16_add(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vaddq_f32(a.val[i], b.val[i]));
}

V16_INLINE v16f v16_sub(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vsubq_f32(a.val[i], b.val[i]));
}

V16_INLINE v16f v16_mul(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vmulq_f32(a.val[i], b.val[i]));
}

V16_INLINE v16f v16_div(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vdivq_f32(a.val[i], b.val[i]));
}

V16_INLINE v16f v16_sqrt(v16f a)
{
    V16_QUARTERS(v16f, vsqrtq_f32(a.val[i]));
}

V16_INLINE v16f v16_fma(v16f a, v16f b, v16f c)
{
    V16_QUARTERS(v16f, vfmaq_f32(c.val[i], a.val[i], b.val[i]));
}

V16_INLINE v16f v16_fnma(v16f a, v16f b, v16f c)
{
    V16_QUARTERS(v16f, vfmsq_f32(c.val[i], a.val[i], b.val[i]));
}

V16_INLINE v16f v16_max(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vbslq_f32(vcgtq_f32(a.val[i], b.val[i]), a.val[i], b.val[i]));
}

V16_INLINE v16f v16_min(v16f a, v16f b)
{
    V16_QUARTERS(v16f, vbslq_f32(vcltq_f32(a.val[i], b.val[i]), a.val[i], b.val[i]));
}

V16_INLINE v16f v16_abs(v16f a)
{
    V16_QUARTERS(v16f, vabsq_f32(a.val[i]));
}

V16_INLINE v16f v16_neg(v16f a)
{
    V16_QUARTERS(v16f, vnegq_f32(a.val[i]));
}

V16_INLINE v16f v16_select_gt(v16f a, v16f b, v16f x, v16f y)
{
    V16_QUARTERS(v16f, vbslq_f32(vcgtq_f32(a.val[i], b.val[i]), x.val[i], y.val[i]));
}

V16_INLINE v16f v16_round(v16f a)
{
    V16_QUARTERS(v16f, vrndnq_f32(a.val[i]));
}

V16_INLINE v16i v16_to_i(v16f a)
{
    V16_QUARTERS(v16i, vreinterpretq_u32_s32(vcvtnq_s32_f32(a.val[i])));
}

V16_INLINE v16f v16_from_i(v16i a)
{
    V16_QUARTERS(v16f, vcvtq_f32_s32(vreinterpretq_s32_u32(a.val[i])));
}

V16_INLINE v16i v16_as_i(v16f a)
{
    V16_QUARTERS(v16i, vreinterpretq_u32_f32(a.val[i]));
}

V16_INLINE v16f v16_as_f(v16i a)
{
    V16_QUARTERS(v16f, vreinterpretq_f32_u32(a.val[i]));
}

V16_INLINE v16f v16_swap(v16f a, int h)
{
    if (h == 8) return (v16f){{a.val[2], a.val[3], a.val[0], a.val[1]}};
    if (h == 4) return (v16f){{a.val[1], a.val[0], a.val[3], a.val[2]}};
    if (h == 2) {
        V16_QUARTERS(v16f, vextq_f32(a.val[i], a.val[i], 2));
    }
    V16_QUARTERS(v16f, vrev64q_f32(a.val[i]));
}

V16_INLINE float v16_reduce_add(v16f a)
{
    float32x4_t h4 = vaddq_f32(vaddq_f32(a.val[0], a.val[2]), vaddq_f32(a.val[1], a.val[3]));
    float32x2_t h2 = vadd_f32(vget_low_f32(h4), vget_high_f32(h4));
    return vget_lane_f32(h2, 0) + vget_lane_f32(h2, 1);
}

V16_INLINE float v16_reduce_max(v16f a)
{
    v16f h8 = {{a.val[2], a.val[3], a.val[2], a.val[3]}};
    h8 = v16_max(a, h8);
    float32x4_t h4 = vbslq_f32(vcgtq_f32(h8.val[0], h8.val[1]), h8.val[0], h8.val[1]);
    float32x2_t low = vget_low_f32(h4), high = vget_high_f32(h4);
    float32x2_t h2 = vbsl_f32(vcgt_f32(low, high), low, high);
    float even = vget_lane_f32(h2, 0), odd = vget_lane_f32(h2, 1);
    return even > odd ? even : odd;
}

V16_INLINE v16i v16i_set1(int32_t a)
{
    V16_QUARTERS(v16i, vdupq_n_u32((uint32_t)a));
}

V16_INLINE v16i v16i_load(const void *p)
{
    const uint8_t *bytes = p;
    V16_QUARTERS(v16i, vreinterpretq_u32_u8(vld1q_u8(bytes + 16 * i)));
}

V16_INLINE void v16i_store(void *p, v16i a)
{
    uint8_t *bytes = p;
    for (int i = 0; i < 4; i++)
        vst1q_u8(bytes + 16 * i, vreinterpretq_u8_u32(a.val[i]));
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    V16_QUARTERS(v16i, vaddq_u32(a.val[i], b.val[i]));
}

V16_INLINE v16i v16i_sub(v16i a, v16i b)
{
    V16_QUARTERS(v16i, vsubq_u32(a.val[i], b.val[i]));
}

V16_INLINE v16i v16i_and(v16i a, v16i b)
{
    V16_QUARTERS(v16i, vandq_u32(a.val[i], b.val[i]));
}

V16_INLINE v16i v16i_or(v16i a, v16i b)
{
    V16_QUARTERS(v16i, vorrq_u32(a.val[i], b.val[i]));
}

V16_INLINE v16i v16i_xor(v16i a, v16i b)
{
    V16_QUARTERS(v16i, veorq_u32(a.val[i], b.val[i]));
}

V16_INLINE v16i v16i_shl(v16i a, int bits)
{
    V16_QUARTERS(v16i, vshlq_u32(a.val[i], vdupq_n_s32(bits)));
}

V16_INLINE v16i v16i_shr(v16i a, int bits)
{
    V16_QUARTERS(v16i, vshlq_u32(a.val[i], vdupq_n_s32(-bits)));
}

#undef V16_QUARTERS

#endif
