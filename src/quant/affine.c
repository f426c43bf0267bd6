/* Affine quantisation as MLX defines it: value = scale * code + bias for groups of columns of a
 * row, codes of 2, 3, 4, 5, 6 or 8 bits, here in bit planes (drawn in weight.h).
 *
 * The source packing is one little-endian bit stream a row; for 2, 4 and 8 bits that equals MLX's
 * uint32 words, for 3, 5 and 6 its packs of bytes (mlx/backend/cpu/quantized.cpp). */
#include <math.h>
#include <string.h>

#include "quant/quant.h"

/* The planes of a code, first (low bits) and second (0: none). */
static int first_plane(int bits)
{
    return bits == 8 ? 8 : bits >= 4 ? 4 : 2;
}

static int second_plane(int bits)
{
    return bits - first_plane(bits);
}

/* A plane of b bits of one unit is b/2 lines: 32 columns * 16 rows * b / 8 bytes. */
static size_t plane_bytes(int plane)
{
    return (size_t)plane * SLUICE_UNIT_COLS * SLUICE_PANEL_ROWS / 8;
}

static size_t scale_line_bytes(sluice_weight_format format)
{
    return SLUICE_PANEL_ROWS * sluice_plain_bytes(format.scale);
}

static size_t group_bytes(sluice_weight_format format)
{
    return (size_t)format.group / SLUICE_UNIT_COLS * plane_bytes(format.bits) +
           2 * scale_line_bytes(format);
}

/* Where the bits of lane r, unit column c (0..31) are in a plane: byte and shift. Four columns are
 * four bytes of a lane, and a line has 8/plane such quads, from the lowest bits up. */
static size_t plane_byte(int plane, int32_t lane, int32_t c)
{
    int quads = 8 / plane;
    return (size_t)(c / 4 / quads * SLUICE_LINE_BYTES + lane * 4 + c % 4);
}

static int plane_shift(int plane, int32_t c)
{
    int quads = 8 / plane;
    return c / 4 % quads * plane;
}

static void put_code(unsigned char *unit, int bits, int32_t lane, int32_t c, unsigned code)
{
    int low = first_plane(bits), high = second_plane(bits);
    unsigned mask = (1u << low) - 1;
    unit[plane_byte(low, lane, c)] |= (unsigned char)((code & mask) << plane_shift(low, c));
    if (!high) return;
    unit += plane_bytes(low);
    unit[plane_byte(high, lane, c)] |= (unsigned char)(code >> low << plane_shift(high, c));
}

static unsigned get_code(const unsigned char *unit, int bits, int32_t lane, int32_t c)
{
    int low = first_plane(bits), high = second_plane(bits);
    unsigned code = unit[plane_byte(low, lane, c)] >> plane_shift(low, c) & ((1u << low) - 1);
    if (!high) return code;
    unit += plane_bytes(low);
    return code | (unit[plane_byte(high, lane, c)] >> plane_shift(high, c) & ((1u << high) - 1))
                      << low;
}

/* Element index of a little-endian bit stream. */
static unsigned stream_get(const unsigned char *stream, int bits, int32_t index)
{
    size_t bit = (size_t)index * (size_t)bits, byte = bit / 8;
    unsigned word = stream[byte];
    if (bit % 8 + (size_t)bits > 8) word |= (unsigned)stream[byte + 1] << 8;
    return word >> bit % 8 & ((1u << bits) - 1);
}

static void stream_put(unsigned char *stream, int bits, int32_t index, unsigned code)
{
    size_t bit = (size_t)index * (size_t)bits, byte = bit / 8;
    unsigned word = code << bit % 8;
    stream[byte] |= (unsigned char)word;
    if (word >> 8) stream[byte + 1] |= (unsigned char)(word >> 8);
}

unsigned sluice_affine_code(const void *stream, int bits, int32_t index)
{
    return stream_get(stream, bits, index);
}

void sluice_affine_pack_codes(const uint8_t *codes, int bits, int32_t count, void *stream)
{
    memset(stream, 0, (size_t)count * (size_t)bits / 8);
    for (int32_t i = 0; i < count; i++)
        stream_put(stream, bits, i, codes[i]);
}

static const char *check(sluice_weight_format format, int64_t cols)
{
    int bits = format.bits;
    if (bits < 2 || bits > 8 || bits == 7) return "affine bits must be 2, 3, 4, 5, 6 or 8";
    if (format.group != 32 && format.group != 64 && format.group != 128)
        return "affine groups must be 32, 64 or 128";
    if (format.scale >= SLUICE_WEIGHT_AFFINE) return "affine scales must be f32, f16 or bf16";
    if (cols % format.group) return "the columns are not a multiple of the group";
    return NULL;
}

static size_t panel_bytes(sluice_weight_format format, int32_t cols)
{
    return (size_t)(cols / format.group) * group_bytes(format);
}

static const unsigned char *row_panel(const sluice_weight *weight, int32_t row)
{
    return (const unsigned char *)weight->data +
           (size_t)(row / SLUICE_PANEL_ROWS) * panel_bytes(weight->format, weight->cols);
}

