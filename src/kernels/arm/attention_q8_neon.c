/* Attention over int8 with the multiplies of base NEON: bytes into 16 bits, pairs of which are
 * added up in 32. Values are taken as unsigned, 128 too high. */
#include "kernels/arm/part_neon.h"

#include "kernels/linear_lines.h"

#include "kernels/arm/bytes_neon.h"

#define begin_keys(sum) vdupq_n_s32(0)
#define SUMS_OF_VALUES 1
#define begin_values(sum) vdupq_n_s32(-128 * (sum))

V16_INLINE sums dot_keys(sums s, line w, const uint8_t *x)
{
    const int8x16_t keys = vreinterpretq_s8_u8(bytes_shift(w));
    const int8x16_t query = vreinterpretq_s8_u8(bytes_quad(x));
    const int16x8_t low = vmull_s8(vget_low_s8(keys), vget_low_s8(query));
    return vpadalq_s16(s, vpaddq_s16(low, vmull_high_s8(keys, query)));
}

V16_INLINE sums dot_values(sums s, line w, const uint8_t *x)
{
    const uint8x16_t values = bytes_shift(w), weights = bytes_quad(x);
    const uint32x4_t low = vpaddlq_u16(vmull_u8(vget_low_u8(values), vget_low_u8(weights)));
    const uint32x4_t high = vpaddlq_u16(vmull_high_u8(values, weights));
    return vaddq_s32(s, vreinterpretq_s32_u32(vpaddq_u32(low, high)));
}

#define TILE_ROWS 4
#define TILE_LINES 4
#define ATTENTION_Q8_INIT sluice_attention_q8_init_neon
#include "kernels/attention_q8_body.h"
