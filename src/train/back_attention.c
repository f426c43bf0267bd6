/* The attention block: norm, q k v, QK-norm and RoPE, causal attention, gate, o; and its gradient.
 *
 * Scores are never kept: forward keeps the logarithm of each row's sum, and backward works them out
 * again in tiles of 64 x 64 positions. A task is one query head of one segment. Query heads that
 * share a key-value head write gradients of their own, which are added in order of heads. */
#include "train/back.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define TILE SLUICE_BACK_TILE

typedef struct attention_job {
    const sluice_back *back;
    const sluice_attention_weights *w;
    const sluice_segment *segments;
} attention_job;

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static void fill_angles(sluice_back *back, const sluice_segment *segments, int32_t n_segments)
{
    const sluice_back_attention_kept *kept = &back->attention;
    const int32_t half = back->geometry.rotary_dim / 2;
    for (int32_t s = 0; s < n_segments; s++)
        for (int32_t i = 0; i < segments[s].count; i++) {
            const int64_t at = (int64_t)(segments[s].row + i) * half;
            for (int32_t j = 0; j < half; j++) {
                const float angle =
                    (float)(segments[s].position + i) * back->inverse_frequencies[j];
                kept->cosines[at + j] = (float)cos((double)angle);
                kept->sines[at + j] = (float)sin((double)angle);
                kept->sines_back[at + j] = -kept->sines[at + j];
            }
        }
}

static void turn_head(const sluice_back *back, const float *x, const float *norm, int64_t row,
                      float scale, float *out)
{
    const sluice_geometry *g = &back->geometry;
    const int32_t half = g->rotary_dim / 2;
    back->ops->rmsnorm(x, norm, g->rms_eps, g->head_dim, out);
    back->ops->rope(out, back->attention.cosines + row * half, back->attention.sines + row * half,
                    half);
    for (int32_t d = 0; d < g->head_dim; d++)
        out[d] *= scale;
}

static void turn_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const sluice_attention_weights *w = context;
    const sluice_back_attention_kept *kept = &back->attention;
    const sluice_geometry *g = &back->geometry;
    const int64_t dim = g->head_dim;
    const float scale = 1.0f / sqrtf((float)dim);
    (void)scratch;
    for (int64_t row = begin; row < end; row++) {
        for (int64_t h = row * g->heads; h < (row + 1) * g->heads; h++)
            turn_head(back, kept->q + h * 2 * dim, w->q_norm, row, scale, kept->q_turned + h * dim);
        for (int64_t h = row * g->kv_heads; h < (row + 1) * g->kv_heads; h++)
            turn_head(back, kept->k + h * dim, w->k_norm, row, 1.0f, kept->k_turned + h * dim);
    }
}

/* From the gradient of a turned head to that of the projection; spoils d_turned. */
static void turn_head_back(const sluice_back *back, const float *x, const float *norm, int64_t row,
                           float scale, float *d_turned, float *dx)
{
    const sluice_geometry *g = &back->geometry;
    const int32_t half = g->rotary_dim / 2;
    for (int32_t d = 0; d < g->head_dim; d++)
        d_turned[d] *= scale;
    back->ops->rope(d_turned, back->attention.cosines + row * half,
                    back->attention.sines_back + row * half, half);
    sluice_back_norm_row(x, norm, g->rms_eps, g->head_dim, d_turned, false, dx);
}

/* Adds up the query heads' gradients of keys and values, and goes back through RoPE and norms. d_q
 * holds the gradient of the turned queries first. */
static void turn_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                           float *scratch)
{
    const sluice_attention_weights *w = context;
    const sluice_back_attention_kept *kept = &back->attention;
    const sluice_geometry *g = &back->geometry;
    const int64_t dim = g->head_dim, group = g->heads / g->kv_heads, rows = back->rows_max;
    const float scale = 1.0f / sqrtf((float)dim);
    for (int64_t row = begin; row < end; row++) {
        for (int64_t h = row * g->heads; h < (row + 1) * g->heads; h++) {
            memcpy(scratch, kept->d_q + h * 2 * dim, (size_t)dim * sizeof *scratch);
            turn_head_back(back, kept->q + h * 2 * dim, w->q_norm, row, scale, scratch,
                           kept->d_q + h * 2 * dim);
        }
        for (int64_t h = 0; h < g->kv_heads; h++) {
            const int64_t at = (row * g->kv_heads + h) * dim;
            memset(scratch, 0, (size_t)dim * sizeof *scratch);
            memset(kept->d_v + at, 0, (size_t)dim * sizeof *scratch);
            for (int64_t i = h * group; i < (h + 1) * group; i++)
                for (int64_t d = 0; d < dim; d++) {
                    scratch[d] += kept->d_k_own[(i * rows + row) * dim + d];
                    kept->d_v[at + d] += kept->d_v_own[(i * rows + row) * dim + d];
                }
            turn_head_back(back, kept->k + at, w->k_norm, row, 1.0f, scratch, kept->d_k + at);
        }
    }
}

