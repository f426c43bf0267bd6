/* quantize_q8 and linear_q8 in plain C. */
#include "kernels/v16_scalar.h"

V16_INLINE void q8_store(int8_t *codes, v16i a)
{
    for (int i = 0; i < 16; i++)
        codes[i] = (int8_t)a.v[i];
}

#define LINEAR_UNROLL
#define QUANTIZE_Q8_INIT sluice_quantize_q8_init_scalar
#include "kernels/quantize_q8_body.h"

#include "kernels/linear_lines.h"

typedef v16i sums;
typedef v16f part;
#define part_zero v16_zero
#define part_set1 v16_set1
#define part_mul v16_mul
#define part_fma v16_fma
#define part_store v16_store
#define part_of(v, lane) (v)
#define part_from v16_from_i
#define dot_begin(bits, x, n) v16i_set1(0)

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    (void)bits;
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r++)
            for (int j = 0; j < 4; j++)
                s.v[r] += (uint32_t)((int32_t)(w[k].v[r] >> 8 * j & 255) * x[4 * k + j]);
    return s;
}

#define TILE_TOKENS 1
#define LINEAR_Q8_NAME sluice_linear_q8_scalar
#define LINEAR_Q8_INIT sluice_linear_q8_init_scalar
#include "kernels/linear_q8_body.h"
