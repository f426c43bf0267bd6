/* A quantised or plain weight matrix in the one layout that every kernel reads: panels of 16 rows.
 *
 * What: a matrix [rows, cols] (y = W x, x has cols elements) is cut into panels of 16 rows; the
 * last panel is padded with zero rows. A panel runs along the columns, so a kernel streams it once,
 * keeps the 16 results in lanes and never reduces across lanes. Everything is in lines of 64 bytes,
 * so a line is one AVX-512 register, two AVX2, four NEON, or the 4-byte loads of 16 GPU lanes.
 *
 * Affine (value = scale * code + bias, one scale and bias per row and group of columns, as MLX):
 *   panel = for each group: [codes of group/32 units] [16 scales] [16 biases]
 *   unit  = 32 columns x 16 rows, as bit planes, widest first: 8, 6 = 4+2, 5 = 4+1, 4, 3 = 2+1, 2
 *     8-bit plane, 8 lines: line l, byte 4r+j = code of row r, column 4l+j
 *     4-bit plane, 4 lines: line l, byte 4r+j = columns 8l+j (low nibble), 8l+4+j (high nibble)
 *     2-bit plane, 2 lines: line l, byte 4r+j, bits 2p..2p+1 = column 16l+4p+j
 *     1-bit plane, 1 line:  byte 4r+j, bit p = column 4p+j
 *     where there are two planes the first holds the low bits, the second the high bits
 *   Four adjacent columns of one row share a 32-bit lane: the operand of vpdpbusd, sdot, dp4a and,
 *   16 lines together, of an AMX tile.
 * BF16: line = 2 columns: lane r = columns 2l, 2l+1 of row r (the operand of vdpbf16ps and AMX).
 * F16:  line = 2 columns: 16 rows of column 2l, then 16 rows of column 2l+1.
 * F32:  line = 1 column of 16 rows.
 * An odd last column of BF16 and F16 is padded with zero.
 *
 * What it does not do: compute. Kernels live in kernels/; the scalar unpack here is the truth that
 * they are compared with. */
#ifndef SLUICE_QUANT_WEIGHT_H
#define SLUICE_QUANT_WEIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "quant/low_rank.h"

#define SLUICE_PANEL_ROWS 16
#define SLUICE_LINE_BYTES 64
#define SLUICE_UNIT_COLS 32

typedef enum sluice_weight_kind {
    SLUICE_WEIGHT_F32,
    SLUICE_WEIGHT_F16,
    SLUICE_WEIGHT_BF16,
    SLUICE_WEIGHT_AFFINE,
    SLUICE_WEIGHT_KINDS
} sluice_weight_kind;

typedef struct sluice_weight_format {
    uint8_t kind;  /* sluice_weight_kind */
    uint8_t bits;  /* affine: 2, 3, 4, 5, 6 or 8; plain: 16 or 32 */
    uint8_t group; /* affine: 32, 64 or 128 columns that share a scale; plain: 0 */
    uint8_t scale; /* affine: kind of scales and biases (F32, F16 or BF16); plain: 0 */
} sluice_weight_format;

typedef struct sluice_weight {
    sluice_weight_format format;
    int32_t rows, cols;
    const void *data;                /* panels; 64-byte aligned; not owned */
    const sluice_low_rank *low_rank; /* added to the product; NULL: none */
} sluice_weight;

/* Refuses a format or shape that no layout exists for (affine cols must be a multiple of group);
 * the detail starts with name. */
sluice_status sluice_weight_check(sluice_weight_format format, int64_t rows, int64_t cols,
                                  const char *name, sluice_error *err);

/* Bytes of one panel, and of the whole matrix; multiples of 64. The format must have been checked.
 */
size_t sluice_weight_panel_bytes(sluice_weight_format format, int32_t cols);
size_t sluice_weight_bytes(sluice_weight_format format, int32_t rows, int32_t cols);

/* "q4/64/bf16", "bf16", ...: into text (at least 24 bytes); and back. Used in metadata and
 * messages. */
void sluice_weight_format_name(sluice_weight_format format, char *text);
sluice_status sluice_weight_format_parse(const char *text, sluice_weight_format *format,
                                         sluice_error *err);

/* Packs rows [0, rows) of a source matrix into panels at out (zeroed first, padded with zero rows).
 * plain: source is [rows, cols] row-major of the format's own type.
 * affine: codes is MLX's packing, each row a little-endian bit stream of bits*cols/8 bytes, lowest
 * bits first; scales and biases are [rows, cols/group] of the format's scale kind. */
void sluice_weight_pack_plain(sluice_weight_format format, int32_t rows, int32_t cols,
                              const void *source, void *out);
void sluice_weight_pack_affine(sluice_weight_format format, int32_t rows, int32_t cols,
                               const void *codes, const void *scales, const void *biases,
                               void *out);

/* The scalar truth: row as cols floats. Affine values are s*q + b computed in f32 with one rounding
 * per operation. */
void sluice_weight_unpack_row(const sluice_weight *weight, int32_t row, float *out);

/* Inverse of pack_affine for one row: codes as one byte a column, scales and biases as f32. */
void sluice_weight_unpack_codes(const sluice_weight *weight, int32_t row, uint8_t *codes,
                                float *scales, float *biases);

/* Plain min-max rounding of one row of f32 into MLX-packed codes, scales and biases of the format
 * (what mlx's affine quantize does). NaN or infinity is SLUICE_CORRUPT. */
sluice_status sluice_weight_quantize_row(sluice_weight_format format, int32_t cols,
                                         const float *row, void *codes, void *scales, void *biases,
                                         sluice_error *err);

/* One element of type kind (F32, F16, BF16), and the conversions; round to nearest even. */
float sluice_half_to_float(uint16_t half);
uint16_t sluice_float_to_half(float value);
static inline float sluice_bf16_to_float(uint16_t bits)
{
    union {
        uint32_t u;
        float f;
    } word = {(uint32_t)bits << 16};
    return word.f;
}
uint16_t sluice_float_to_bf16(float value);

#endif
