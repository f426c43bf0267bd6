/* Attention over int8 with sdot, and udot for values, which are taken 128 too high. */
#include "kernels/arm/part_neon.h"

#include "kernels/linear_lines.h"

#include "kernels/arm/bytes_neon.h"

#define begin_keys(sum) vdupq_n_s32(0)
#define SUMS_OF_VALUES 1
#define begin_values(sum) vdupq_n_s32(-128 * (sum))

V16_INLINE sums dot_keys(sums s, line w, const uint8_t *x)
{
    return vdotq_s32(s, vreinterpretq_s8_u8(bytes_shift(w)), vreinterpretq_s8_u8(bytes_quad(x)));
}

V16_INLINE sums dot_values(sums s, line w, const uint8_t *x)
{
    return vreinterpretq_s32_u32(
        vdotq_u32(vreinterpretq_u32_s32(s), bytes_shift(w), bytes_quad(x)));
}

#define TILE_ROWS 4
#define TILE_LINES 4
#define ATTENTION_Q8_INIT sluice_attention_q8_init_dotprod
#include "kernels/attention_q8_body.h"