void sluice_weight_unpack_codes(const sluice_weight *weight, int32_t row, uint8_t *codes,
                                float *scales, float *biases)
{
    sluice_weight_format format = weight->format;
    const unsigned char *at = row_panel(weight, row);
    int32_t lane = row % SLUICE_PANEL_ROWS;
    size_t unit_bytes = plane_bytes(format.bits), line = scale_line_bytes(format);
    for (int32_t g = 0; g < weight->cols / format.group; g++) {
        for (int32_t u = 0; u < format.group / SLUICE_UNIT_COLS; u++, at += unit_bytes)
            for (int32_t c = 0; c < SLUICE_UNIT_COLS; c++)
                *codes++ = (uint8_t)get_code(at, format.bits, lane, c);
        scales[g] = sluice_plain_load(format.scale, at, (size_t)lane);
        biases[g] = sluice_plain_load(format.scale, at + line, (size_t)lane);
        at += 2 * line;
    }
}

static void unpack_row(const sluice_weight *weight, int32_t row, float *out)
{
    sluice_weight_format format = weight->format;
    const unsigned char *at = row_panel(weight, row);
    int32_t lane = row % SLUICE_PANEL_ROWS;
    size_t unit_bytes = plane_bytes(format.bits), line = scale_line_bytes(format);
    for (int32_t g = 0; g < weight->cols / format.group; g++) {
        const unsigned char *tail = at + (size_t)format.group / SLUICE_UNIT_COLS * unit_bytes;
        float scale = sluice_plain_load(format.scale, tail, (size_t)lane);
        float bias = sluice_plain_load(format.scale, tail + line, (size_t)lane);
        for (; at < tail; at += unit_bytes)
            for (int32_t c = 0; c < SLUICE_UNIT_COLS; c++)
                *out++ = scale * (float)get_code(at, format.bits, lane, c) + bias;
        at = tail + 2 * line;
    }
}

void sluice_weight_pack_affine(sluice_weight_format format, int32_t rows, int32_t cols,
                               const void *codes, const void *scales, const void *biases, void *out)
{
    int32_t groups = cols / format.group;
    size_t unit_bytes = plane_bytes(format.bits), line = scale_line_bytes(format);
    size_t stream_bytes = (size_t)cols * format.bits / 8, panel = panel_bytes(format, cols);
    size_t scale_bytes = sluice_plain_bytes(format.scale);
    memset(out, 0, sluice_weight_bytes(format, rows, cols));
    for (int32_t row = 0; row < rows; row++) {
        const unsigned char *stream = (const unsigned char *)codes + (size_t)row * stream_bytes;
        unsigned char *at = (unsigned char *)out + (size_t)(row / SLUICE_PANEL_ROWS) * panel;
        int32_t lane = row % SLUICE_PANEL_ROWS, col = 0;
        for (int32_t g = 0; g < groups; g++) {
            for (int32_t u = 0; u < format.group / SLUICE_UNIT_COLS; u++, at += unit_bytes)
                for (int32_t c = 0; c < SLUICE_UNIT_COLS; c++, col++)
                    put_code(at, format.bits, lane, c, stream_get(stream, format.bits, col));
            size_t from = ((size_t)row * (size_t)groups + (size_t)g) * scale_bytes;
            memcpy(at + (size_t)lane * scale_bytes, (const char *)scales + from, scale_bytes);
            memcpy(at + line + (size_t)lane * scale_bytes, (const char *)biases + from,
                   scale_bytes);
            at += 2 * line;
        }
    }
}

/* One group by mlx's rule: the end of larger magnitude becomes exactly representable, zero becomes
 * code q0 times the scale, and codes are rounded against the scale and bias before those are
 * rounded to their own type. */
static void quantize_group(int bits, const float *x, int32_t n, int32_t col, unsigned char *stream,
                           float *scale_out, float *bias_out)
{
    float low = x[0], high = x[0], codes_max = (float)((1 << bits) - 1);
    for (int32_t i = 1; i < n; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    int low_is_edge = fabsf(low) > fabsf(high);
    float edge = low_is_edge ? low : high;
    float scale = fmaxf((high - low) / codes_max, 1e-7f);
    if (!low_is_edge) scale = -scale;
    float zero = rintf(edge / scale), bias = 0.0f;
    if (zero != 0.0f) {
        scale = edge / zero;
        bias = edge;
    }
    for (int32_t i = 0; i < n; i++) {
        float code = rintf((x[i] - bias) / scale);
        code = code < 0.0f ? 0.0f : code > codes_max ? codes_max : code;
        stream_put(stream, bits, col + i, (unsigned)code);
    }
    *scale_out = scale;
    *bias_out = bias;
}

sluice_status sluice_weight_quantize_row(sluice_weight_format format, int32_t cols,
                                         const float *row, void *codes, void *scales, void *biases,
                                         sluice_error *err)
{
    for (int32_t c = 0; c < cols; c++)
        if (!isfinite(row[c]))
            return sluice_fail(err, SLUICE_CORRUPT,
                               "column %d is NaN or infinite and cannot be quantised", c);
    memset(codes, 0, (size_t)cols * format.bits / 8);
    for (int32_t g = 0; g < cols / format.group; g++) {
        float scale, bias;
        int32_t col = g * format.group;
        quantize_group(format.bits, row + col, format.group, col, codes, &scale, &bias);
        if (!isfinite(scale) || (format.scale == SLUICE_WEIGHT_F16 &&
                                 (fabsf(scale) >= 65520.0f || fabsf(bias) >= 65520.0f)))
            return sluice_fail(err, SLUICE_CORRUPT,
                               "columns %d to %d are too large for the type of the scales", col,
                               col + format.group - 1);
        sluice_plain_store(format.scale, scales, (size_t)g, scale);
        sluice_plain_store(format.scale, biases, (size_t)g, bias);
    }
    return SLUICE_OK;
}

const sluice_weight_family sluice_weight_family_affine = {"affine", check, panel_bytes, unpack_row};
