/* Quarter panels for linear_q8: 4 of the 16 rows (see linear_q8_body.h). */
#ifndef SLUICE_KERNELS_ARM_PART_NEON_H
#define SLUICE_KERNELS_ARM_PART_NEON_H

#include "kernels/arm/v16_neon.h"

#define LINE_LANES 4
typedef uint32x4_t line;
typedef int32x4_t sums;
typedef float32x4_t part;
#define line_load(p) vreinterpretq_u32_u8(vld1q_u8(p))
#define line_set1(a) vdupq_n_u32((uint32_t)(a))
#define line_and vandq_u32
#define line_or vorrq_u32
#define line_shl(a, bits) vshlq_u32(a, vdupq_n_s32(bits))
#define line_shr(a, bits) vshlq_u32(a, vdupq_n_s32(-(bits)))

#define part_zero() vdupq_n_f32(0.0f)
#define part_set1 vdupq_n_f32
#define part_mul vmulq_f32
#define part_fma(a, b, c) vfmaq_f32(c, a, b)
#define part_load vld1q_f32
#define part_store vst1q_f32
#define part_of(v, lane) ((v).val[(lane) / 4])
#define part_from vcvtq_f32_s32

/* Codes as signed bytes: those of 8 bits less 128, which signed_begin gives back as 128 * sum(x).
 */
V16_INLINE int8x16_t signed_codes(int bits, line w)
{
    return vreinterpretq_s8_u32(bits == 8 ? veorq_u32(w, vdupq_n_u32(0x80808080u)) : w);
}

V16_INLINE sums signed_begin(int bits, const int8_t *x, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; bits == 8 && i < n; i += 16)
        sum += vaddlvq_s8(vld1q_s8(x + i));
    return vdupq_n_s32(128 * sum);
}

#endif
