/* Experts: several routed ones on their rows at once, and the shared one.
 *
 * Experts that come together are a group: their gates and ups with SwiGLU are one parallel
 * operation and their downs another, so that a token's ten experts cost four barriers and not
 * forty. A part of a group is one expert and its rows. Where each has one row, as in decode, rows
 * are read (and quantised) where they are; else they are gathered first. */
#include "kernels/cpu.h"

#include <string.h>

typedef struct expert_part {
    const sluice_expert_weights *w;
    int32_t in;           /* its first row of the group's activations */
    int32_t begin, n;     /* its rows of gate, up and y */
    const int32_t *slots; /* [n] rows of out, or NULL: y is out */
    sluice_cpu_cut gate_up, down;
} expert_part;

typedef struct expert_group {
    const sluice_cpu *cpu;
    expert_part parts[SLUICE_CPU_TOGETHER];
    int32_t n_parts, rows;
    const sluice_cpu_rows *x, *inner;
    const float *middles[2]; /* of gate and up, then of down: of a part that is alone */
    float *y;                /* [rows, hidden] */
    float *out;
    const float *scale; /* [rows], or NULL */
} expert_group;

/* Outputs of a piece. */
static int32_t piece_columns(const sluice_cpu_piece *piece, const sluice_weight *w)
{
    const int32_t end = piece->panel_end * SLUICE_PANEL_ROWS;
    return (end < w->rows ? end : w->rows) - piece->panel_begin * SLUICE_PANEL_ROWS;
}

/* A piece of a part, multiplied into rows [begin, begin + n) of y; at counts the part's first row
 * among those of x. Returns y's first row of the piece. */
static float *multiply(const expert_group *group, const expert_part *part, const sluice_weight *w,
                       const sluice_cpu_rows *x, int32_t at, const sluice_cpu_piece *piece,
                       const float *middle, float *y)
{
    sluice_cpu_piece rows = *piece;
    rows.row += at;
    y += (int64_t)(part->begin + piece->row) * w->rows;
    sluice_cpu_linear_piece(group->cpu, w, x, &rows, middle, y, w->rows);
    return y;
}

static void gate_up_task(void *context, int32_t task, int worker)
{
    const expert_group *group = context;
    const sluice_cpu *cpu = group->cpu;
    const expert_part *part = group->parts;
    (void)worker;
    for (; task >= part->gate_up.tasks; part++)
        task -= part->gate_up.tasks;
    const sluice_weight *w = &part->w->gate;
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&part->gate_up, part->n, task);
    const int32_t columns = piece_columns(&piece, w);
    float *gate =
        multiply(group, part, w, group->x, part->in, &piece, group->middles[0], cpu->scratch.gate);
    float *up = multiply(group, part, &part->w->up, group->x, part->in, &piece, group->middles[1],
                         cpu->scratch.up);
    for (int32_t i = 0; i < piece.rows; i++) {
        const int64_t first = (int64_t)i * w->rows + piece.panel_begin * SLUICE_PANEL_ROWS;
        cpu->ops->swiglu(gate + first, up + first, columns, gate + first);
    }
}

static void down_task(void *context, int32_t task, int worker)
{
    const expert_group *group = context;
    const expert_part *part = group->parts;
    (void)worker;
    for (; task >= part->down.tasks; part++)
        task -= part->down.tasks;
    const sluice_weight *w = &part->w->down;
    const sluice_cpu_piece piece = sluice_cpu_piece_of(&part->down, part->n, task);
    const int32_t columns = piece_columns(&piece, w);
    const int64_t first = (int64_t)piece.panel_begin * SLUICE_PANEL_ROWS;
    float *y =
        multiply(group, part, w, group->inner, part->begin, &piece, group->middles[0], group->y);
    y += first;
    for (int32_t i = piece.row; i < piece.row + piece.rows; i++, y += w->rows) {
        for (int32_t c = 0; group->scale && c < columns; c++) {
            y[c] *= group->scale[i];
        }
        if (part->slots)
            memcpy(group->out + (int64_t)part->slots[i] * w->rows + first, y,
                   (size_t)columns * sizeof *y);
    }
}

/* down(silu(gate x) * up x) of all parts. */
static void run_group(sluice_cpu *cpu, expert_group *group)
{
    const sluice_expert_weights *w = group->parts[0].w; /* all have its shapes */
    const sluice_weight *const readers[] = {&w->down};
    const sluice_weight *const inputs[] = {&w->gate, &w->up};
    const int32_t width = w->gate.rows;
    const int64_t work = (int64_t)width * w->gate.cols * group->rows;
    int32_t gate_up_tasks = 0, down_tasks = 0;
    for (int32_t i = 0; i < group->n_parts; i++) {
        expert_part *part = &group->parts[i];
        const bool last = i == group->n_parts - 1;
        part->gate_up = sluice_cpu_cut_of(cpu, &part->w->gate, part->n, 2, last);
        part->down = sluice_cpu_cut_of(cpu, &part->w->down, part->n, 1, last);
        gate_up_tasks += part->gate_up.tasks;
        down_tasks += part->down.tasks;
    }
    memset(group->middles, 0, sizeof group->middles);
    if (group->n_parts == 1) sluice_cpu_low_rank_in(cpu, group->x, inputs, 2, group->middles);
    sluice_cpu_run(cpu, gate_up_task, group, gate_up_tasks, 2 * work);

    sluice_cpu_rows inner;
    sluice_cpu_rows_of(cpu, cpu->scratch.gate, group->rows, width, SLUICE_CPU_BLOCK,
                       cpu->scratch.q8, readers, 1, &inner);
    group->inner = &inner;
    if (group->n_parts == 1) sluice_cpu_low_rank_in(cpu, &inner, readers, 1, group->middles);
    sluice_cpu_run(cpu, down_task, group, down_tasks, work);
}

