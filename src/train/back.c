/* Where the scratch of the backward lies, and making it (see back.h).
 *
 * One allocation:
 *   | transposed | middles | head | workers | moe | then the larger of attention and gdn |
 * A layer's mixer keeps its values while the experts of the layer run backward, so only the two
 * kinds of mixer share their memory. */
#include "train/back.h"

#include <math.h>
#include <stdlib.h>

#define LINE 64
#define HEAD_BYTES ((int64_t)32 << 20) /* of logits in memory at a time, about */
#define HEAD_ROWS_MIN 16

typedef struct carver {
    unsigned char *base;
    size_t used;
} carver;

static void *carve(carver *from, int64_t count, size_t size)
{
    void *at = from->base ? from->base + from->used : NULL;
    from->used += ((size_t)count * size + LINE - 1) / LINE * LINE;
    return at;
}

static float *floats(carver *from, int64_t count)
{
    return carve(from, count, sizeof(float));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t lanes(int64_t n)
{
    return (n + 15) / 16 * 16;
}

static int32_t head_rows(const sluice_geometry *g, int32_t rows_max)
{
    int64_t rows = HEAD_BYTES / ((int64_t)sizeof(float) * g->vocab);
    if (rows < HEAD_ROWS_MIN) rows = HEAD_ROWS_MIN;
    if (rows > SLUICE_BACK_HEAD_ROWS_MAX) rows = SLUICE_BACK_HEAD_ROWS_MAX;
    return rows < rows_max ? (int32_t)rows : rows_max;
}

/* Outputs of the widest matrix of a layer. */
static int64_t widest(const sluice_geometry *g)
{
    int64_t width = larger(g->hidden, g->experts);
    width = larger(width, larger(g->expert_width, g->shared_width));
    width = larger(width, (int64_t)2 * g->heads * g->head_dim);
    return larger(width, sluice_gdn_channels(g));
}

static int64_t worker_floats(const sluice_geometry *g, int32_t segment_max)
{
    const int64_t tile = SLUICE_BACK_TILE;
    int64_t most = SLUICE_BACK_COLS * (SLUICE_BACK_DEPTH + tile);             /* back_linear.c */
    most = larger(most, 2 * tile * tile + 2 * tile * g->head_dim + 4 * tile); /* back_attention.c */
    most = larger(most, 2 * lanes(sluice_gdn_channels(g)));                   /* back_gdn.c */
    most = larger(most, lanes(g->gdn_v_dim));
    return larger(most, sluice_back_delta_scratch(g, segment_max));
}

static void lay_out_attention(const sluice_geometry *g, int64_t rows, carver *from,
                              sluice_back_attention_kept *kept)
{
    const int64_t queries = rows * g->heads * g->head_dim, keys = rows * g->kv_heads * g->head_dim;
    kept->x = floats(from, rows * g->hidden);
    kept->q = floats(from, 2 * queries);
    kept->k = floats(from, keys);
    kept->v = floats(from, keys);
    kept->q_turned = floats(from, queries);
    kept->k_turned = floats(from, keys);
    kept->mean = floats(from, queries);
    kept->log_sum = floats(from, rows * g->heads);
    kept->out = floats(from, queries);
    kept->cosines = floats(from, rows * (g->rotary_dim / 2));
    kept->sines = floats(from, rows * (g->rotary_dim / 2));
    kept->sines_back = floats(from, rows * (g->rotary_dim / 2));
    kept->d_out = floats(from, queries);
    kept->d_q = floats(from, 2 * queries);
    kept->d_k_own = floats(from, queries);
    kept->d_v_own = floats(from, queries);
    kept->d_k = floats(from, keys);
    kept->d_v = floats(from, keys);
}

static void lay_out_gdn(const sluice_geometry *g, int64_t rows, carver *from,
                        sluice_back_gdn_kept *kept)
{
    const int64_t channels = rows * sluice_gdn_channels(g), heads = rows * g->gdn_v_heads;
    const int64_t values = heads * g->gdn_v_dim;
    kept->x = floats(from, rows * g->hidden);
    kept->qkv = floats(from, channels);
    kept->mixed = floats(from, channels);
    kept->z = floats(from, values);
    kept->a = floats(from, heads);
    kept->b = floats(from, heads);
    kept->g = floats(from, heads);
    kept->beta = floats(from, heads);
    kept->o = floats(from, values);
    kept->out = floats(from, values);
    kept->d_out = floats(from, values);
    kept->d_z = floats(from, values);
    kept->d_mixed = floats(from, channels);
    kept->d_qkv = floats(from, channels);
    kept->d_a = floats(from, heads);
    kept->d_b = floats(from, heads);
}

static void lay_out_moe(const sluice_geometry *g, int64_t rows, carver *from,
                        sluice_back_moe_kept *kept)
{
    const int64_t inner = rows * larger(g->expert_width, g->shared_width);
    kept->x = floats(from, rows * g->hidden);
    kept->d_x = floats(from, rows * g->hidden);
    kept->gathered = floats(from, rows * g->hidden);
    kept->d_gathered = floats(from, rows * g->hidden);
    kept->d_gathered_x = floats(from, rows * g->hidden);
    kept->gate = floats(from, inner);
    kept->up = floats(from, inner);
    kept->act = floats(from, inner);
    kept->sigmoid = floats(from, inner);
    kept->d_act = floats(from, inner);
    kept->logits = floats(from, rows * g->experts);
    kept->scale = floats(from, rows);
    kept->d_scale = floats(from, rows);
}

static size_t lay_out(sluice_back *back, int32_t rank_max, int32_t segment_max, int threads,
                      void *base)
{
    const sluice_geometry *g = &back->geometry;
    const int64_t rows = back->rows_max, head = back->head_rows;
    carver from = {base, 0};
    back->transposed =
        floats(&from, larger(lanes(rows) * lanes(widest(g)), lanes(head) * lanes(g->vocab)));
    back->middle = floats(&from, rows * rank_max);
    back->d_middle = floats(&from, rows * rank_max);
    back->d_x = floats(&from, rows * g->hidden);
    back->head_x = floats(&from, head * g->hidden);
    back->head_logits = floats(&from, head * g->vocab);
    back->head_d_x = floats(&from, head * g->hidden);
    back->workers = carve(&from, threads, sizeof *back->workers);
    for (int i = 0; i < threads; i++) {
        float *memory = floats(&from, worker_floats(g, segment_max));
        if (base) back->workers[i].memory = memory;
    }
    lay_out_moe(g, rows, &from, &back->moe);
    carver attention = from, gdn = from;
    lay_out_attention(g, rows, &attention, &back->attention);
    lay_out_gdn(g, rows, &gdn, &back->gdn);
    return attention.used > gdn.used ? attention.used : gdn.used;
}

uint64_t sluice_back_bytes(const sluice_geometry *geometry, int32_t rows_max, int32_t rank_max,
                           int32_t segment_max, int threads)
{
    sluice_back back = {
        .geometry = *geometry, .rows_max = rows_max, .head_rows = head_rows(geometry, rows_max)};
    return lay_out(&back, rank_max, segment_max, threads, NULL);
}

/* As the backend's, rounded at each step. */
static sluice_status take_frequencies(sluice_back *back, sluice_error *err)
{
    const sluice_geometry *g = &back->geometry;
    const int32_t half = g->rotary_dim / 2;
    back->inverse_frequencies = calloc((size_t)half + 1, sizeof(float));
    if (!back->inverse_frequencies)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d RoPE frequencies", half);
    for (int32_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)g->rotary_dim;
        back->inverse_frequencies[i] = 1.0f / (float)pow(g->rope_theta, (double)exponent);
    }
    return SLUICE_OK;
}