/* Where a head's rows of a segment lie, each with its stride. */
typedef struct head {
    const float *q, *k, *v;
    int64_t q_row, k_row;
    float *mean, *log_sum;
    int64_t log_row;
    int32_t count;
} head;

static head head_of(const attention_job *job, int32_t task)
{
    const sluice_geometry *g = &job->back->geometry;
    const sluice_back_attention_kept *kept = &job->back->attention;
    const sluice_segment *segment = &job->segments[task / g->heads];
    const int32_t i = task % g->heads, kv = i / (g->heads / g->kv_heads), dim = g->head_dim;
    const int64_t query = (int64_t)segment->row * g->heads + i;
    const int64_t key = ((int64_t)segment->row * g->kv_heads + kv) * dim;
    return (head){.q = kept->q_turned + query * dim,
                  .k = kept->k_turned + key,
                  .v = kept->v + key,
                  .q_row = (int64_t)g->heads * dim,
                  .k_row = (int64_t)g->kv_heads * dim,
                  .mean = kept->mean + query * dim,
                  .log_sum = kept->log_sum + query,
                  .log_row = g->heads,
                  .count = segment->count};
}

/* n rows of dim floats as columns: out[d * TILE + i]. */
static void as_columns(const float *rows, int64_t stride, int32_t n, int32_t dim, float *out)
{
    for (int32_t i = 0; i < n; i++)
        for (int32_t d = 0; d < dim; d++)
            out[d * TILE + i] = rows[i * stride + d];
}

/* out[i, j] = rows[i] . columns[j] */
static void scores(const sluice_back *back, const float *rows, int64_t stride, int32_t n,
                   const float *columns, int32_t n_columns, int32_t dim, float *out)
{
    back->ops->gemm(&(sluice_gemm){.m = n,
                                   .n = n_columns,
                                   .k = dim,
                                   .a = rows,
                                   .a_row = stride,
                                   .a_col = 1,
                                   .b = columns,
                                   .b_row = TILE,
                                   .b_block = 16,
                                   .c = out,
                                   .c_row = TILE});
}

/* Keys [key, key + n_keys) join what rows [row, row + n) have seen: maximum, sum, weighted mean. */
static void meet_keys(float *score, int32_t row, int32_t n, int32_t key, int32_t n_keys, float *max,
                      float *sum, float *mean, int64_t stride, int32_t dim)
{
    for (int32_t i = 0; i < n; i++, score += TILE, mean += stride) {
        const int32_t seen = least(n_keys, row + i - key + 1);
        float largest = max[i];
        for (int32_t j = 0; j < seen; j++)
            if (score[j] > largest) largest = score[j];
        const float shrink = expf(max[i] - largest);
        max[i] = largest;
        float total = 0.0f;
        for (int32_t j = 0; j < n_keys; j++) {
            score[j] = j < seen ? expf(score[j] - largest) : 0.0f;
            total += score[j];
        }
        sum[i] = sum[i] * shrink + total;
        for (int32_t d = 0; d < dim; d++)
            mean[d] *= shrink;
    }
}

/* scratch: keys as columns [dim, TILE], scores [TILE, TILE], max and sum [TILE]. */
static void forward_task(void *context, int32_t task, int worker)
{
    const attention_job *job = context;
    const sluice_back *back = job->back;
    const int32_t dim = back->geometry.head_dim;
    const head at = head_of(job, task);
    float *columns = back->workers[worker].memory, *score = columns + (int64_t)dim * TILE;
    float *max = score + TILE * TILE, *sum = max + TILE;
    for (int32_t row = 0; row < at.count; row += TILE) {
        const int32_t n = least(TILE, at.count - row);
        float *mean = at.mean + row * at.q_row;
        for (int32_t i = 0; i < n; i++) {
            max[i] = -FLT_MAX;
            sum[i] = 0.0f;
            memset(mean + i * at.q_row, 0, (size_t)dim * sizeof *mean);
        }
        for (int32_t key = 0; key <= row; key += TILE) {
            const int32_t n_keys = least(TILE, at.count - key);
            as_columns(at.k + key * at.k_row, at.k_row, n_keys, dim, columns);
            scores(back, at.q + row * at.q_row, at.q_row, n, columns, n_keys, dim, score);
            meet_keys(score, row, n, key, n_keys, max, sum, mean, at.q_row, dim);
            back->ops->gemm(&(sluice_gemm){.m = n,
                                           .n = dim,
                                           .k = n_keys,
                                           .a = score,
                                           .a_row = TILE,
                                           .a_col = 1,
                                           .b = at.v + key * at.k_row,
                                           .b_row = at.k_row,
                                           .b_block = 16,
                                           .c = mean,
                                           .c_row = at.q_row,
                                           .accumulate = 1});
        }
        for (int32_t i = 0; i < n; i++) {
            at.log_sum[(row + i) * at.log_row] = max[i] + logf(sum[i]);
            for (int32_t d = 0; d < dim; d++)
                mean[i * at.q_row + d] /= sum[i];
        }
    }
}

