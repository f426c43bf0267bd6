/* The memory of activations in int8 (kernels.h): codes of all rows, then scales, then sums. */
#include "kernels/kernels.h"

static size_t lines(size_t bytes)
{
    return (bytes + SLUICE_LINE_BYTES - 1) / SLUICE_LINE_BYTES * SLUICE_LINE_BYTES;
}

static size_t row_bytes(int32_t cols)
{
    return lines((size_t)cols) | SLUICE_LINE_BYTES;
}

static size_t code_bytes(int32_t n, int32_t cols)
{
    return (size_t)n * row_bytes(cols);
}

static size_t scale_bytes(int32_t n, int32_t cols, int32_t block)
{
    return lines((size_t)n * (size_t)(cols / block) * sizeof(float));
}

int32_t sluice_q8_block(sluice_weight_format format)
{
    if (format.kind != SLUICE_WEIGHT_AFFINE) return 0;
    return format.group < 64 ? 32 : 64;
}

size_t sluice_q8_bytes(int32_t n, int32_t cols, int32_t block)
{
    return code_bytes(n, cols) + 2 * scale_bytes(n, cols, block);
}

sluice_q8 sluice_q8_view(void *memory, int32_t n, int32_t cols, int32_t block)
{
    unsigned char *at = memory;
    sluice_q8 q = {
        .codes = memory, .cols = cols, .block = block, .stride = (int32_t)row_bytes(cols)};
    at += code_bytes(n, cols);
    q.scales = (float *)(void *)at;
    q.sums = (float *)(void *)(at + scale_bytes(n, cols, block));
    return q;
}
