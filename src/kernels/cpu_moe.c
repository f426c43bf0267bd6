/* The mixture of experts: router, one expert on some rows, the shared expert, the weighted sum.
 *
 * gate, up and SwiGLU of some outputs are one task, so that an expert is two parallel operations;
 * experts too small to share out run on the caller's thread. */
#include "kernels/cpu.h"

#include <string.h>

#define ROWS_A_TASK 8

/* The k largest of p, ties to the lower index, largest first: an insertion into the k found so far.
 */
static void top_k(const float *p, int32_t n, int32_t k, int32_t *ids, float *probs)
{
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++) {
        if (found == k && !(p[i] > probs[k - 1])) continue;
        int32_t at = found < k ? found++ : k - 1;
        for (; at > 0 && p[i] > probs[at - 1]; at--) {
            probs[at] = probs[at - 1];
            ids[at] = ids[at - 1];
        }
        probs[at] = p[i];
        ids[at] = i;
    }
}

typedef struct router_job {
    const sluice_cpu *cpu;
    int32_t n, k, experts;
    float *logits, *probs;
    int32_t *ids;
} router_job;

static void router_task(void *context, int32_t task, int worker)
{
    const router_job *job = context;
    const int32_t begin = task * ROWS_A_TASK;
    const int32_t end = begin + ROWS_A_TASK < job->n ? begin + ROWS_A_TASK : job->n;
    (void)worker;
    for (int32_t i = begin; i < end; i++) {
        float *row = job->logits + (int64_t)i * job->experts;
        job->cpu->ops->softmax(row, job->experts);
        top_k(row, job->experts, job->k, job->ids + (int64_t)i * job->k,
              job->probs + (int64_t)i * job->k);
    }
}

void sluice_cpu_router(sluice_backend *be, const sluice_router_weights *w, int32_t n, int32_t k,
                       const sluice_buffer *h, sluice_buffer *x, int32_t *ids, float *probs,
                       float *all_probs)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    float *logits = all_probs ? all_probs : cpu->scratch.logits;
    /* f32 in integer mode too. KL to exact mode on Nano, three texts of 8192 tokens: 1.70, 1.50 and
     * 1.73e-3 with an integer router, 1.45, 1.41 and 1.55e-3 so. Which token is likeliest changes
     * about as often either way. */
    sluice_cpu_rows rows;
    sluice_cpu_rows_norm(cpu, sluice_cpu_floats(h), w->norm, n, sluice_cpu_floats(x),
                         cpu->scratch.q8, NULL, 0, &rows);
    sluice_cpu_linears(cpu, &rows, &(sluice_cpu_linear){&w->router, logits}, 1);
    router_job job = {.cpu = cpu,
                      .n = n,
                      .k = k,
                      .experts = w->router.rows,
                      .logits = logits,
                      .probs = probs,
                      .ids = ids};
    sluice_cpu_run(cpu, router_task, &job, (n + ROWS_A_TASK - 1) / ROWS_A_TASK,
                   (int64_t)n * w->router.rows * 16);
}

/* gate and up become gate = silu(gate) * up, [n, width]. */
typedef struct mlp_job {
    const sluice_cpu *cpu;
    const sluice_expert_weights *w;
    const sluice_cpu_rows *rows;
    sluice_cpu_cut cut;
    const float *middles[2]; /* of gate and up, then of down */
    float *gate, *up;
    /* down only */
    float *y;   /* [n, hidden] */
    float *out; /* where rows go if slots is not NULL */
    const int32_t *slots;
    const float *scale; /* [n], or NULL */
} mlp_job;

/* Outputs of a piece. */
static int32_t piece_columns(const sluice_cpu_piece *piece, const sluice_weight *w)
{
    const int32_t end = piece->panel_end * SLUICE_PANEL_ROWS;
    return (end < w->rows ? end : w->rows) - piece->panel_begin * SLUICE_PANEL_ROWS;
}

static void gate_up_task(void *context, int32_t task, int worker)
{
    const mlp_job *job = context;
    const sluice_weight *gate = &job->w->gate;
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&job->cut, job->rows->n, task);
    const int64_t width = gate->rows, at = piece.row * width;
    const int32_t columns = piece_columns(&piece, gate);
    (void)worker;
    sluice_cpu_linear_piece(job->cpu, gate, job->rows, &piece, job->middles[0], job->gate + at,
                            width);
    sluice_cpu_linear_piece(job->cpu, &job->w->up, job->rows, &piece, job->middles[1], job->up + at,
                            width);
    for (int32_t i = 0; i < piece.rows; i++) {
        const int64_t first = at + i * width + piece.panel_begin * SLUICE_PANEL_ROWS;
        job->cpu->ops->swiglu(job->gate + first, job->up + first, columns, job->gate + first);
    }
}

static void down_task(void *context, int32_t task, int worker)
{
    const mlp_job *job = context;
    const sluice_weight *down = &job->w->down;
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&job->cut, job->rows->n, task);
    const int64_t width = down->rows;
    const int32_t columns = piece_columns(&piece, down);
    const int64_t first = (int64_t)piece.panel_begin * SLUICE_PANEL_ROWS;
    (void)worker;
    sluice_cpu_linear_piece(job->cpu, down, job->rows, &piece, job->middles[0],
                            job->y + piece.row * width, width);
    for (int32_t i = piece.row; i < piece.row + piece.rows; i++) {
        float *y = job->y + i * width + first;
        for (int32_t c = 0; job->scale && c < columns; c++) {
            y[c] *= job->scale[i];
        }
        if (job->slots)
            memcpy(job->out + job->slots[i] * width + first, y, (size_t)columns * sizeof *y);
    }
}

