/* Reading the lines of affine weights (the layout is drawn in quant/weight.h): what the f32 and the
 * integer kernels share. A body: include an instruction set's v16 header first.
 *
 * A line is read LINE_LANES rows at a time, into a `line` with line_load, line_set1, line_and,
 * line_or, line_shl and line_shr; where the including file defines none, that is v16i. */
#ifndef SLUICE_KERNELS_LINEAR_LINES_H
#define SLUICE_KERNELS_LINEAR_LINES_H

#include "kernels/v16.h"

#ifndef LINE_LANES
#define LINE_LANES 16
typedef v16i line;
#define line_load v16i_load
#define line_set1 v16i_set1
#define line_and v16i_and
#define line_or v16i_or
#define line_shl v16i_shl
#define line_shr v16i_shr
#endif

/* Loops marked so unroll: what they index is then known when compiling. Plain C turns it off, for
 * size. */
#ifndef LINEAR_UNROLL
#define LINEAR_UNROLL _Pragma("GCC unroll 16")
#endif

/* Calls one(bits) with the number as a constant. */
#define LINEAR_SWITCH_BITS(bits, one)                                                              \
    switch (bits) {                                                                                \
    case 2: one(2); break;                                                                         \
    case 3: one(3); break;                                                                         \
    case 4: one(4); break;                                                                         \
    case 5: one(5); break;                                                                         \
    case 6: one(6); break;                                                                         \
    default: one(8); break;                                                                        \
    }

/* bits is a constant wherever these are inlined; k is the quad, 0..7: columns 4k .. 4k+3 of a unit.
 */
V16_INLINE line linear_plane_quad(const uint8_t *plane, int bits, int k)
{
    int quads = 8 / bits;
    line codes = line_load(plane + k / quads * SLUICE_LINE_BYTES);
    if (bits == 8) return codes;
    int shift = k % quads * bits, mask = ((1 << bits) - 1) * 0x01010101;
    return line_and(shift ? line_shr(codes, shift) : codes, line_set1(mask));
}

/* Lane r: the codes of row r in the four columns of quad k, one a byte. */
V16_INLINE line linear_unit_quad(const uint8_t *unit, int bits, int k)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2, high = bits - low;
    line quad = linear_plane_quad(unit, low, k);
    if (!high) return quad;
    line upper = linear_plane_quad(unit + low * SLUICE_LINE_BYTES, high, k);
    return line_or(quad, line_shl(upper, low));
}

V16_INLINE int linear_unit_bytes(int bits)
{
    return bits * SLUICE_LINE_BYTES;
}

V16_INLINE int linear_scale_bytes(uint8_t kind)
{
    return kind == SLUICE_WEIGHT_F32 ? 64 : 32;
}

V16_INLINE v16f linear_scales(const uint8_t *at, uint8_t kind)
{
    if (kind == SLUICE_WEIGHT_BF16) return v16_load_bf16((const uint16_t *)(const void *)at);
    if (kind == SLUICE_WEIGHT_F16) return v16_load_f16((const uint16_t *)(const void *)at);
    return v16_load((const float *)(const void *)at);
}

#endif
