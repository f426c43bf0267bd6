/* The CPU kernels: one table of function pointers, filled for a set of instruction sets.
 *
 * Plain C comes first, then each instruction set overwrites what it improves, low to high; the
 * flags are a parameter, so that a test may ask for any subset. Every entry gives bit-identical
 * results on every instruction set: sums run over 16 lanes or in one stated order, every
 * multiply-add is a fused one, and folding trees are fixed (v16.h). tests/checker/ holds each entry
 * to that.
 *
 * Kernels never allocate, never fail, keep no state and may run on any number of threads at once on
 * different outputs. Scratch is a parameter. Inputs are finite unless a kernel says otherwise.
 *
 * What it does not do: threads, and the order of operations of a layer (the backend's). */
#ifndef SLUICE_KERNELS_KERNELS_H
#define SLUICE_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "quant/weight.h"

/* n rows of activations in int8: row t holds cols codes, a scale for each block of columns, and for
 * each group of 32, 64 and 128 columns the sum of its codes times their scales, which carries the
 * bias of affine weights. Views into memory of sluice_q8_bytes bytes, laid out by sluice_q8_view.
 */
typedef struct sluice_q8 {
    int8_t *codes;  /* [n, stride], 64-byte aligned; rows of an odd number of cache lines, so that
                     * the rows of a tile do not share a cache set */
    float *scales;  /* [n, cols / block] */
    float *sums[3]; /* [n, cols / (32 << i)], rounded down */
    int32_t cols;   /* a multiple of 32 */
    int32_t stride;
    int32_t block; /* 16 or 32: the finer is the more exact and the slower */
} sluice_q8;

/* Whether linear_q8 multiplies by weights of this format (else: linear_f32). */
bool sluice_q8_multiplies(sluice_weight_format format);
size_t sluice_q8_bytes(int32_t n, int32_t cols, int32_t block);
/* memory: 64-byte aligned, of sluice_q8_bytes(n, cols, block). */
sluice_q8 sluice_q8_view(void *memory, int32_t n, int32_t cols, int32_t block);

struct sluice_attention_tile;

typedef struct sluice_kernels {
    /* y[t*ldy + row] = sum over c of W[row, c] * x[t*ldx + c], for the rows of panels
     * [panel_begin, panel_end) and t < n. Weights are s*q + b by one fma. Each output is four sums,
     * by column mod 4, each in column order by fma, then (a0 + a1) + (a2 + a3): the same whatever
     * n. x and y need only the alignment of float; y may not overlap anything. */
    void (*linear_f32)(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                       const float *x, int64_t ldx, int32_t n, float *y, int64_t ldy);

    /* Columns [col, col + cols) of one panel as f32: out[c * ldo + r] is row r of the panel, column
     * col + c. col and cols are multiples of the format's group. What a product with the transposed
     * matrix reads, a piece at a time. */
    void (*unpack_f32)(const sluice_weight *w, int32_t panel, int32_t col, int32_t cols, float *out,
                       int64_t ldo);

    /* Rows [begin, end) of x (x[t*ldx + c]) into q: per block scale = max|x| / 127, codes
     * rounded to nearest even; blocks with max|x| below 1e-30 become zero. */
    void (*quantize_q8)(const float *x, int64_t ldx, int32_t begin, int32_t end,
                        const sluice_q8 *q);

    /* As linear_f32 for affine weights, with rows [row_begin, row_begin + n) of q as activations:
     * y[t*ldy + row], t counted from row_begin. Integer sums of a block are exact. Group by group
     * of the weight's, in order: z = 0; for its blocks in order z = fma(scale, sum, z); then
     * y = fma(s, z, y); y = fma(b, sums, y). */
    void (*linear_q8)(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                      const sluice_q8 *q, int32_t row_begin, int32_t n, float *y, int64_t ldy);

    /* codes = x / scale, rounded to nearest even, with zeros up to a multiple of 16; returns the
     * scale, max|x| / 127 (zero, as the codes, below 1e-30). */
    float (*quantize_head)(const float *x, int32_t n, int8_t *codes);

    /* What sluice_ops' attention does, over keys and values in int8. q is quantised as
     * quantize_head does; score = (f32 of the dot * its scale) * the key's. In blocks of 64
     * positions weights w = exp(score - max) * the value's scale become codes of 0..255 with the
     * scale max(w) * (1 / 255.0f), and acc = fma(scale, f32 of the dot, acc). */
    void (*attention_q8)(const struct sluice_attention_tile *tile);
} sluice_kernels;

/* Fills the table for flags (os/cpu.h); flags must be a subset of what the machine has. */
void sluice_kernels_select(uint32_t flags, sluice_kernels *table);

static inline int32_t sluice_weight_panels(const sluice_weight *w)
{
    return (w->rows + SLUICE_PANEL_ROWS - 1) / SLUICE_PANEL_ROWS;
}

#endif
