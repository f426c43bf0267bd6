/* v16 in one AVX-512 register (F, BW, VL, DQ). */
#ifndef SLUICE_KERNELS_X86_V16_AVX512_H
#define SLUICE_KERNELS_X86_V16_AVX512_H

#include <immintrin.h>

#include "kernels/v16.h"

typedef __m512 v16f;
typedef __m512i v16i;

V16_INLINE v16f v16_set1(float a)
{
    return _mm512_set1_ps(a);
}

V16_INLINE v16f v16_zero(void)
{
    return _mm512_setzero_ps();
}

V16_INLINE v16f v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

V16_INLINE void v16_store(float *p, v16f a)
{
    _mm512_storeu_ps(p, a);
}

V16_INLINE v16f v16_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

V16_INLINE void v16_store_n(float *p, v16f a, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}

V16_INLINE v16f v16_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

V16_INLINE v16f v16_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

V16_INLINE void v16_store_f16(uint16_t *p, v16f a)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

V16_INLINE v16f v16_add(v16f a, v16f b)
{
    return _mm512_add_ps(a, b);
}

V16_INLINE v16f v16_sub(v16f a, v16f b)
{
    return _mm512_sub_ps(a, b);
}

V16_INLINE v16f v16_mul(v16f a, v16f b)
{
    return _mm512_mul_ps(a, b);
}

V16_INLINE v16f v16_div(v16f a, v16f b)
{
    return _mm512_div_ps(a, b);
}

V16_INLINE v16f v16_sqrt(v16f a)
{
    return _mm512_sqrt_ps(a);
}

V16_INLINE v16f v16_fma(v16f a, v16f b, v16f c)
{
    return _mm512_fmadd_ps(a, b, c);
}

V16_INLINE v16f v16_fnma(v16f a, v16f b, v16f c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

V16_INLINE v16f v16_max(v16f a, v16f b)
{
    return _mm512_max_ps(a, b);
}

V16_INLINE v16f v16_min(v16f a, v16f b)
{
    return _mm512_min_ps(a, b);
}

V16_INLINE v16f v16_abs(v16f a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

V16_INLINE v16f v16_neg(v16f a)
{
    return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a);
}

V16_INLINE v16f v16_select_gt(v16f a, v16f b, v16f x, v16f y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}

V16_INLINE v16f v16_round(v16f a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

V16_INLINE v16i v16_to_i(v16f a)
{
    return _mm512_cvtps_epi32(a);
}

V16_INLINE v16f v16_from_i(v16i a)
{
    return _mm512_cvtepi32_ps(a);
}

V16_INLINE v16i v16_as_i(v16f a)
{
    return _mm512_castps_si512(a);
}

V16_INLINE v16f v16_as_f(v16i a)
{
    return _mm512_castsi512_ps(a);
}

V16_INLINE v16f v16_swap(v16f a, int h)
{
    if (h == 8) return _mm512_shuffle_f32x4(a, a, 0x4e);
    if (h == 4) return _mm512_shuffle_f32x4(a, a, 0xb1);
    return h == 2 ? _mm512_permute_ps(a, 0x4e) : _mm512_permute_ps(a, 0xb1);
}

V16_INLINE float v16_reduce_add(v16f a)
{
    __m256 h8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}

V16_INLINE float v16_reduce_max(v16f a)
{
    __m256 h8 = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 h4 = _mm_max_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    __m128 h2 = _mm_max_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_max_ss(h2, _mm_movehdup_ps(h2)));
}

V16_INLINE v16i v16i_set1(int32_t a)
{
    return _mm512_set1_epi32(a);
}

V16_INLINE v16i v16i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

V16_INLINE void v16i_store(void *p, v16i a)
{
    _mm512_storeu_si512(p, a);
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    return _mm512_add_epi32(a, b);
}

V16_INLINE v16i v16i_sub(v16i a, v16i b)
{
    return _mm512_sub_epi32(a, b);
}

V16_INLINE v16i v16i_and(v16i a, v16i b)
{
    return _mm512_and_si512(a, b);
}

V16_INLINE v16i v16i_or(v16i a, v16i b)
{
    return _mm512_or_si512(a, b);
}

V16_INLINE v16i v16i_xor(v16i a, v16i b)
{
    return _mm512_xor_si512(a, b);
}

V16_INLINE v16i v16i_shl(v16i a, int bits)
{
    return _mm512_slli_epi32(a, (unsigned)bits);
}

V16_INLINE v16i v16i_shr(v16i a, int bits)
{
    return _mm512_srli_epi32(a, (unsigned)bits);
}

#endif
