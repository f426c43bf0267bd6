/* Sums of x xT over many rows, in blocks along the diagonal (format/importance.h). */
#ifndef SLUICE_EVAL_MOMENTS_H
#define SLUICE_EVAL_MOMENTS_H

#include "base/pool.h"

/* sum [cols, block] += x xT for x [n, cols] (only the part from the diagonal to the right, in each
 * block). Work is cut at fixed places and every sum is taken in order of rows, so that the number
 * of threads changes nothing. */
void sluice_moments_add(sluice_pool *pool, int32_t n, int32_t cols, int32_t block, const float *x,
                        float *sum);

/* Times scale, and the left part from the right one. */
void sluice_moments_finish(int32_t cols, int32_t block, float scale, float *sum);

#endif
