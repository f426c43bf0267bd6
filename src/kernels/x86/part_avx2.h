/* Half panels for linear_q8 on 256 bits: 8 of the 16 rows (see linear_q8_body.h). */
#ifndef SLUICE_KERNELS_X86_PART_AVX2_H
#define SLUICE_KERNELS_X86_PART_AVX2_H

#include "kernels/x86/v16_avx2.h"

#define LINE_LANES 8
typedef __m256i line, sums;
typedef __m256 part;
#define line_load(p) _mm256_loadu_si256((const void *)(p))
#define line_set1 _mm256_set1_epi32
#define line_and _mm256_and_si256
#define line_or _mm256_or_si256
#define line_shl _mm256_slli_epi32
#define line_shr _mm256_srli_epi32

#define part_zero _mm256_setzero_ps
#define part_set1 _mm256_set1_ps
#define part_mul _mm256_mul_ps
#define part_fma _mm256_fmadd_ps
#define part_load _mm256_loadu_ps
#define part_store _mm256_storeu_ps
#define part_of(v, lane) ((lane) ? (v).hi : (v).lo)
#define part_from _mm256_cvtepi32_ps
#define dot_begin(bits, x, n) _mm256_setzero_si256()

V16_INLINE __m256i quad_set1(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm256_set1_epi32(quad);
}

#endif
