/* Inside of the CPU backend, shared by the cpu_*.c files and nobody else. */
#ifndef SLUICE_KERNELS_CPU_H
#define SLUICE_KERNELS_CPU_H

#include "kernels/cpu_backend.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

#define SLUICE_CPU_TILE 16       /* rows of one segment that a task takes */
#define SLUICE_CPU_KV_CHUNK 1024 /* positions that are summed apart, then merged in order */
#define SLUICE_CPU_KV_SLOTS 64   /* chunks that wait for their merge */
#define SLUICE_CPU_KV_UNITS 8  /* with fewer (tile, head) units than this, chunks are shared out */
#define SLUICE_CPU_KV_QUERY 64 /* query vectors of a tile, about: see sluice_cpu_attention_rows */

struct sluice_buffer {
    void *memory;
    size_t bytes;
    const char *tag;
};

static inline float *sluice_cpu_floats(const sluice_buffer *buffer)
{
    return buffer->memory;
}

/* Blocks of int8 activations, chosen by the divergence from exact mode (doc/kernels.md): 16
 * columns, but 32 for what enters the experts, where it costs least and AMX gains most. */
#define SLUICE_CPU_BLOCK 16
#define SLUICE_CPU_BLOCK_EXPERT 32

/* Experts that run together, and the least rows that the scratch for them has. */
#define SLUICE_CPU_TOGETHER 16
static inline int32_t sluice_cpu_together_rows(int32_t rows_max)
{
    return rows_max > SLUICE_CPU_TOGETHER ? rows_max : SLUICE_CPU_TOGETHER;
}

/* Rows of activations on their way into matrices: f32, and the same rows as int8 if wanted. They
 * are quantised once for all matrices that read them. */
typedef struct sluice_cpu_rows {
    const float *x; /* [n, cols] */
    int32_t n, cols;
    bool quantized; /* q8 holds the rows too */
    sluice_q8 q8;
} sluice_cpu_rows;

/* Consecutive rows of one segment. */
typedef struct sluice_cpu_tile {
    int32_t segment, begin, count; /* begin counts from the segment's first row */
} sluice_cpu_tile;

/* Scratch of one worker. */
typedef struct sluice_cpu_worker {
    float *q, *scores, *wide;          /* [vectors, head_dim], [vectors, 64], [64, head_dim] */
    void *codes;                       /* sluice_attention_codes_bytes */
    sluice_attention_sums part, total; /* of [vectors] */
    float *gdn;                        /* sluice_gdn_scratch */
    const float **conv_rows;           /* [TILE + conv_width], inputs of the convolution */
} sluice_cpu_worker;

/* Scratch of the operations; R = rows_max, T = sluice_cpu_together_rows. One allocation:
 *
 *   | x y | q8 | tiles | rope | low rank | workers | slots | then the largest of           |
 *   |                                                      | attention: q k v out          |
 *   |                                                      | gdn: qkv mixed z o a b g beta |
 *   |                                                      | moe: logits gate up shared g. |
 */
typedef struct sluice_cpu_scratch {
    float *x;                   /* [T, hidden], normed, or gathered */
    float *y;                   /* [T, hidden], before it is added to h */
    void *q8;                   /* rows of whatever enters a matrix, quantised */
    sluice_cpu_tile *tiles;     /* [R] */
    float *cosines, *sines;     /* [R, rotary_dim / 2] */
    int32_t *rope_positions;    /* [R], position whose angles a row of the tables holds, or -1 */
    float *low_rank;            /* [LINEARS_MAX, R, low_rank], middles of low-rank terms */
    sluice_cpu_worker *workers; /* [threads] */
    /* attention */
    float *q;                     /* [R, heads, 2 * head_dim], query then gate */
    float *k, *v;                 /* [R, kv_heads, head_dim] */
    float *out;                   /* [R, heads, head_dim] */
    sluice_attention_sums *slots; /* [KV_SLOTS + KV_UNITS]: chunks, then units' totals */
    /* gdn */
    float *qkv, *mixed;      /* [R, channels], before and after the convolution */
    float *z, *o;            /* [R, v_heads, v_dim] */
    float *a, *b, *g, *beta; /* [R, v_heads] */
    /* moe */
    float *logits;    /* [R, experts] */
    float *gate, *up; /* [T, width] */
    float *shared;    /* [R] */
    int32_t *gather;  /* [T], rows of x */
} sluice_cpu_scratch;