/* A tile of queries and one of keys: both matrices of weights, and what they give. */
typedef struct tile {
    int32_t row, n, key, n_keys;
    float *columns, *p, *ds; /* [dim, TILE] twice: keys, values; [TILE, TILE] */
} tile;

/* p = softmax of the scores, ds = p (d_out . v - d_out . mean). */
static void tile_weights(const sluice_back *back, const head *at, const float *d_mean,
                         const tile *t)
{
    const int32_t dim = back->geometry.head_dim;
    const float *values = t->columns + (int64_t)dim * TILE;
    scores(back, at->q + t->row * at->q_row, at->q_row, t->n, t->columns, t->n_keys, dim, t->p);
    scores(back, d_mean + t->row * at->q_row, at->q_row, t->n, values, t->n_keys, dim, t->ds);
    for (int32_t i = 0; i < t->n; i++) {
        const float *d = d_mean + (t->row + i) * at->q_row;
        const float *mean = at->mean + (t->row + i) * at->q_row;
        const float log_sum = at->log_sum[(t->row + i) * at->log_row];
        const int32_t seen = least(t->n_keys, t->row + i - t->key + 1);
        float *p = t->p + i * TILE, *ds = t->ds + i * TILE, dot = 0.0f;
        for (int32_t c = 0; c < dim; c++)
            dot += d[c] * mean[c];
        for (int32_t j = 0; j < t->n_keys; j++) {
            p[j] = j < seen ? expf(p[j] - log_sum) : 0.0f;
            ds[j] = p[j] * (ds[j] - dot);
        }
    }
}

/* out[j] += sum over i of weights[i, j] rows[i]; or with roles exchanged, out[i] += weights[i, j]
 * rows[j]. */
static void mix(const sluice_back *back, const float *weights, bool by_column, int32_t n,
                int32_t depth, const float *rows, int64_t stride, float *out, int64_t out_row)
{
    back->ops->gemm(&(sluice_gemm){.m = n,
                                   .n = back->geometry.head_dim,
                                   .k = depth,
                                   .a = weights,
                                   .a_row = by_column ? 1 : TILE,
                                   .a_col = by_column ? TILE : 1,
                                   .b = rows,
                                   .b_row = stride,
                                   .b_block = 16,
                                   .c = out,
                                   .c_row = out_row,
                                   .accumulate = 1});
}

static void backward_task(void *context, int32_t task, int worker)
{
    const attention_job *job = context;
    const sluice_back *back = job->back;
    const sluice_geometry *g = &back->geometry;
    const sluice_back_attention_kept *kept = &back->attention;
    const int64_t dim = g->head_dim, first = job->segments[task / g->heads].row;
    const int64_t query = first * g->heads + task % g->heads;
    const int64_t own = (task % g->heads * (int64_t)back->rows_max + first) * dim;
    const head at = head_of(job, task);
    const float *d_mean = kept->d_out + query * dim;
    float *d_q = kept->d_q + query * 2 * dim;
    float *d_k = kept->d_k_own + own, *d_v = kept->d_v_own + own;
    tile t = {.columns = back->workers[worker].memory};
    t.p = t.columns + 2 * dim * TILE;
    t.ds = t.p + TILE * TILE;
    for (int32_t i = 0; i < at.count; i++)
        memset(d_q + i * 2 * at.q_row, 0, (size_t)dim * sizeof *d_q);
    memset(d_k, 0, (size_t)at.count * (size_t)dim * sizeof *d_k);
    memset(d_v, 0, (size_t)at.count * (size_t)dim * sizeof *d_v);
    for (t.key = 0; t.key < at.count; t.key += TILE) {
        t.n_keys = least(TILE, at.count - t.key);
        as_columns(at.k + t.key * at.k_row, at.k_row, t.n_keys, (int32_t)dim, t.columns);
        as_columns(at.v + t.key * at.k_row, at.k_row, t.n_keys, (int32_t)dim,
                   t.columns + dim * TILE);
        for (t.row = t.key; t.row < at.count; t.row += TILE) {
            t.n = least(TILE, at.count - t.row);
            tile_weights(back, &at, d_mean, &t);
            mix(back, t.p, true, t.n_keys, t.n, d_mean + t.row * at.q_row, at.q_row,
                d_v + t.key * dim, dim);
            mix(back, t.ds, true, t.n_keys, t.n, at.q + t.row * at.q_row, at.q_row,
                d_k + t.key * dim, dim);
            mix(back, t.ds, false, t.n, t.n_keys, at.k + t.key * at.k_row, at.k_row,
                d_q + t.row * 2 * at.q_row, 2 * at.q_row);
        }
    }
}

