/* Matrices: the product again, the product with the transpose, and the gradients of the low-rank
 * terms beside them.
 *
 * dx = dy W runs over pieces of 128 x 128 weights, unpacked by the kernels' own code into a buffer
 * in cache and used for 64 rows at once. A panel is kept as it is packed, 16 outputs beside each
 * other; what is turned instead is dy, once, so that the rows of dy are the lanes: the sum over
 * outputs is then a chain of fused multiply-adds in one order, whatever the number of rows. */
#include "train/back.h"

#include <string.h>

#define LANES 16
#define FEW_ROWS 6       /* up to so many, a dot product for each costs less than 16 lanes */
#define FORWARD_PANELS 8 /* of a task */
#define FORWARD_ROWS 240

static int32_t parts(int32_t n, int32_t size)
{
    return (n + size - 1) / size;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

typedef struct forward_job {
    const sluice_back *back;
    const sluice_weight *w;
    const float *x;
    float *y;
    int32_t n, row_blocks;
} forward_job;

static void forward_task(void *context, int32_t task, int worker)
{
    const forward_job *job = context;
    const sluice_weight *w = job->w;
    const int32_t begin = task / job->row_blocks * FORWARD_PANELS;
    const int32_t end = least(begin + FORWARD_PANELS, sluice_weight_panels(w));
    const int64_t row = task % job->row_blocks * FORWARD_ROWS;
    (void)worker;
    job->back->kernels.linear_f32(w, begin, end, job->x + row * w->cols, w->cols,
                                  least(FORWARD_ROWS, job->n - (int32_t)row),
                                  job->y + row * w->rows, w->rows);
}

/* A low-rank term's middle, and what it adds. */
typedef struct middle_job {
    const sluice_low_rank *term;
    const float *x;
    int32_t cols, rows;
    float *middle, *y;
} middle_job;

static void add_term(const sluice_back *back, void *context, int32_t begin, int32_t end,
                     float *scratch)
{
    const middle_job *job = context;
    const sluice_low_rank *term = job->term;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        float *middle = job->middle + i * term->rank;
        back->ops->low_rank_in(job->x + i * job->cols, term->a, term->rank, term->scale, job->cols,
                               middle);
        back->ops->low_rank_out(middle, term->b, job->rows, term->rank, job->rows,
                                job->y + i * job->rows);
    }
}

void sluice_back_linear_forward(sluice_back *back, const sluice_weight *w, const float *x,
                                int32_t n, float *y)
{
    forward_job job = {.back = back, .w = w, .x = x, .y = y, .n = n};
    job.row_blocks = parts(n, FORWARD_ROWS);
    sluice_pool_run(back->pool, forward_task, &job,
                    parts(sluice_weight_panels(w), FORWARD_PANELS) * job.row_blocks);
    for (const sluice_low_rank *term = w->low_rank; term; term = term->next)
        sluice_back_rows(back, n, add_term,
                         &(middle_job){term, x, w->cols, w->rows, back->middle, y});
}

typedef struct transpose_job {
    const sluice_back *back;
    const sluice_weight *w;
    const float *dy;
    float *dx;
    int32_t n, rows; /* rows of W, up to whole panels */
    int32_t row_blocks;
} transpose_job;

/* 16 rows of dy become lanes; outputs and rows that do not exist are zero. */
static void turn_task(void *context, int32_t block, int worker)
{
    const transpose_job *job = context;
    const int32_t outputs = job->w->rows, begin = block * LANES;
    float *out = job->back->transposed + (int64_t)block * job->rows * LANES;
    (void)worker;
    for (int32_t lane = 0; lane < LANES; lane++) {
        const bool there = begin + lane < job->n;
        const float *dy = job->dy + (int64_t)(begin + lane) * outputs;
        for (int32_t r = 0; r < outputs; r++)
            out[(int64_t)r * LANES + lane] = there ? dy[r] : 0.0f;
    }
    memset(out + (int64_t)outputs * LANES, 0, (size_t)(job->rows - outputs) * LANES * sizeof *out);
}

/* One piece of weights, [cols, depth] in a worker's buffer. */
static void unpack_piece(const transpose_job *job, int32_t r, int32_t depth, int32_t col,
                         int32_t cols, float *weights)
{
    for (int32_t p = 0; p < depth; p += SLUICE_PANEL_ROWS)
        job->back->kernels.unpack_f32(job->w, (r + p) / SLUICE_PANEL_ROWS, col, cols, weights + p,
                                      SLUICE_BACK_DEPTH);
}

/* The columns of a task for the 64 rows of one, the rows in lanes. */
static void lanes_task(void *context, int32_t task, int worker)
{
    const transpose_job *job = context;
    const sluice_weight *w = job->w;
    const int32_t col = task / job->row_blocks * SLUICE_BACK_COLS;
    const int32_t cols = least(SLUICE_BACK_COLS, w->cols - col);
    const int32_t row = task % job->row_blocks * SLUICE_BACK_TILE;
    const int32_t rows = least(SLUICE_BACK_TILE, job->n - row);
    float *weights = job->back->workers[worker].memory;
    float *sums = weights + SLUICE_BACK_COLS * SLUICE_BACK_DEPTH; /* [cols, TILE] */
    for (int32_t r = 0; r < job->rows; r += SLUICE_BACK_DEPTH) {
        const int32_t depth = least(SLUICE_BACK_DEPTH, job->rows - r);
        unpack_piece(job, r, depth, col, cols, weights);
        job->back->ops->gemm(&(sluice_gemm){
            .m = cols,
            .n = parts(rows, LANES) * LANES,
            .k = depth,
            .a = weights,
            .a_row = SLUICE_BACK_DEPTH,
            .a_col = 1,
            .b = job->back->transposed + (int64_t)row * job->rows + (int64_t)r * LANES,
            .b_row = LANES,
            .b_block = (int64_t)job->rows * LANES,
            .c = sums,
            .c_row = SLUICE_BACK_TILE,
            .accumulate = r > 0,
        });
    }
    for (int32_t t = 0; t < rows; t++) {
        float *dx = job->dx + (int64_t)(row + t) * w->cols + col;
        for (int32_t c = 0; c < cols; c++)
            dx[c] += sums[c * SLUICE_BACK_TILE + t];
    }
}

