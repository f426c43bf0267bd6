/* linear_q8 with vpdpbusd on 512 bits: codes are its unsigned operand, activations the signed one,
 * by broadcast of four columns. */
#include "kernels/x86/v16_avx512.h"

#include "kernels/linear_lines.h"

typedef __m512i sums;
typedef __m512 part;
#define part_zero v16_zero
#define part_set1 v16_set1
#define part_mul v16_mul
#define part_fma v16_fma
#define part_store v16_store
#define part_of(v, lane) (v)
#define part_from v16_from_i
#define dot_begin(bits, x, n) _mm512_setzero_si512()

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    (void)bits;
    for (int k = 0; k < 4; k++) {
        int32_t quad;
        memcpy(&quad, x + 4 * k, sizeof quad);
        s = _mm512_dpbusd_epi32(s, w[k], _mm512_set1_epi32(quad));
    }
    return s;
}

#define TILE_TOKENS 8
#define LINEAR_Q8_NAME sluice_linear_q8_avx512vnni
#define LINEAR_Q8_INIT sluice_linear_q8_init_avx512vnni
#include "kernels/linear_q8_body.h"
