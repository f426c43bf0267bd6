/* Small matrix products of f32 inside attention and the delta rule.
 *
 * An element is one chain of fused multiply-adds along k, in order, whatever tile it falls into, so
 * tile sizes (GEMM_ROWS x GEMM_BLOCKS of 16 columns, set by the instruction set) never show. */
#ifndef SLUICE_KERNELS_GEMM_BODY_H
#define SLUICE_KERNELS_GEMM_BODY_H

#include <stddef.h>

#include "kernels/ops.h"
#include "kernels/v16.h"

static inline __attribute__((always_inline)) void gemm_tile(const sluice_gemm *g, int32_t i,
                                                            int32_t block, const int rows,
                                                            const int blocks, const char *ahead)
{
    const float *a = g->a + i * g->a_row;
    const float *b = g->b + block * g->b_block;
    float *c = g->c + i * g->c_row + block * 16;
    v16f sum[GEMM_ROWS][GEMM_BLOCKS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            sum[r][j] = g->accumulate ? v16_load(c + r * g->c_row + j * 16) : v16_zero();
        }
    }
    for (int32_t k = 0; k < g->k; k++) {
        v16f line[GEMM_BLOCKS];
        if (ahead) __builtin_prefetch(ahead + (int64_t)k * 64, 0, 2);
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            line[j] = v16_load(b + j * g->b_block);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const v16f factor = v16_set1(a[r * g->a_row]);
#pragma GCC unroll 8
            for (int j = 0; j < blocks; j++) {
                sum[r][j] = v16_fma(factor, line[j], sum[r][j]);
            }
        }
        a += g->a_col;
        b += g->b_row;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            v16_store(c + r * g->c_row + j * 16, sum[r][j]);
        }
    }
}

/* The last columns where n is not a multiple of 16: one row and one block at a time. */
static void gemm_tail(const sluice_gemm *g)
{
    const int32_t block = g->n / 16;
    const int32_t lanes = g->n % 16;
    for (int32_t i = 0; i < g->m; i++) {
        float *c = g->c + i * g->c_row + block * 16;
        v16f sum = g->accumulate ? v16_load_n(c, lanes) : v16_zero();
        for (int32_t k = 0; k < g->k; k++) {
            const v16f line = v16_load_n(g->b + block * g->b_block + k * g->b_row, lanes);
            sum = v16_fma(v16_set1(g->a[i * g->a_row + k * g->a_col]), line, sum);
        }
        v16_store_n(c, sum, lanes);
    }
}

/* The next tile; a line of what is ahead for each of its steps. */
static inline __attribute__((always_inline)) void gemm_next(const sluice_gemm *g, int32_t i,
                                                            int32_t block, const int rows,
                                                            const int blocks, int64_t *asked)
{
    if (*asked < g->ahead_bytes) {
        gemm_tile(g, i, block, rows, blocks, (const char *)g->ahead + *asked);
        *asked += (int64_t)g->k * 64;
    } else {
        gemm_tile(g, i, block, rows, blocks, NULL);
    }
}

static inline __attribute__((always_inline)) void gemm_rows(const sluice_gemm *g, int32_t i,
                                                            const int rows, int64_t *asked)
{
    const int32_t blocks = g->n / 16;
    int32_t block = 0;
    for (; block + GEMM_BLOCKS <= blocks; block += GEMM_BLOCKS) {
        gemm_next(g, i, block, rows, GEMM_BLOCKS, asked);
    }
    for (; block < blocks; block++) {
        gemm_next(g, i, block, rows, 1, asked);
    }
}

static void gemm(const sluice_gemm *g)
{
    int32_t i = 0;
    int64_t asked = 0;
    for (; i + GEMM_ROWS <= g->m; i += GEMM_ROWS) {
        gemm_rows(g, i, GEMM_ROWS, &asked);
    }
    for (; i + 2 <= g->m; i += 2) {
        gemm_rows(g, i, 2, &asked);
    }
    if (i < g->m) gemm_rows(g, i, 1, &asked);
    if (g->n % 16) gemm_tail(g);
}

#endif
