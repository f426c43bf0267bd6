/* linear_q8 with vpdpbusd on 256 bits. */
#include "kernels/x86/part_avx2.h"

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    (void)bits;
    for (int k = 0; k < 4; k++)
        s = _mm256_dpbusd_avx_epi32(s, w[k], quad_set1(x + 4 * k));
    return s;
}

#define TILE_TOKENS 4
#define LINEAR_Q8_NAME sluice_linear_q8_avxvnni
#define LINEAR_Q8_INIT sluice_linear_q8_init_avxvnni
#include "kernels/linear_q8_body.h"
