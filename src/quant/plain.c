/* Unquantised weights: F32, F16 and BF16 panels (drawn in weight.h). */
#include <string.h>

#include "quant/quant.h"

size_t sluice_plain_bytes(uint8_t kind)
{
    return kind == SLUICE_WEIGHT_F32 ? sizeof(float) : sizeof(uint16_t);
}

float sluice_plain_load(uint8_t kind, const void *array, size_t index)
{
    const unsigned char *at = (const unsigned char *)array + index * sluice_plain_bytes(kind);
    if (kind == SLUICE_WEIGHT_F32) {
        float value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return kind == SLUICE_WEIGHT_F16 ? sluice_half_to_float(bits) : sluice_bf16_to_float(bits);
}

void sluice_plain_store(uint8_t kind, void *array, size_t index, float value)
{
    unsigned char *at = (unsigned char *)array + index * sluice_plain_bytes(kind);
    if (kind == SLUICE_WEIGHT_F32) {
        memcpy(at, &value, sizeof value);
        return;
    }
    uint16_t bits =
        kind == SLUICE_WEIGHT_F16 ? sluice_float_to_half(value) : sluice_float_to_bf16(value);
    memcpy(at, &bits, sizeof bits);
}

/* Where an element of a panel is, in elements of its kind. */
static size_t element_of(uint8_t kind, int32_t lane, int32_t col)
{
    size_t r = (size_t)lane, c = (size_t)col;
    switch (kind) {
    case SLUICE_WEIGHT_F32: return c * 16 + r;
    case SLUICE_WEIGHT_F16: return c / 2 * 32 + c % 2 * 16 + r;
    default: return c / 2 * 32 + r * 2 + c % 2;
    }
}

static const char *check(sluice_weight_format format, int64_t cols)
{
    (void)cols;
    if (format.bits != 8 * sluice_plain_bytes(format.kind)) return "the bits of its type are wrong";
    if (format.group != 0 || format.scale != 0) return "a plain type has no groups or scales";
    return NULL;
}

static size_t panel_bytes(sluice_weight_format format, int32_t cols)
{
    size_t per_line = format.kind == SLUICE_WEIGHT_F32 ? 1 : 2;
    return ((size_t)cols + per_line - 1) / per_line * SLUICE_LINE_BYTES;
}

static void unpack_row(const sluice_weight *weight, int32_t row, float *out)
{
    uint8_t kind = weight->format.kind;
    const unsigned char *panel =
        (const unsigned char *)weight->data +
        (size_t)(row / SLUICE_PANEL_ROWS) * panel_bytes(weight->format, weight->cols);
    for (int32_t col = 0; col < weight->cols; col++)
        out[col] = sluice_plain_load(kind, panel, element_of(kind, row % SLUICE_PANEL_ROWS, col));
}

void sluice_weight_pack_plain(sluice_weight_format format, int32_t rows, int32_t cols,
                              const void *source, void *out)
{
    size_t panel = panel_bytes(format, cols), element = sluice_plain_bytes(format.kind);
    const unsigned char *from = source;
    memset(out, 0, sluice_weight_bytes(format, rows, cols));
    for (int32_t row = 0; row < rows; row++) {
        unsigned char *to = (unsigned char *)out + (size_t)(row / SLUICE_PANEL_ROWS) * panel;
        for (int32_t col = 0; col < cols; col++, from += element)
            memcpy(to + element_of(format.kind, row % SLUICE_PANEL_ROWS, col) * element, from,
                   element);
    }
}

const sluice_weight_family sluice_weight_family_f32 = {"f32", check, panel_bytes, unpack_row};
const sluice_weight_family sluice_weight_family_f16 = {"f16", check, panel_bytes, unpack_row};
const sluice_weight_family sluice_weight_family_bf16 = {"bf16", check, panel_bytes, unpack_row};
