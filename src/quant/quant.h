/* What the files of this room share: the description of a family of formats, and how elements of
 * the plain types are read and written. A new format is one file with one of these and one line in
 * weight.c's table. */
#ifndef SLUICE_QUANT_QUANT_H
#define SLUICE_QUANT_QUANT_H

#include "quant/weight.h"

typedef struct sluice_weight_family {
    const char *name;
    /* NULL if the format and shape have a layout, else what is wrong with them. */
    const char *(*check)(sluice_weight_format format, int64_t cols);
    size_t (*panel_bytes)(sluice_weight_format format, int32_t cols);
    void (*unpack_row)(const sluice_weight *weight, int32_t row, float *out);
} sluice_weight_family;

extern const sluice_weight_family sluice_weight_family_f32;
extern const sluice_weight_family sluice_weight_family_f16;
extern const sluice_weight_family sluice_weight_family_bf16;
extern const sluice_weight_family sluice_weight_family_affine;

/* Bytes of an element of a plain kind; the element at index; and its inverse. No alignment needed.
 */
size_t sluice_plain_bytes(uint8_t kind);
float sluice_plain_load(uint8_t kind, const void *array, size_t index);
void sluice_plain_store(uint8_t kind, void *array, size_t index, float value);

/* Code index of a row as affine formats pack it (a little-endian bit stream), and a whole row. */
unsigned sluice_affine_code(const void *stream, int bits, int32_t index);
void sluice_affine_pack_codes(const uint8_t *codes, int bits, int32_t count, void *stream);

#endif