static void gate_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const sluice_geometry *g = &back->geometry;
    const sluice_back_attention_kept *kept = &back->attention;
    const int64_t dim = g->head_dim;
    (void)context;
    for (int64_t h = (int64_t)begin * g->heads; h < (int64_t)end * g->heads; h++) {
        memcpy(scratch, kept->q + h * 2 * dim + dim, (size_t)dim * sizeof *scratch);
        back->ops->sigmoid(scratch, (int32_t)dim);
        for (int64_t d = 0; d < dim; d++)
            kept->out[h * dim + d] = kept->mean[h * dim + d] * scratch[d];
    }
}

/* d_out becomes the gradient of the mean; the gate's goes into its half of d_q. */
static void gate_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                           float *scratch)
{
    const sluice_geometry *g = &back->geometry;
    const sluice_back_attention_kept *kept = &back->attention;
    const int64_t dim = g->head_dim;
    (void)context;
    for (int64_t h = (int64_t)begin * g->heads; h < (int64_t)end * g->heads; h++) {
        memcpy(scratch, kept->q + h * 2 * dim + dim, (size_t)dim * sizeof *scratch);
        back->ops->sigmoid(scratch, (int32_t)dim);
        for (int64_t d = 0; d < dim; d++) {
            const float open = scratch[d], dy = kept->d_out[h * dim + d];
            kept->d_q[h * 2 * dim + dim + d] = dy * kept->mean[h * dim + d] * open * (1.0f - open);
            kept->d_out[h * dim + d] = dy * open;
        }
    }
}

void sluice_back_attention_forward(sluice_back *back, const sluice_attention_weights *w,
                                   const sluice_segment *segments, int32_t n_segments, int32_t n,
                                   const float *h, float *out)
{
    const sluice_geometry *g = &back->geometry;
    sluice_back_attention_kept *kept = &back->attention;
    attention_job job = {back, w, segments};
    sluice_back_norm_forward(back, h, w->norm, n, kept->x);
    sluice_back_linear_forward(back, &w->q, kept->x, n, kept->q);
    sluice_back_linear_forward(back, &w->k, kept->x, n, kept->k);
    sluice_back_linear_forward(back, &w->v, kept->x, n, kept->v);
    fill_angles(back, segments, n_segments);
    sluice_attention_weights norms = *w;
    sluice_back_rows(back, n, turn_rows, &norms);
    sluice_pool_run(back->pool, forward_task, &job, n_segments * g->heads);
    sluice_back_rows(back, n, gate_rows, NULL);
    sluice_back_linear_forward(back, &w->o, kept->out, n, out);
    const size_t count = (size_t)n * (size_t)g->hidden;
    for (size_t i = 0; i < count; i++)
        out[i] += h[i];
}

void sluice_back_attention(sluice_back *back, const sluice_attention_weights *w,
                           const sluice_back_attention_entries *entries,
                           const sluice_segment *segments, int32_t n_segments, int32_t n,
                           const float *h, float *dh)
{
    const sluice_geometry *g = &back->geometry;
    sluice_back_attention_kept *kept = &back->attention;
    attention_job job = {back, w, segments};
    sluice_attention_weights norms = *w;
    memset(kept->d_out, 0,
           (size_t)n * (size_t)g->heads * (size_t)g->head_dim * sizeof *kept->d_out);
    sluice_back_linear(back, &w->o, entries->o, kept->out, dh, n, kept->d_out);
    sluice_back_rows(back, n, gate_rows_back, NULL);
    sluice_pool_run(back->pool, backward_task, &job, n_segments * g->heads);
    sluice_back_rows(back, n, turn_rows_back, &norms);
    memset(back->d_x, 0, (size_t)n * (size_t)g->hidden * sizeof *back->d_x);
    sluice_back_linear(back, &w->q, entries->q, kept->x, kept->d_q, n, back->d_x);
    sluice_back_linear(back, &w->k, entries->k, kept->x, kept->d_k, n, back->d_x);
    sluice_back_linear(back, &w->v, entries->v, kept->x, kept->d_v, n, back->d_x);
    sluice_back_norm(back, h, w->norm, back->d_x, n, dh);
}