/* The same for a few rows: each is multiplied by itself, the outputs in lanes. */
static void dots_task(void *context, int32_t task, int worker)
{
    const transpose_job *job = context;
    const sluice_weight *w = job->w;
    const int32_t col = task * SLUICE_BACK_COLS, cols = least(SLUICE_BACK_COLS, w->cols - col);
    float *weights = job->back->workers[worker].memory;
    float *sums = weights + SLUICE_BACK_COLS * SLUICE_BACK_DEPTH; /* [cols] */
    for (int32_t r = 0; r < job->rows; r += SLUICE_BACK_DEPTH) {
        const int32_t depth = least(SLUICE_BACK_DEPTH, job->rows - r);
        const int32_t there = least(depth, w->rows - r);
        unpack_piece(job, r, depth, col, cols, weights);
        for (int32_t t = 0; t < job->n; t++) {
            float *dx = job->dx + (int64_t)t * w->cols + col;
            const float *dy = job->dy + (int64_t)t * w->rows + r;
            /* The columns lie DEPTH apart: one call does if all of a column counts. */
            const int32_t at_once = there == SLUICE_BACK_DEPTH ? cols : 1;
            for (int32_t c = 0; c < cols; c += at_once)
                job->back->ops->low_rank_in(dy, weights + (int64_t)c * SLUICE_BACK_DEPTH, at_once,
                                            1.0f, there, sums + c);
            for (int32_t c = 0; c < cols; c++)
                dx[c] += sums[c];
        }
    }
}

static void transposed_product(sluice_back *back, const sluice_weight *w, const float *dy,
                               int32_t n, float *dx)
{
    transpose_job job = {.back = back, .w = w, .dy = dy, .dx = dx, .n = n};
    job.rows = sluice_weight_panels(w) * SLUICE_PANEL_ROWS;
    job.row_blocks = parts(n, SLUICE_BACK_TILE);
    const int32_t pieces = parts(w->cols, SLUICE_BACK_COLS);
    if (n <= FEW_ROWS) {
        sluice_pool_run(back->pool, dots_task, &job, pieces);
        return;
    }
    sluice_pool_run(back->pool, turn_task, &job, parts(n, LANES));
    sluice_pool_run(back->pool, lanes_task, &job, pieces * job.row_blocks);
}

/* d_middle = scale B^T dy, and dx += A^T d_middle. */
static void back_term(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const middle_job *job = context;
    const sluice_low_rank *term = job->term;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        float *middle = job->middle + i * term->rank;
        back->ops->low_rank_in(job->x + i * job->rows, term->b, term->rank, term->scale, job->rows,
                               middle);
        if (job->y)
            back->ops->low_rank_out(middle, term->a, job->cols, term->rank, job->cols,
                                    job->y + i * job->cols);
    }
}

static void term_middle(const sluice_back *back, void *context, int32_t begin, int32_t end,
                        float *scratch)
{
    const middle_job *job = context;
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        back->ops->low_rank_in(job->x + i * job->cols, job->term->a, job->term->rank,
                               job->term->scale, job->cols, job->middle + i * job->term->rank);
}

/* A gradient [rank, width] += middle^T rows, summed over the rows in order. */
typedef struct outer_job {
    const sluice_back *back;
    const float *middle, *rows;
    float *gradient;
    int32_t n, rank, width;
} outer_job;

static void outer_task(void *context, int32_t task, int worker)
{
    const outer_job *job = context;
    const int32_t col = task * SLUICE_BACK_COLS;
    (void)worker;
    job->back->ops->gemm(&(sluice_gemm){
        .m = job->rank,
        .n = least(SLUICE_BACK_COLS, job->width - col),
        .k = job->n,
        .a = job->middle,
        .a_row = 1,
        .a_col = job->rank,
        .b = job->rows + col,
        .b_row = job->width,
        .b_block = LANES,
        .c = job->gradient + col,
        .c_row = job->width,
        .accumulate = 1,
    });
}

static void outer(sluice_back *back, const float *middle, const float *rows, int32_t n,
                  int32_t rank, int32_t width, float *gradient)
{
    outer_job job = {back, middle, rows, gradient, n, rank, width};
    sluice_pool_run(back->pool, outer_task, &job, parts(width, SLUICE_BACK_COLS));
}

void sluice_back_linear(sluice_back *back, const sluice_weight *w,
                        const sluice_adapter_entry *entry, const float *x, const float *dy,
                        int32_t n, float *dx)
{
    if (dx) transposed_product(back, w, dy, n, dx);
    for (const sluice_low_rank *term = w->low_rank; term; term = term->next) {
        const bool trained = entry && term == &entry->term;
        if (!dx && !trained) continue;
        sluice_back_rows(back, n, back_term,
                         &(middle_job){term, dy, w->cols, w->rows, back->d_middle, dx});
        if (!trained) continue;
        sluice_back_rows(back, n, term_middle,
                         &(middle_job){term, x, w->cols, w->rows, back->middle, NULL});
        outer(back, back->d_middle, x, n, term->rank, w->cols, entry->da);
        outer(back, back->middle, dy, n, term->rank, w->rows, entry->db);
    }
}
