/* Random weight matrices, packed by quant/ from random source bytes. */
#include "checker/weights.h"

#include <stdlib.h>
#include <string.h>

sluice_weight_format check_format(int index)
{
    static const uint8_t bits[] = {2, 3, 4, 5, 6, 8}, groups[] = {32, 64, 128};
    if (index < SLUICE_WEIGHT_AFFINE)
        return (sluice_weight_format){.kind = (uint8_t)index,
                                      .bits = index == SLUICE_WEIGHT_F32 ? 32 : 16};
    index -= SLUICE_WEIGHT_AFFINE;
    return (sluice_weight_format){.kind = SLUICE_WEIGHT_AFFINE,
                                  .bits = bits[index / 9],
                                  .group = groups[index / 3 % 3],
                                  .scale = (uint8_t)(index % 3)};
}

int32_t check_cols(check *c, sluice_weight_format format, int32_t max)
{
    int32_t unit = format.group ? format.group : 1;
    return unit * check_between(c, 1, max < unit ? 1 : max / unit);
}

static void *plain_values(check *c, uint8_t kind, size_t n, float size, bool extreme)
{
    float *values = malloc(n * sizeof *values);
    uint16_t *halves = malloc(n * sizeof *halves);
    for (size_t i = 0; i < n; i++) {
        values[i] = extreme ? check_extreme(c, 4) : size * check_normal(c);
        halves[i] = kind == SLUICE_WEIGHT_F16 ? sluice_float_to_half(values[i])
                                              : sluice_float_to_bf16(values[i]);
    }
    void *kept = kind == SLUICE_WEIGHT_F32 ? (void *)values : halves;
    free(kind == SLUICE_WEIGHT_F32 ? (void *)halves : values);
    return kept;
}

check_weight check_weight_new(check *c, sluice_weight_format format, int32_t rows, int32_t cols,
                              bool extreme)
{
    check_weight out = {.memory = check_buffer_new(sluice_weight_bytes(format, rows, cols))};
    out.w = (sluice_weight){format, rows, cols, out.memory.data, NULL};
    size_t n = (size_t)rows * (size_t)cols;
    if (format.kind != SLUICE_WEIGHT_AFFINE) {
        void *values = plain_values(c, format.kind, n, 0.05f, extreme);
        sluice_weight_pack_plain(format, rows, cols, values, out.memory.data);
        free(values);
        return out;
    }
    unsigned char *codes = malloc(n * format.bits / 8);
    for (size_t i = 0; i < n * format.bits / 8; i++)
        codes[i] = (unsigned char)check_below(c, 256);
    if (extreme) memset(codes, 0xff, (size_t)cols * format.bits / 8); /* the largest codes */
    void *scales = plain_values(c, format.scale, n / format.group, 0.01f, extreme);
    void *biases = plain_values(c, format.scale, n / format.group, 0.05f, extreme);
    sluice_weight_pack_affine(format, rows, cols, codes, scales, biases, out.memory.data);
    free(codes);
    free(scales);
    free(biases);
    return out;
}
