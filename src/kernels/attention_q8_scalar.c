/* Attention over int8 in plain C. */
#include "kernels/v16_scalar.h"

#define LINEAR_UNROLL
#include "kernels/linear_lines.h"

typedef v16i sums;
typedef v16f part;
#define part_set1 v16_set1
#define part_load v16_load
#define part_store v16_store
#define part_mul v16_mul
#define part_fma v16_fma
#define part_from v16_from_i

V16_INLINE void bytes_store(void *to, v16i a)
{
    uint8_t *bytes = to;
    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)a.v[i];
}

#define begin_keys(sum) v16i_set1(-128 * (sum))
#define SUMS_OF_VALUES 0
#define begin_values(sum) v16i_set1(0)

V16_INLINE sums dot_keys(sums s, line w, const uint8_t *x)
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 4; j++)
            s.v[i] += (uint32_t)((int32_t)(w.v[i] >> 8 * j & 255) * (int8_t)x[j]);
    return s;
}

V16_INLINE sums dot_values(sums s, line w, const uint8_t *x)
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 4; j++)
            s.v[i] += (uint32_t)((int8_t)(w.v[i] >> 8 * j & 255) * x[j]);
    return s;
}

#define TILE_ROWS 1
#define TILE_LINES 1
#define ATTENTION_Q8_INIT sluice_attention_q8_init_scalar
#include "kernels/attention_q8_body.h"
