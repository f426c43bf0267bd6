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

/* One float for each `width` columns of each row. */
static size_t float_bytes(int32_t n, int32_t cols, int32_t width)
{
    return lines((size_t)n * (size_t)(cols / width) * sizeof(float));
}

bool sluice_q8_multiplies(sluice_weight_format format)
{
    return format.kind == SLUICE_WEIGHT_AFFINE;
}

size_t sluice_q8_bytes(int32_t n, int32_t cols, int32_t block)
{
    size_t bytes = (size_t)n * row_bytes(cols) + float_bytes(n, cols, block);
    for (int i = 0; i < 3; i++)
        bytes += float_bytes(n, cols, 32 << i);
    return bytes;
}

sluice_q8 sluice_q8_view(void *memory, int32_t n, int32_t cols, int32_t block)
{
    unsigned char *at = memory;
    sluice_q8 q = {
        .codes = memory, .cols = cols, .stride = (int32_t)row_bytes(cols), .block = block};
    at += (size_t)n * row_bytes(cols);
    q.scales = (float *)(void *)at;
    at += float_bytes(n, cols, block);
    for (int i = 0; i < 3; i++) {
        q.sums[i] = (float *)(void *)at;
        at += float_bytes(n, cols, 32 << i);
    }
    return q;
}
