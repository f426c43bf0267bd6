/* Low-rank terms beside matrices (quant/low_rank.h): their narrow middle, before the matrix runs.
 *
 * The middle of all of a matrix's terms is computed once a row, in parallel over rows; the pieces
 * of the matrix then add their own outputs' share (cpu_linear.c). Everything is f32 and a row's
 * sums run in one order, so it depends on no cut.
 *
 * What it does not do: the backward, which is train/'s. */
#include "kernels/cpu.h"

#define ROWS_A_TASK 8

typedef struct middle_job {
    const sluice_cpu *cpu;
    const sluice_cpu_rows *rows;
    const sluice_weight *const *weights;
    int32_t n_weights;
    float *t[SLUICE_CPU_LINEARS_MAX];
} middle_job;

static int32_t ranks(const sluice_weight *w)
{
    int32_t sum = 0;
    for (const sluice_low_rank *term = w->low_rank; term; term = term->next)
        sum += term->rank;
    return sum;
}

static void middle_task(void *context, int32_t task, int worker)
{
    const middle_job *job = context;
    const sluice_cpu_rows *rows = job->rows;
    const int32_t begin = task * ROWS_A_TASK;
    const int32_t end = begin + ROWS_A_TASK < rows->n ? begin + ROWS_A_TASK : rows->n;
    (void)worker;
    for (int32_t j = 0; j < job->n_weights; j++) {
        float *t = job->t[j];
        for (const sluice_low_rank *term = job->weights[j]->low_rank; term; term = term->next) {
            for (int32_t i = begin; i < end; i++)
                job->cpu->ops->low_rank_in(rows->x + (int64_t)i * rows->cols, term->a, term->rank,
                                           term->scale, rows->cols, t + (int64_t)i * term->rank);
            t += (int64_t)rows->n * term->rank;
        }
    }
}

void sluice_cpu_low_rank_in(sluice_cpu *cpu, const sluice_cpu_rows *rows,
                            const sluice_weight *const *weights, int32_t n_weights, const float **t)
{
    middle_job job = {.cpu = cpu, .rows = rows, .weights = weights, .n_weights = n_weights};
    float *at = cpu->scratch.low_rank;
    int64_t work = 0;
    for (int32_t j = 0; j < n_weights; j++) {
        const int64_t sum = ranks(weights[j]);
        t[j] = job.t[j] = sum ? at : NULL;
        at += sum * rows->n;
        work += sum * rows->n * rows->cols;
    }
    if (work)
        sluice_cpu_run(cpu, middle_task, &job, (rows->n + ROWS_A_TASK - 1) / ROWS_A_TASK, work);
}

void sluice_cpu_low_rank_out(const sluice_cpu *cpu, const sluice_weight *w, int32_t n,
                             const sluice_cpu_piece *piece, const float *t, float *y, int64_t ldy)
{
    const int32_t first = piece->panel_begin * SLUICE_PANEL_ROWS;
    const int32_t end = piece->panel_end * SLUICE_PANEL_ROWS;
    const int32_t columns = (end < w->rows ? end : w->rows) - first;
    for (const sluice_low_rank *term = w->low_rank; term; term = term->next) {
        for (int32_t i = 0; i < piece->rows; i++)
            cpu->ops->low_rank_out(t + (int64_t)(piece->row + i) * term->rank, term->b + first,
                                   w->rows, term->rank, columns, y + i * ldy + first);
        t += (int64_t)n * term->rank;
    }
}
