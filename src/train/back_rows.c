/* Row by row: sharing rows out to the pool, RMSNorm and its gradient. */
#include "train/back.h"

#include <math.h>

typedef struct rows_job {
    const sluice_back *back;
    sluice_back_rows_fn fn;
    void *context;
    int32_t n;
} rows_job;

static void rows_task(void *context, int32_t task, int worker)
{
    const rows_job *job = context;
    const int32_t begin = task * SLUICE_BACK_ROWS_TASK, end = begin + SLUICE_BACK_ROWS_TASK;
    job->fn(job->back, job->context, begin, end < job->n ? end : job->n,
            job->back->workers[worker].memory);
}

void sluice_back_rows(sluice_back *back, int32_t n, sluice_back_rows_fn fn, void *context)
{
    rows_job job = {back, fn, context, n};
    sluice_pool_run(back->pool, rows_task, &job,
                    (n + SLUICE_BACK_ROWS_TASK - 1) / SLUICE_BACK_ROWS_TASK);
}

typedef struct norm_job {
    const float *x, *weight, *dy;
    float *out;
} norm_job;

static void norm_forward(const sluice_back *back, void *context, int32_t begin, int32_t end,
                         float *scratch)
{
    const norm_job *job = context;
    const int64_t hidden = back->geometry.hidden;
    (void)scratch;
    for (int32_t i = begin; i < end; i++)
        back->ops->rmsnorm(job->x + i * hidden, job->weight, back->geometry.rms_eps,
                           (int32_t)hidden, job->out + i * hidden);
}

void sluice_back_norm_forward(sluice_back *back, const float *x, const float *weight, int32_t n,
                              float *y)
{
    sluice_back_rows(back, n, norm_forward, &(norm_job){.x = x, .weight = weight, .out = y});
}

/* With r = 1 / sqrt(mean(x^2) + eps) and g = dy * weight:
 * dx = r g - x r^3 / n * (g . x) */
void sluice_back_norm_row(const float *x, const float *weight, float eps, int32_t n,
                          const float *dy, bool add, float *dx)
{
    double squares = 0.0, dot = 0.0;
    for (int32_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        dot += (double)dy[i] * (double)weight[i] * (double)x[i];
    }
    const double r = 1.0 / sqrt(squares / n + (double)eps);
    const float scale = (float)r, back = (float)(r * r * r / n * dot);
    for (int32_t i = 0; i < n; i++) {
        const float d = scale * (dy[i] * weight[i]) - back * x[i];
        dx[i] = add ? dx[i] + d : d;
    }
}

static void norm_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const norm_job *job = context;
    const int64_t hidden = back->geometry.hidden;
    (void)scratch;
    for (int32_t i = begin; i < end; i++)
        sluice_back_norm_row(job->x + i * hidden, job->weight, back->geometry.rms_eps,
                             (int32_t)hidden, job->dy + i * hidden, true, job->out + i * hidden);
}

void sluice_back_norm(sluice_back *back, const float *x, const float *weight, const float *dy,
                      int32_t n, float *dx)
{
    sluice_back_rows(back, n, norm_back, &(norm_job){x, weight, dy, dx});
}