/* down(silu(gate x) * up x), into y or by slots as the job says. */
static void mlp(sluice_cpu *cpu, mlp_job *job)
{
    const sluice_cpu_rows *x = job->rows;
    const sluice_weight *const readers[] = {&job->w->down};
    const sluice_weight *const inputs[] = {&job->w->gate, &job->w->up};
    const int32_t width = job->w->gate.rows;
    const int64_t work = (int64_t)width * job->w->gate.cols * x->n;
    job->cpu = cpu;
    job->gate = cpu->scratch.gate;
    job->up = cpu->scratch.up;
    job->cut = sluice_cpu_cut_of(&job->w->gate, x->n, 2);
    sluice_cpu_low_rank_in(cpu, x, inputs, 2, job->middles);
    sluice_cpu_run(cpu, gate_up_task, job, job->cut.tasks, 2 * work);

    sluice_cpu_rows inner;
    sluice_cpu_rows_of(cpu, job->gate, x->n, width, SLUICE_CPU_BLOCK, cpu->scratch.q8, readers, 1,
                       &inner);
    job->rows = &inner;
    job->cut = sluice_cpu_cut_of(&job->w->down, x->n, 1);
    sluice_cpu_low_rank_in(cpu, &inner, readers, 1, job->middles);
    sluice_cpu_run(cpu, down_task, job, job->cut.tasks, work);
}

void sluice_cpu_expert(sluice_backend *be, const sluice_expert_weights *w, const int32_t *rows,
                       const int32_t *slots, int32_t m, const sluice_buffer *x, sluice_buffer *y)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    const int64_t hidden = cpu->geometry.hidden;
    const sluice_weight *const readers[] = {&w->gate, &w->up};
    const float *in = sluice_cpu_floats(x) + rows[0] * hidden;
    mlp_job job = {.w = w};
    if (m == 1) {
        job.y = sluice_cpu_floats(y) + slots[0] * hidden;
    } else {
        job.y = cpu->scratch.y;
        job.out = sluice_cpu_floats(y);
        job.slots = slots;
        for (int32_t i = 0; i < m; i++) {
            memcpy(cpu->scratch.x + i * hidden, sluice_cpu_floats(x) + rows[i] * hidden,
                   (size_t)hidden * sizeof *in);
        }
        in = cpu->scratch.x;
    }
    sluice_cpu_rows gathered;
    sluice_cpu_rows_of(cpu, in, m, (int32_t)hidden, SLUICE_CPU_BLOCK_EXPERT, cpu->scratch.q8,
                       readers, 2, &gathered);
    job.rows = &gathered;
    mlp(cpu, &job);
    const sluice_observer *observer = be->observer;
    if (observer)
        observer->expert(observer->context, w, m, in, cpu->scratch.gate, w->shares, slots);
}

void sluice_cpu_shared_expert(sluice_backend *be, const sluice_shared_weights *w, int32_t n,
                              const sluice_buffer *x, sluice_buffer *y)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    const sluice_weight *const readers[] = {&w->expert.gate, &w->expert.up, &w->gate};
    float *scale = cpu->scratch.shared;
    sluice_cpu_rows rows;
    sluice_cpu_rows_of(cpu, sluice_cpu_floats(x), n, cpu->geometry.hidden, SLUICE_CPU_BLOCK_EXPERT,
                       cpu->scratch.q8, readers, 3, &rows);
    sluice_cpu_linears(cpu, &rows, &(sluice_cpu_linear){&w->gate, scale}, 1);
    cpu->ops->sigmoid(scale, n);
    mlp(cpu, &(mlp_job){.w = &w->expert, .rows = &rows, .y = sluice_cpu_floats(y), .scale = scale});
    const sluice_observer *observer = be->observer;
    if (observer)
        observer->expert(observer->context, &w->expert, n, rows.x, cpu->scratch.gate, scale, NULL);
}

typedef struct combine_job {
    const sluice_cpu *cpu;
    int32_t k;
    const float *weights, *y, *shared;
    float *h;
} combine_job;

static void combine_task(void *context, int32_t task, int worker)
{
    const combine_job *job = context;
    const int32_t hidden = job->cpu->geometry.hidden;
    const int64_t at = (int64_t)task * hidden;
    (void)worker;
    job->cpu->ops->combine(job->weights + (int64_t)task * job->k, job->y + at * job->k, job->k,
                           job->shared + at, hidden, job->h + at);
}

void sluice_cpu_combine(sluice_backend *be, int32_t n, int32_t k, const float *weights,
                        const sluice_buffer *y, const sluice_buffer *shared, sluice_buffer *h)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    combine_job job = {.cpu = cpu,
                       .k = k,
                       .weights = weights,
                       .y = sluice_cpu_floats(y),
                       .shared = sluice_cpu_floats(shared),
                       .h = sluice_cpu_floats(h)};
    sluice_cpu_run(cpu, combine_task, &job, n, (int64_t)n * k * cpu->geometry.hidden);
}
