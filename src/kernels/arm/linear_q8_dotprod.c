/* linear_q8 with sdot: 16 columns of activations in one register, a quad of them by lane. */
#include "kernels/arm/part_neon.h"

#define dot_begin signed_begin

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    int8x16_t columns = vld1q_s8(x);
    s = vdotq_laneq_s32(s, signed_codes(bits, w[0]), columns, 0);
    s = vdotq_laneq_s32(s, signed_codes(bits, w[1]), columns, 1);
    s = vdotq_laneq_s32(s, signed_codes(bits, w[2]), columns, 2);
    return vdotq_laneq_s32(s, signed_codes(bits, w[3]), columns, 3);
}

#define TILE_TOKENS 6
#define LINEAR_Q8_NAME sluice_linear_q8_dotprod
#define LINEAR_Q8_INIT sluice_linear_q8_init_dotprod
#include "kernels/linear_q8_body.h"
