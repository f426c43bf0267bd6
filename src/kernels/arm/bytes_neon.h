/* Bytes in NEON: lanes of v16 to bytes, four bytes to all lanes, and u8 and s8 128 apart. */
#ifndef SLUICE_KERNELS_ARM_BYTES_NEON_H
#define SLUICE_KERNELS_ARM_BYTES_NEON_H

#include "kernels/arm/v16_neon.h"

/* The low byte of each lane. */
V16_INLINE void bytes_store(void *to, v16i a)
{
    const uint16x8_t low = vcombine_u16(vmovn_u32(a.val[0]), vmovn_u32(a.val[1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(a.val[2]), vmovn_u32(a.val[3]));
    vst1q_u8(to, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}

V16_INLINE uint8x16_t bytes_quad(const uint8_t *x)
{
    uint32_t quad;
    memcpy(&quad, x, sizeof quad);
    return vreinterpretq_u8_u32(vdupq_n_u32(quad));
}

/* A code + 128 as a code, and a code as a code + 128. */
V16_INLINE uint8x16_t bytes_shift(uint32x4_t w)
{
    return vreinterpretq_u8_u32(veorq_u32(w, vdupq_n_u32(0x80808080u)));
}

#endif
