/* quantize_q8 in AVX2. */
#include "kernels/x86/v16_avx2.h"

V16_INLINE void q8_store(int8_t *codes, v16i a)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((void *)codes, bytes);
}

#define QUANTIZE_Q8_INIT sluice_quantize_q8_init_avx2
#include "kernels/quantize_q8_body.h"