typedef struct sluice_cpu {
    sluice_backend backend; /* first: the seam's pointer is this one's */
    sluice_geometry geometry;
    int32_t rows_max, threads;
    bool exact;
    sluice_pool *pool;
    sluice_budget *budget;
    sluice_kernels kernels;
    const sluice_ops *ops;
    float *inverse_frequencies; /* [rotary_dim / 2] */
    sluice_cpu_scratch scratch;
    void *memory;
    size_t memory_bytes;
} sluice_cpu;

static inline sluice_cpu *sluice_cpu_of(sluice_backend *be)
{
    return (sluice_cpu *)(void *)be;
}

/* Runs the tasks on the pool, or on the caller's thread where the work (multiply-adds, about) is
 * less than waking others costs. */
void sluice_cpu_run(sluice_cpu *cpu, sluice_pool_fn fn, void *context, int32_t tasks, int64_t work);

/* cpu_scratch.c: where everything lies; base NULL only counts. */
size_t sluice_cpu_scratch_lay_out(const sluice_geometry *g, int32_t rows_max, int threads,
                                  bool exact, void *base, sluice_cpu_scratch *scratch);

/* cpu_rows.c. readers: the matrices that will read the rows; q8: scratch for their int8 form. */
/* rows = rmsnorm(h), into x. */
void sluice_cpu_rows_norm(sluice_cpu *cpu, const float *h, const float *norm, int32_t n, float *x,
                          void *q8, const sluice_weight *const *readers, int32_t n_readers,
                          sluice_cpu_rows *rows);
/* rows = x, [n, cols]. */
void sluice_cpu_rows_of(sluice_cpu *cpu, const float *x, int32_t n, int32_t cols, int32_t block,
                        void *q8, const sluice_weight *const *readers, int32_t n_readers,
                        sluice_cpu_rows *rows);
/* rows = row from[i] of x, i < n, copied to `to`. */
void sluice_cpu_rows_gather(sluice_cpu *cpu, const float *x, const int32_t *from, int32_t n,
                            int32_t cols, int32_t block, float *to, void *q8,
                            const sluice_weight *const *readers, int32_t n_readers,
                            sluice_cpu_rows *rows);
/* Bytes of the int8 form of n rows, whatever its blocks. */
size_t sluice_cpu_rows_bytes(int32_t n, int32_t cols);

/* cpu_linear.c */
/* How a matrix is cut into tasks: panels a task, and blocks of rows. */
typedef struct sluice_cpu_cut {
    int32_t panels, panels_task, row_blocks, tasks;
    int32_t whole;   /* tasks of panels_task; those after them become smaller */
    int32_t sharers; /* 0, or what the panels left are divided by for the next task */
} sluice_cpu_cut;
typedef struct sluice_cpu_piece {
    int32_t panel_begin, panel_end, row, rows;
} sluice_cpu_piece;
/* For n rows; matrices: how many of this shape a task multiplies; last: no tasks of its size come
 * after it in the operation. */
sluice_cpu_cut sluice_cpu_cut_of(const sluice_cpu *cpu, const sluice_weight *w, int32_t n,
                                 int32_t matrices, bool last);
sluice_cpu_piece sluice_cpu_piece_of(const sluice_cpu_cut *cut, int32_t n, int32_t task);
/* The piece of W x and of its low-rank terms, whose middles are at middle (NULL: there are none):
 * y[t * ldy + output], t counted from the piece's first row. */
void sluice_cpu_linear_piece(const sluice_cpu *cpu, const sluice_weight *w,
                             const sluice_cpu_rows *rows, const sluice_cpu_piece *piece,
                             const float *middle, float *y, int64_t ldy);

