/* Matrices times rows: cutting them into tasks, and choosing f32 or integer kernels.
 *
 * A task is some panels of 16 outputs for some rows. A result does not depend on where the cuts
 * are: an output is summed in one task, in one order. */
#include "kernels/cpu.h"

/* A task is at least TASK_WORK multiply-adds (some microseconds). Few rows are bound by memory,
 * which has to be waited for where a task begins: while every thread has TASKS_MIN tasks of a
 * matrix, theirs are at least TASK_BYTES of weights. Such a task takes longer than a thread spins,
 * so at the end of an operation tasks become smaller, by what is left, and threads end together. */
#define TASK_WORK 131072
#define TASK_BYTES (1024 * 1024)
#define TASKS_MIN 2
#define FEW_ROWS 8
#define ROWS_BLOCK 240 /* rows a task: their activations stay in L2 */

/* Panels of the task that begins where so many are left. */
static int32_t next_panels(const sluice_cpu_cut *cut, int32_t left)
{
    const int32_t share = cut->sharers ? left / cut->sharers : cut->panels_task;
    if (share > cut->panels_task) return cut->panels_task;
    return share > 1 ? share : 1;
}

static void cut_tasks(sluice_cpu_cut *cut)
{
    const int32_t shared = cut->sharers * cut->panels_task;
    const int32_t whole = cut->panels > shared ? cut->panels - shared : 0;
    cut->whole = (whole + cut->panels_task - 1) / cut->panels_task;
    cut->tasks = cut->whole;
    for (int32_t left = cut->panels - cut->whole * cut->panels_task; left > 0; cut->tasks++)
        left -= next_panels(cut, left);
    cut->tasks *= cut->row_blocks;
}

sluice_cpu_cut sluice_cpu_cut_of(const sluice_cpu *cpu, const sluice_weight *w, int32_t n,
                                 int32_t matrices, bool last)
{
    sluice_cpu_cut cut = {.sharers = last && n <= FEW_ROWS ? TASKS_MIN * cpu->threads : 0};
    const int32_t rows = n < ROWS_BLOCK ? n : ROWS_BLOCK;
    const int64_t work = (int64_t)SLUICE_PANEL_ROWS * w->cols * rows * matrices;
    const int64_t by_work = TASK_WORK / (work > 0 ? work : 1);
    const int64_t panel_bytes = (int64_t)sluice_weight_panel_bytes(w->format, w->cols);
    const int64_t by_bytes = n <= FEW_ROWS ? TASK_BYTES / panel_bytes : 0;
    cut.panels = sluice_weight_panels(w);
    const int64_t most = cut.panels / (TASKS_MIN * cpu->threads);
    int64_t panels = by_bytes < most ? by_bytes : most;
    panels = panels > by_work ? panels : by_work;
    panels = panels < cut.panels ? panels : cut.panels;
    cut.panels_task = panels > 1 ? (int32_t)panels : 1;
    cut.row_blocks = (n + ROWS_BLOCK - 1) / ROWS_BLOCK;
    cut_tasks(&cut);
    return cut;
}

/* Row blocks of the same panels are neighbours, so that the panels are read from cache. */
sluice_cpu_piece sluice_cpu_piece_of(const sluice_cpu_cut *cut, int32_t n, int32_t task)
{
    sluice_cpu_piece piece;
    int32_t at = task / cut->row_blocks, after = at > cut->whole ? at - cut->whole : 0;
    piece.panel_begin = (at - after) * cut->panels_task;
    for (; after > 0; after--)
        piece.panel_begin += next_panels(cut, cut->panels - piece.panel_begin);
    piece.panel_end =
        piece.panel_begin +
        (at < cut->whole ? cut->panels_task : next_panels(cut, cut->panels - piece.panel_begin));
    if (piece.panel_end > cut->panels) piece.panel_end = cut->panels;
    piece.row = task % cut->row_blocks * ROWS_BLOCK;
    piece.rows = n - piece.row < ROWS_BLOCK ? n - piece.row : ROWS_BLOCK;
    return piece;
}

