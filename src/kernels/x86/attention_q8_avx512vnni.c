/* Attention over int8 with vpdpbusd on 512 bits: 16 sums, 4 lines and a quad in 32 registers. */
#include "kernels/x86/v16_avx512.h"

#include "kernels/linear_lines.h"

typedef __m512i sums;
typedef __m512 part;
#define part_set1 v16_set1
#define part_load v16_load
#define part_store v16_store
#define part_mul v16_mul
#define part_fma v16_fma
#define part_from v16_from_i

V16_INLINE void bytes_store(void *to, v16i a)
{
    _mm_storeu_si128(to, _mm512_cvtepi32_epi8(a));
}

V16_INLINE __m512i quad_set1(const uint8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_set1_epi32(quad);
}

#define begin_keys(sum) _mm512_set1_epi32(-128 * (sum))
#define SUMS_OF_VALUES 0
#define begin_values(sum) _mm512_setzero_si512()
#define dot_keys(s, w, x) _mm512_dpbusd_epi32(s, w, quad_set1(x))
#define dot_values(s, w, x) _mm512_dpbusd_epi32(s, quad_set1(x), w)

#define TILE_ROWS 4
#define TILE_LINES 4
#define ATTENTION_Q8_INIT sluice_attention_q8_init_avx512vnni
#include "kernels/attention_q8_body.h"
