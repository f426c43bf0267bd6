/* linear_q8 with usdot: unsigned codes times signed activations, nothing to correct. */
#include "kernels/arm/part_neon.h"

#define dot_begin(bits, x, n) vdupq_n_s32(0)

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    (void)bits;
    int8x16_t columns = vld1q_s8(x);
    s = vusdotq_laneq_s32(s, vreinterpretq_u8_u32(w[0]), columns, 0);
    s = vusdotq_laneq_s32(s, vreinterpretq_u8_u32(w[1]), columns, 1);
    s = vusdotq_laneq_s32(s, vreinterpretq_u8_u32(w[2]), columns, 2);
    return vusdotq_laneq_s32(s, vreinterpretq_u8_u32(w[3]), columns, 3);
}

#define TILE_TOKENS 6
#define LINEAR_Q8_NAME sluice_linear_q8_i8mm
#define LINEAR_Q8_INIT sluice_linear_q8_init_i8mm
#include "kernels/linear_q8_body.h"
