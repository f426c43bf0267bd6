/* Lanes of v16 to bytes, in AVX2. */
#ifndef SLUICE_KERNELS_X86_BYTES_AVX2_H
#define SLUICE_KERNELS_X86_BYTES_AVX2_H

#include "kernels/x86/v16_avx2.h"

/* The low byte of each lane. */
V16_INLINE void bytes_store(void *to, v16i a)
{
    const __m256i low = _mm256_set1_epi32(255);
    __m256i words = _mm256_packus_epi32(_mm256_and_si256(a.lo, low), _mm256_and_si256(a.hi, low));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128(
        to, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

#endif
