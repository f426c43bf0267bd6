/* quantize_q8 in AVX-512. */
#include "kernels/x86/v16_avx512.h"

V16_INLINE void q8_store(int8_t *codes, v16i a)
{
    _mm_storeu_si128((void *)codes, _mm512_cvtepi32_epi8(a));
}

#define QUANTIZE_Q8_INIT sluice_quantize_q8_init_avx512
#include "kernels/quantize_q8_body.h"
