/* Attention over int8 with sdot, and usdot for values. */
#include "kernels/arm/part_neon.h"

#include "kernels/linear_lines.h"

#include "kernels/arm/bytes_neon.h"

#define begin_keys(sum) vdupq_n_s32(0)
#define SUMS_OF_VALUES 0
#define begin_values(sum) vdupq_n_s32(0)

V16_INLINE sums dot_keys(sums s, line w, const uint8_t *x)
{
    return vdotq_s32(s, vreinterpretq_s8_u8(bytes_shift(w)), vreinterpretq_s8_u8(bytes_quad(x)));
}

V16_INLINE sums dot_values(sums s, line w, const uint8_t *x)
{
    return vusdotq_s32(s, bytes_quad(x), vreinterpretq_s8_u32(w));
}

#define TILE_ROWS 4
#define TILE_LINES 4
#define ATTENTION_Q8_INIT sluice_attention_q8_init_i8mm
#include "kernels/attention_q8_body.h"
