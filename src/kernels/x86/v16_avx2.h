/* v16 in two AVX2 registers: lo holds lanes 0..7, hi lanes 8..15. Needs FMA and F16C. */
#ifndef SLUICE_KERNELS_X86_V16_AVX2_H
#define SLUICE_KERNELS_X86_V16_AVX2_H

#include <immintrin.h>

#include "kernels/v16.h"

typedef struct v16f {
    __m256 lo, hi;
} v16f;

typedef struct v16i {
    __m256i lo, hi;
} v16i;

V16_INLINE v16f v16_set1(float a)
{
    return (v16f){_mm256_set1_ps(a), _mm256_set1_ps(a)};
}

V16_INLINE v16f v16_zero(void)
{
    return (v16f){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

V16_INLINE v16f v16_load(const float *p)
{
    return (v16f){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

V16_INLINE void v16_store(float *p, v16f a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

/* All ones in the lanes below n of lanes first .. first+7. */
V16_INLINE __m256i v16_mask8(int n, int first)
{
    __m256i lane =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

V16_INLINE v16f v16_load_n(const float *p, int n)
{
    return (v16f){_mm256_maskload_ps(p, v16_mask8(n, 0)),
                  _mm256_maskload_ps(p + 8, v16_mask8(n, 8))};
}

V16_INLINE void v16_store_n(float *p, v16f a, int n)
{
    _mm256_maskstore_ps(p, v16_mask8(n, 0), a.lo);
    _mm256_maskstore_ps(p + 8, v16_mask8(n, 8), a.hi);
}

V16_INLINE __m256 v16_load_bf16_half(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

V16_INLINE v16f v16_load_bf16(const uint16_t *p)
{
    return (v16f){v16_load_bf16_half(p), v16_load_bf16_half(p + 8)};
}

V16_INLINE v16f v16_load_f16(const uint16_t *p)
{
    return (v16f){_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
                  _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}

V16_INLINE void v16_store_f16(uint16_t *p, v16f a)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((void *)(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

V16_INLINE v16f v16_add(v16f a, v16f b)
{
    return (v16f){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_sub(v16f a, v16f b)
{
    return (v16f){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_mul(v16f a, v16f b)
{
    return (v16f){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_div(v16f a, v16f b)
{
    return (v16f){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_sqrt(v16f a)
{
    return (v16f){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}

V16_INLINE v16f v16_fma(v16f a, v16f b, v16f c)
{
    return (v16f){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

V16_INLINE v16f v16_fnma(v16f a, v16f b, v16f c)
{
    return (v16f){_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}

V16_INLINE v16f v16_max(v16f a, v16f b)
{
    return (v16f){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_min(v16f a, v16f b)
{
    return (v16f){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

V16_INLINE v16f v16_abs(v16f a)
{
    return (v16f){_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.lo),
                  _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.hi)};
}

V16_INLINE v16f v16_neg(v16f a)
{
    return (v16f){_mm256_xor_ps(_mm256_set1_ps(-0.0f), a.lo),
                  _mm256_xor_ps(_mm256_set1_ps(-0.0f), a.hi)};
}

V16_INLINE v16f v16_select_gt(v16f a, v16f b, v16f x, v16f y)
{
    return (v16f){_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ)),
                  _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ))};
}

V16_INLINE v16f v16_round(v16f a)
{
    return (v16f){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                  _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

V16_INLINE v16i v16_to_i(v16f a)
{
    return (v16i){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)};
}

V16_INLINE v16f v16_from_i(v16i a)
{
    return (v16f){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

V16_INLINE v16i v16_as_i(v16f a)
{
    return (v16i){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}

V16_INLINE v16f v16_as_f(v16i a)
{
    return (v16f){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}

V16_INLINE __m256 v16_swap_half(__m256 a, int h)
{
    if (h == 4) return _mm256_permute2f128_ps(a, a, 1);
    return h == 2 ? _mm256_permute_ps(a, 0x4e) : _mm256_permute_ps(a, 0xb1);
}

V16_INLINE v16f v16_swap(v16f a, int h)
{
    if (h == 8) return (v16f){a.hi, a.lo};
    return (v16f){v16_swap_half(a.lo, h), v16_swap_half(a.hi, h)};
}

V16_INLINE float v16_reduce_add(v16f a)
{
    __m256 h8 = _mm256_add_ps(a.lo, a.hi);
    __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}

V16_INLINE float v16_reduce_max(v16f a)
{
    __m256 h8 = _mm256_max_ps(a.lo, a.hi);
    __m128 h4 = _mm_max_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    __m128 h2 = _mm_max_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_max_ss(h2, _mm_movehdup_ps(h2)));
}

V16_INLINE v16i v16i_set1(int32_t a)
{
    return (v16i){_mm256_set1_epi32(a), _mm256_set1_epi32(a)};
}

V16_INLINE v16i v16i_load(const void *p)
{
    const __m256i *half = p;
    return (v16i){_mm256_loadu_si256(half), _mm256_loadu_si256(half + 1)};
}

V16_INLINE void v16i_store(void *p, v16i a)
{
    __m256i *half = p;
    _mm256_storeu_si256(half, a.lo);
    _mm256_storeu_si256(half + 1, a.hi);
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    return (v16i){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

V16_INLINE v16i v16i_sub(v16i a, v16i b)
{
    return (v16i){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}

V16_INLINE v16i v16i_and(v16i a, v16i b)
{
    return (v16i){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}

V16_INLINE v16i v16i_or(v16i a, v16i b)
{
    return (v16i){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}

V16_INLINE v16i v16i_xor(v16i a, v16i b)
{
    return (v16i){_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}

V16_INLINE v16i v16i_shl(v16i a, int bits)
{
    return (v16i){_mm256_slli_epi32(a.lo, bits), _mm256_slli_epi32(a.hi, bits)};
}

V16_INLINE v16i v16i_shr(v16i a, int bits)
{
    return (v16i){_mm256_srli_epi32(a.lo, bits), _mm256_srli_epi32(a.hi, bits)};
}

#endif
