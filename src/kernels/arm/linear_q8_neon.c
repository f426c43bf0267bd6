/* quantize_q8, and linear_q8 with the multiplies of base NEON: s8 x s8 into s16, pairs added in s16
 * (at most 2 * 128 * 127 = 32512), and those pairwise into the sums. */
#include "kernels/arm/part_neon.h"

V16_INLINE void q8_store(int8_t *codes, v16i a)
{
    int16x8_t low = vcombine_s16(vmovn_s32(vreinterpretq_s32_u32(a.val[0])),
                                 vmovn_s32(vreinterpretq_s32_u32(a.val[1])));
    int16x8_t high = vcombine_s16(vmovn_s32(vreinterpretq_s32_u32(a.val[2])),
                                  vmovn_s32(vreinterpretq_s32_u32(a.val[3])));
    vst1q_s8(codes, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

#define QUANTIZE_Q8_INIT sluice_quantize_q8_init_neon
#include "kernels/quantize_q8_body.h"

#define dot_begin signed_begin

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    for (int k = 0; k < 4; k++) {
        int32_t quad;
        memcpy(&quad, x + 4 * k, sizeof quad);
        int8x16_t codes = signed_codes(bits, w[k]), four = vreinterpretq_s8_s32(vdupq_n_s32(quad));
        int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(four));
        s = vpadalq_s16(s, vpaddq_s16(low, vmull_high_s8(codes, four)));
    }
    return s;
}

#define TILE_TOKENS 4
#define LINEAR_Q8_NAME sluice_linear_q8_neon
#define LINEAR_Q8_INIT sluice_linear_q8_init_neon
#include "kernels/linear_q8_body.h"
