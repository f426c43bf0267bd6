/* AdamW (see adamw.h). */
#include "train/adamw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 65536 /* elements of a task: a quarter of a megabyte of each array */

static int32_t blocks_of(const sluice_adamw *adamw)
{
    return (int32_t)((adamw->adapter->count + BLOCK - 1) / BLOCK);
}

static size_t block_end(const sluice_adamw *adamw, int32_t block)
{
    const size_t end = ((size_t)block + 1) * BLOCK;
    return end < adamw->adapter->count ? end : adamw->adapter->count;
}

uint64_t sluice_adamw_bytes(uint64_t count)
{
    return 2 * count * sizeof(float);
}

sluice_status sluice_adamw_new(sluice_adapter *adapter, sluice_pool *pool, sluice_adamw *out,
                               sluice_error *err)
{
    void *memory;
    *out = (sluice_adamw){.adapter = adapter, .pool = pool, .bytes = 2 * adapter->bytes};
    SLUICE_TRY(sluice_memory_new(adapter->budget, out->bytes, "optimiser", &memory, err));
    out->m = memory;
    out->v = out->m + adapter->count;
    out->sums = calloc((size_t)blocks_of(out), sizeof *out->sums);
    if (out->sums) return SLUICE_OK;
    sluice_adamw_free(out);
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the optimiser");
}

void sluice_adamw_free(sluice_adamw *adamw)
{
    if (adamw->m) sluice_memory_free(adamw->adapter->budget, adamw->m, adamw->bytes, "optimiser");
    free(adamw->sums);
    *adamw = (sluice_adamw){0};
}

static void norm_task(void *context, int32_t task, int worker)
{
    const sluice_adamw *adamw = context;
    double sum = 0.0;
    (void)worker;
    for (size_t i = (size_t)task * BLOCK; i < block_end(adamw, task); i++) {
        const double g = (double)adamw->adapter->gradients[i];
        sum += g * g;
    }
    adamw->sums[task] = sum;
}

double sluice_adamw_norm(sluice_adamw *adamw)
{
    double sum = 0.0;
    sluice_pool_run(adamw->pool, norm_task, adamw, blocks_of(adamw));
    for (int32_t i = 0; i < blocks_of(adamw); i++)
        sum += adamw->sums[i];
    return sqrt(sum);
}

typedef struct step_job {
    const sluice_adamw *adamw;
    float rate, shrink, m_correction, v_correction;
} step_job;

static void step_task(void *context, int32_t task, int worker)
{
    const step_job *job = context;
    const sluice_adamw *a = job->adamw;
    const size_t begin = (size_t)task * BLOCK, end = block_end(a, task);
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const float g = a->adapter->gradients[i] * job->shrink;
        const float m = a->m[i] = a->beta1 * a->m[i] + (1.0f - a->beta1) * g;
        const float v = a->v[i] = a->beta2 * a->v[i] + (1.0f - a->beta2) * g * g;
        const float w = a->adapter->values[i];
        const float move = m * job->m_correction / (sqrtf(v * job->v_correction) + a->epsilon);
        a->adapter->values[i] = w - job->rate * (a->decay * w + move);
    }
    memset(a->adapter->gradients + begin, 0, (end - begin) * sizeof(float));
}

void sluice_adamw_step(sluice_adamw *adamw, double rate, double norm)
{
    adamw->step++;
    const double clip = (double)adamw->clip;
    step_job job = {.adamw = adamw, .rate = (float)rate, .shrink = 1.0f};
    if (clip > 0.0 && norm > clip) job.shrink = (float)(clip / norm);
    job.m_correction = (float)(1.0 / (1.0 - pow((double)adamw->beta1, adamw->step)));
    job.v_correction = (float)(1.0 / (1.0 - pow((double)adamw->beta2, adamw->step)));
    sluice_pool_run(adamw->pool, step_task, &job, blocks_of(adamw));
}