#define SLUICE_CPU_LINEARS_MAX 4

/* cpu_low_rank.c */
/* t[j] = A x of all terms of weights[j], for all rows, one term after the other ([n, rank] each);
 * NULL where there are none. At most LINEARS_MAX matrices; valid until the next call. */
void sluice_cpu_low_rank_in(sluice_cpu *cpu, const sluice_cpu_rows *rows,
                            const sluice_weight *const *weights, int32_t n_weights,
                            const float **t);
/* Adds the terms' share to a piece; n: rows of t. */
void sluice_cpu_low_rank_out(const sluice_cpu *cpu, const sluice_weight *w, int32_t n,
                             const sluice_cpu_piece *piece, const float *t, float *y, int64_t ldy);

typedef struct sluice_cpu_linear {
    const sluice_weight *w;
    float *y; /* [n, w->rows] */
} sluice_cpu_linear;
/* Several matrices on the same rows, in one parallel operation. */
void sluice_cpu_linears(sluice_cpu *cpu, const sluice_cpu_rows *rows,
                        const sluice_cpu_linear *linears, int32_t n_linears);
/* h += W rows; y is scratch [n, w->rows]. */
void sluice_cpu_linear_add(sluice_cpu *cpu, const sluice_cpu_rows *rows, const sluice_weight *w,
                           float *y, float *h);

/* The tiles of some segments, at most max rows each; returns how many. */
int32_t sluice_cpu_tiles(const sluice_segment *segments, int32_t n_segments, int32_t max,
                         sluice_cpu_tile *tiles);
/* Rows of a tile of attention, so that a tile has about KV_QUERY query vectors; >= 1. */
int32_t sluice_cpu_attention_rows(const sluice_geometry *g);

/* cpu_kv.c: keys and values of one layer of one sequence. */
/* Where a head's keys (offset: the state's k) or values (v) begin. */
void *sluice_cpu_kv_head(const sluice_layer_state *state, size_t offset, int32_t head,
                         int32_t head_dim);
/* Keeps a position's key and value of one head, which are scratch afterwards. codes: of a worker.
 */
void sluice_cpu_kv_keep(const sluice_cpu *cpu, const sluice_layer_state *state, int32_t head,
                        int32_t position, float *k, float *v, void *codes);

/* The operations of the table. */
void sluice_cpu_embed(sluice_backend *be, const sluice_weight *table, const int32_t *tokens,
                      int32_t n, sluice_buffer *h);
void sluice_cpu_attention(sluice_backend *be, const sluice_attention_weights *w,
                          const sluice_segment *segments, const sluice_layer_state *states,
                          int32_t n_segments, int32_t n, sluice_buffer *h);
void sluice_cpu_gdn(sluice_backend *be, const sluice_gdn_weights *w, const sluice_segment *segments,
                    const sluice_layer_state *states, int32_t n_segments, int32_t n,
                    sluice_buffer *h);
void sluice_cpu_router(sluice_backend *be, const sluice_router_weights *w, int32_t n, int32_t k,
                       const sluice_buffer *h, sluice_buffer *x, int32_t *ids, float *probs,
                       float *all_probs);
void sluice_cpu_experts(sluice_backend *be, const sluice_expert_call *calls, int32_t n,
                        const sluice_buffer *x, sluice_buffer *y);
void sluice_cpu_shared_expert(sluice_backend *be, const sluice_shared_weights *w, int32_t n,
                              const sluice_buffer *x, sluice_buffer *y);
void sluice_cpu_combine(sluice_backend *be, int32_t n, int32_t k, const float *weights,
                        const sluice_buffer *y, const sluice_buffer *shared, sluice_buffer *h);
void sluice_cpu_head(sluice_backend *be, const float *norm, const sluice_weight *head,
                     const int32_t *rows, int32_t m, const sluice_buffer *h, float *logits,
                     sluice_buffer *normed);

#endif
