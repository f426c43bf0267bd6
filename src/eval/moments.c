/* See moments.h. Four rows at a time are added to a row of the sum, so that it is loaded and stored
 * a quarter as often; the compiler makes vectors of the inner loop. */
#include "eval/moments.h"

#include <stddef.h>

#define TASK_ROWS 16 /* of the sum */

typedef struct job {
    int32_t n, cols, block;
    const float *x;
    float *sum;
} job;

static void add_four(float *restrict sum, const float *restrict a, const float *restrict b,
                     const float *restrict c, const float *restrict d, const float *weight,
                     int32_t n)
{
    float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
    for (int32_t j = 0; j < n; j++)
        sum[j] += wa * a[j] + wb * b[j] + (wc * c[j] + wd * d[j]);
}

static void add_one(float *restrict sum, const float *restrict a, float weight, int32_t n)
{
    for (int32_t j = 0; j < n; j++)
        sum[j] += weight * a[j];
}

static void task_fn(void *context, int32_t task, int worker)
{
    const job *j = context;
    ptrdiff_t cols = j->cols;
    int32_t begin = task * TASK_ROWS;
    int32_t end = begin + TASK_ROWS < j->cols ? begin + TASK_ROWS : j->cols;
    (void)worker;
    int32_t row = 0;
    for (; row < j->n; row += row + 4 <= j->n ? 4 : 1) {
        const float *x = j->x + row * cols;
        for (int32_t i = begin; i < end; i++) {
            int32_t first = i / j->block * j->block;
            int32_t stop = first + j->block < j->cols ? first + j->block : j->cols;
            float *sum = j->sum + (ptrdiff_t)i * j->block + (i - first);
            if (row + 4 <= j->n) {
                const float weight[4] = {x[i], x[cols + i], x[2 * cols + i], x[3 * cols + i]};
                add_four(sum, x + i, x + cols + i, x + 2 * cols + i, x + 3 * cols + i, weight,
                         stop - i);
            } else {
                add_one(sum, x + i, x[i], stop - i);
            }
        }
    }
}

void sluice_moments_add(sluice_pool *pool, int32_t n, int32_t cols, int32_t block, const float *x,
                        float *sum)
{
    job j = {n, cols, block, x, sum};
    sluice_pool_run(pool, task_fn, &j, (cols + TASK_ROWS - 1) / TASK_ROWS);
}

void sluice_moments_finish(int32_t cols, int32_t block, float scale, float *sum)
{
    for (int32_t i = 0; i < cols; i++) {
        int32_t first = i / block * block;
        for (int32_t j = first; j < first + block && j < cols; j++) {
            float *at = sum + (ptrdiff_t)i * block + (j - first);
            *at = j >= i ? *at * scale : sum[(ptrdiff_t)j * block + (i - first)];
        }
    }
}
