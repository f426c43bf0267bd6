/* Rows of activations before a matrix: the norm and, in integer mode, the quantisation, in one
 * pass.
 *
 * What it does not do: decide that a matrix runs on integers; that is its format's and its kernel's
 * (sluice_q8_multiplies), and exact mode overrules both. */
#include "kernels/cpu.h"

#include <string.h>

#define ROWS_A_TASK 8

size_t sluice_cpu_rows_bytes(int32_t n, int32_t cols)
{
    return sluice_q8_bytes(n, cols, SLUICE_CPU_BLOCK);
}

static void plan(const sluice_cpu *cpu, void *q8, int32_t block,
                 const sluice_weight *const *readers, int32_t n_readers, sluice_cpu_rows *rows)
{
    rows->quantized = false;
    if (cpu->exact) return;
    for (int32_t i = 0; i < n_readers; i++)
        if (sluice_q8_multiplies(readers[i]->format)) rows->quantized = true;
    if (rows->quantized) rows->q8 = sluice_q8_view(q8, rows->n, rows->cols, block);
}

typedef struct rows_job {
    const sluice_cpu *cpu;
    const float *h, *norm; /* both NULL: the rows are there already */
    const int32_t *from;   /* norm NULL: row i is row from[i] of h */
    float *x;
    const sluice_cpu_rows *rows;
} rows_job;

static void rows_task(void *context, int32_t task, int worker)
{
    const rows_job *job = context;
    const sluice_cpu_rows *rows = job->rows;
    const int32_t begin = task * ROWS_A_TASK;
    const int32_t end = begin + ROWS_A_TASK < rows->n ? begin + ROWS_A_TASK : rows->n;
    (void)worker;
    for (int32_t i = begin; job->h && i < end; i++) {
        const int64_t at = (int64_t)i * rows->cols;
        if (job->norm)
            job->cpu->ops->rmsnorm(job->h + at, job->norm, job->cpu->geometry.rms_eps, rows->cols,
                                   job->x + at);
        else
            memcpy(job->x + at, job->h + (int64_t)job->from[i] * rows->cols,
                   (size_t)rows->cols * sizeof *job->x);
    }
    if (rows->quantized) job->cpu->kernels.quantize_q8(rows->x, rows->cols, begin, end, &rows->q8);
}

static void run(sluice_cpu *cpu, rows_job *job)
{
    const sluice_cpu_rows *rows = job->rows;
    if (!job->h && !rows->quantized) return;
    const int32_t tasks = (rows->n + ROWS_A_TASK - 1) / ROWS_A_TASK;
    sluice_cpu_run(cpu, rows_task, job, tasks, (int64_t)rows->n * rows->cols);
}

void sluice_cpu_rows_norm(sluice_cpu *cpu, const float *h, const float *norm, int32_t n, float *x,
                          void *q8, const sluice_weight *const *readers, int32_t n_readers,
                          sluice_cpu_rows *rows)
{
    *rows = (sluice_cpu_rows){.x = x, .n = n, .cols = cpu->geometry.hidden};
    plan(cpu, q8, SLUICE_CPU_BLOCK, readers, n_readers, rows);
    run(cpu, &(rows_job){.cpu = cpu, .h = h, .norm = norm, .x = x, .rows = rows});
}

void sluice_cpu_rows_of(sluice_cpu *cpu, const float *x, int32_t n, int32_t cols, int32_t block,
                        void *q8, const sluice_weight *const *readers, int32_t n_readers,
                        sluice_cpu_rows *rows)
{
    *rows = (sluice_cpu_rows){.x = x, .n = n, .cols = cols};
    plan(cpu, q8, block, readers, n_readers, rows);
    run(cpu, &(rows_job){.cpu = cpu, .rows = rows});
}

void sluice_cpu_rows_gather(sluice_cpu *cpu, const float *x, const int32_t *from, int32_t n,
                            int32_t cols, int32_t block, float *to, void *q8,
                            const sluice_weight *const *readers, int32_t n_readers,
                            sluice_cpu_rows *rows)
{
    *rows = (sluice_cpu_rows){.x = to, .n = n, .cols = cols};
    plan(cpu, q8, block, readers, n_readers, rows);
    run(cpu, &(rows_job){.cpu = cpu, .h = x, .from = from, .x = to, .rows = rows});
}