void sluice_cpu_linear_piece(const sluice_cpu *cpu, const sluice_weight *w,
                             const sluice_cpu_rows *rows, const sluice_cpu_piece *piece,
                             const float *middle, float *y, int64_t ldy)
{
    if (rows->quantized && sluice_q8_multiplies(w->format))
        cpu->kernels.linear_q8(w, piece->panel_begin, piece->panel_end, &rows->q8, piece->row,
                               piece->rows, y, ldy);
    else
        cpu->kernels.linear_f32(w, piece->panel_begin, piece->panel_end,
                                rows->x + (int64_t)piece->row * rows->cols, rows->cols, piece->rows,
                                y, ldy);
    if (middle) sluice_cpu_low_rank_out(cpu, w, rows->n, piece, middle, y, ldy);
}

static void observe(const sluice_cpu *cpu, const sluice_weight *w, const sluice_cpu_rows *rows)
{
    const sluice_observer *observer = cpu->backend.observer;
    if (observer) observer->matrix(observer->context, w, rows->n, rows->x);
}

typedef struct linear_job {
    const sluice_cpu *cpu;
    const sluice_cpu_rows *rows;
    const sluice_cpu_linear *linears;
    sluice_cpu_cut cuts[SLUICE_CPU_LINEARS_MAX];
    const float *middles[SLUICE_CPU_LINEARS_MAX];
} linear_job;

static void linear_task(void *context, int32_t task, int worker)
{
    const linear_job *job = context;
    int32_t i = 0;
    (void)worker;
    while (task >= job->cuts[i].tasks) {
        task -= job->cuts[i++].tasks;
    }
    const sluice_cpu_linear *linear = &job->linears[i];
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&job->cuts[i], job->rows->n, task);
    const int64_t width = linear->w->rows;
    sluice_cpu_linear_piece(job->cpu, linear->w, job->rows, &piece, job->middles[i],
                            linear->y + piece.row * width, width);
}

void sluice_cpu_linears(sluice_cpu *cpu, const sluice_cpu_rows *rows,
                        const sluice_cpu_linear *linears, int32_t n_linears)
{
    linear_job job = {.cpu = cpu, .rows = rows, .linears = linears};
    const sluice_weight *weights[SLUICE_CPU_LINEARS_MAX];
    int64_t work = 0;
    int32_t tasks = 0;
    for (int32_t i = 0; i < n_linears; i++) {
        weights[i] = linears[i].w;
        job.cuts[i] = sluice_cpu_cut_of(cpu, linears[i].w, rows->n, 1, i == n_linears - 1);
        tasks += job.cuts[i].tasks;
        work += (int64_t)linears[i].w->rows * linears[i].w->cols * rows->n;
        observe(cpu, linears[i].w, rows);
    }
    sluice_cpu_low_rank_in(cpu, rows, weights, n_linears, job.middles);
    sluice_cpu_run(cpu, linear_task, &job, tasks, work);
}

typedef struct add_job {
    const sluice_cpu *cpu;
    const sluice_cpu_rows *rows;
    const sluice_weight *w;
    sluice_cpu_cut cut;
    const float *middle;
    float *y, *h;
} add_job;

static void add_task(void *context, int32_t task, int worker)
{
    const add_job *job = context;
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&job->cut, job->rows->n, task);
    const int64_t width = job->w->rows;
    const int32_t begin = piece.panel_begin * SLUICE_PANEL_ROWS;
    const int32_t end = piece.panel_end * SLUICE_PANEL_ROWS;
    const int32_t columns = (end < job->w->rows ? end : job->w->rows) - begin;
    (void)worker;
    sluice_cpu_linear_piece(job->cpu, job->w, job->rows, &piece, job->middle,
                            job->y + piece.row * width, width);
    for (int32_t i = piece.row; i < piece.row + piece.rows; i++) {
        float *h = job->h + i * width + begin;
        const float *y = job->y + i * width + begin;
        for (int32_t c = 0; c < columns; c++) {
            h[c] += y[c];
        }
    }
}

void sluice_cpu_linear_add(sluice_cpu *cpu, const sluice_cpu_rows *rows, const sluice_weight *w,
                           float *y, float *h)
{
    add_job job = {.cpu = cpu, .rows = rows, .w = w, .y = y, .h = h};
    job.cut = sluice_cpu_cut_of(cpu, w, rows->n, 1, true);
    observe(cpu, w, rows);
    sluice_cpu_low_rank_in(cpu, rows, &w, 1, &job.middle);
    sluice_cpu_run(cpu, add_task, &job, job.cut.tasks, (int64_t)w->rows * w->cols * rows->n);
}