sluice_status sluice_back_new(const sluice_geometry *geometry, const sluice_back_options *options,
                              sluice_back **out, sluice_error *err)
{
    const int threads = sluice_pool_threads(options->pool);
    sluice_back *back = calloc(1, sizeof *back);
    if (!back) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the backward pass");
    back->geometry = *geometry;
    back->pool = options->pool;
    back->budget = options->budget;
    back->rows_max = options->rows_max;
    back->head_rows = head_rows(geometry, options->rows_max);
    back->ops = sluice_ops_choose(options->cpu_flags);
    sluice_kernels_select(options->cpu_flags, &back->kernels);
    back->memory_bytes = lay_out(back, options->rank_max, options->segment_max, threads, NULL);
    sluice_status status = take_frequencies(back, err);
    if (status == SLUICE_OK)
        status =
            sluice_memory_new(back->budget, back->memory_bytes, "training", &back->memory, err);
    if (status != SLUICE_OK) {
        sluice_back_free(back);
        return status;
    }
    lay_out(back, options->rank_max, options->segment_max, threads, back->memory);
    *out = back;
    return SLUICE_OK;
}

void sluice_back_free(sluice_back *back)
{
    if (!back) return;
    if (back->memory)
        sluice_memory_free(back->budget, back->memory, back->memory_bytes, "training");
    free(back->inverse_frequencies);
    free(back);
}
