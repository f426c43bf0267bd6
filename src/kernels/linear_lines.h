/* Reading the lines of affine weights with v16 (the layout is drawn in quant/weight.h): what the
 * f32 and the integer kernels share. A body: include an instruction set's v16 header first. */
#ifndef SLUICE_KERNELS_LINEAR_LINES_H
#define SLUICE_KERNELS_LINEAR_LINES_H

#include "kernels/v16.h"

/* Loops marked so unroll: what they index is then known when compiling. Plain C turns it off, for
 * size. */
#ifndef LINEAR_UNROLL
#define LINEAR_UNROLL _Pragma("GCC unroll 8")
#endif

/* bits is a constant wherever these are inlined; k is the quad, 0..7: columns 4k .. 4k+3 of a unit.
 */
V16_INLINE v16i linear_plane_quad(const uint8_t *plane, int bits, int k)
{
    int quads = 8 / bits;
    v16i line = v16i_load(plane + k / quads * SLUICE_LINE_BYTES);
    if (bits == 8) return line;
    int shift = k % quads * bits, mask = ((1 << bits) - 1) * 0x01010101;
    return v16i_and(shift ? v16i_shr(line, shift) : line, v16i_set1(mask));
}

/* Lane r: the codes of row r in the four columns of quad k, one a byte. */
V16_INLINE v16i linear_unit_quad(const uint8_t *unit, int bits, int k)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2, high = bits - low;
    v16i quad = linear_plane_quad(unit, low, k);
    if (!high) return quad;
    v16i upper = linear_plane_quad(unit + low * SLUICE_LINE_BYTES, high, k);
    return v16i_or(quad, v16i_shl(upper, low));
}

V16_INLINE int linear_unit_bytes(int bits)
{
    return bits * SLUICE_LINE_BYTES;
}

V16_INLINE int linear_scale_bytes(uint8_t kind)
{
    return kind == SLUICE_WEIGHT_F32 ? 64 : 32;
}

V16_INLINE v16f linear_scales(const uint8_t *line, uint8_t kind)
{
    if (kind == SLUICE_WEIGHT_BF16) return v16_load_bf16((const uint16_t *)(const void *)line);
    if (kind == SLUICE_WEIGHT_F16) return v16_load_f16((const uint16_t *)(const void *)line);
    return v16_load((const float *)(const void *)line);
}

#endif