static bool has_low_rank(const sluice_expert_weights *w)
{
    return w->gate.low_rank || w->up.low_rank || w->down.low_rank;
}

/* How many of the calls run together: one with low-rank terms runs alone. */
static int32_t together(const sluice_cpu *cpu, const sluice_expert_call *calls, int32_t n)
{
    const int32_t rows_max = sluice_cpu_together_rows(cpu->rows_max);
    int32_t rows = calls[0].m, count = 1;
    if (has_low_rank(&calls[0].weights)) return 1;
    for (; count < n && count < SLUICE_CPU_TOGETHER; count++) {
        rows += calls[count].m;
        if (rows > rows_max || has_low_rank(&calls[count].weights)) break;
    }
    return count;
}

/* The parts of a group; returns whether each has one row. */
static bool set_parts(expert_group *group, const sluice_expert_call *calls, int32_t n)
{
    bool single = true;
    for (int32_t i = 0; i < n; i++) {
        group->parts[i] = (expert_part){.w = &calls[i].weights,
                                        .in = group->rows,
                                        .begin = group->rows,
                                        .n = calls[i].m,
                                        .slots = calls[i].slots};
        group->rows += calls[i].m;
        single = single && calls[i].m == 1;
    }
    group->n_parts = n;
    return single;
}

/* Rows of parts that have one each: from the lowest to the highest of x, if these are no more than
 * the parts. */
static bool use_in_place(expert_group *group, const sluice_expert_call *calls, int32_t *first,
                         int32_t *n)
{
    int32_t low = calls[0].rows[0], high = low;
    for (int32_t i = 1; i < group->n_parts; i++) {
        const int32_t row = calls[i].rows[0];
        low = row < low ? row : low;
        high = row > high ? row : high;
    }
    if (high - low >= group->n_parts) return false;
    for (int32_t i = 0; i < group->n_parts; i++)
        group->parts[i].in = calls[i].rows[0] - low;
    *first = low;
    *n = high - low + 1;
    return true;
}

static void observe(const sluice_cpu *cpu, const expert_group *group,
                    const sluice_expert_call *calls)
{
    const sluice_observer *observer = cpu->backend.observer;
    if (!observer) return;
    for (int32_t i = 0; i < group->n_parts; i++) {
        const expert_part *part = &group->parts[i];
        observer->expert(observer->context, part->w, part->n,
                         group->x->x + (int64_t)part->in * group->x->cols,
                         cpu->scratch.gate + (int64_t)part->begin * part->w->gate.rows,
                         part->w->shares, calls[i].slots);
    }
}

static void run_calls(sluice_cpu *cpu, const sluice_expert_call *calls, int32_t count,
                      const float *x, float *y)
{
    const int32_t hidden = cpu->geometry.hidden;
    const sluice_weight *const readers[] = {&calls->weights.gate, &calls->weights.up};
    expert_group group = {.cpu = cpu, .y = cpu->scratch.y, .out = y};
    sluice_cpu_rows rows;
    int32_t first, n;
    if (set_parts(&group, calls, count) && use_in_place(&group, calls, &first, &n)) {
        sluice_cpu_rows_of(cpu, x + (int64_t)first * hidden, n, hidden, SLUICE_CPU_BLOCK_EXPERT,
                           cpu->scratch.q8, readers, 2, &rows);
    } else {
        int32_t *from = cpu->scratch.gather;
        for (int32_t i = 0; i < count; from += calls[i++].m)
            memcpy(from, calls[i].rows, (size_t)calls[i].m * sizeof *from);
        sluice_cpu_rows_gather(cpu, x, cpu->scratch.gather, group.rows, hidden,
                               SLUICE_CPU_BLOCK_EXPERT, cpu->scratch.x, cpu->scratch.q8, readers, 2,
                               &rows);
    }
    group.x = &rows;
    run_group(cpu, &group);
    observe(cpu, &group, calls);
}

void sluice_cpu_experts(sluice_backend *be, const sluice_expert_call *calls, int32_t n,
                        const sluice_buffer *x, sluice_buffer *y)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    for (int32_t count; n > 0; calls += count, n -= count) {
        count = together(cpu, calls, n);
        run_calls(cpu, calls, count, sluice_cpu_floats(x), sluice_cpu_floats(y));
    }
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
    run_group(cpu, &(expert_group){.cpu = cpu,
                                   .parts = {{.w = &w->expert, .n = n}},
                                   .n_parts = 1,
                                   .rows = n,
                                   .x = &rows,
                                   .y = sluice_cpu_floats(y),
                                   .scale = scale});
    const sluice_observer *observer = be->observer;
    if (observer)
        observer->expert(observer->context, &w->expert, n, rows.x, cpu->scratch.gate, scale, NULL);
}
