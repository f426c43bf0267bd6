/* The backward of the model's operations on the CPU: what its files share.
 *
 * What: for each block of a layer, two functions. `forward` runs the block again from its input and
 * keeps what its gradient needs; the other takes the gradient of the block's output to that of its
 * input and adds to the gradients of the adapters on its matrices. Only adapters are trained, so a
 * matrix of the model needs no gradient of its own: a product with its transpose is all, and that
 * runs over pieces of a panel in cache, never over a whole weight in f32.
 *
 * Results depend on no thread count: a task computes its outputs alone, sums run in one order, and
 * where several tasks add to the same place each has its own copy, added up in order afterwards.
 *
 * Source of the formulas: attention as in Dao et al. 2022 (FlashAttention, its backward), the delta
 * rule by reversing the chunked form of Yang et al. 2024 (back_delta.c says how).
 *
 * What it does not do: read experts, know layers, or decide what is needed (pass.h does). */
#ifndef SLUICE_TRAIN_BACK_H
#define SLUICE_TRAIN_BACK_H

#include "adapter/adapter.h"
#include "backend/backend.h"
#include "base/memory.h"
#include "base/pool.h"
#include "kernels/gdn_head.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

#define SLUICE_BACK_TILE                                                                           \
    64 /* positions of a tile of attention, of a block of the delta rule, and                      \
        * rows of a task of a product with a transpose */
#define SLUICE_BACK_COLS 128  /* columns of a weight unpacked at a time */
#define SLUICE_BACK_DEPTH 128 /* and rows */
#define SLUICE_BACK_ROWS_TASK 8
#define SLUICE_BACK_HEAD_ROWS_MAX 256 /* rows whose logits are in memory at a time */

/* Scratch of one worker: the largest of what an operation asks for. */
typedef struct sluice_back_worker {
    float *memory;
} sluice_back_worker;

/* What the attention block keeps; R = rows, D = head_dim. */
typedef struct sluice_back_attention_kept {
    float *x;                            /* [R, hidden], normed */
    float *q;                            /* [R, heads, 2 D], query then gate, as projected */
    float *k, *v;                        /* [R, kv_heads, D], as projected */
    float *q_turned;                     /* [R, heads, D], normed, turned and scaled by D^-1/2 */
    float *k_turned;                     /* [R, kv_heads, D] */
    float *mean;                         /* [R, heads, D], attention before its gate */
    float *log_sum;                      /* [R, heads], log of the sum of exp(score) */
    float *out;                          /* [R, heads, D], gated */
    float *cosines, *sines, *sines_back; /* [R, rotary_dim / 2]; sines_back = -sines */
    /* backward */
    float *d_out;             /* [R, heads, D] */
    float *d_q;               /* [R, heads, 2 D] */
    float *d_k_own, *d_v_own; /* [heads, R, D], each query head's own */
    float *d_k, *d_v;         /* [R, kv_heads, D] */
} sluice_back_attention_kept;

/* What the delta rule's block keeps; C = channels of qkv, V = v_heads * v_dim. */
typedef struct sluice_back_gdn_kept {
    float *x;        /* [R, hidden], normed */
    float *qkv;      /* [R, C], before the convolution */
    float *mixed;    /* [R, C], after it, queries and keys normed */
    float *z;        /* [R, V] */
    float *a, *b;    /* [R, v_heads], as projected */
    float *g, *beta; /* [R, v_heads] */
    float *o;        /* [R, V], before the norm */
    float *out;      /* [R, V], normed and gated */
    /* backward */
    float *d_out;     /* [R, V], then of o */
    float *d_z;       /* [R, V] */
    float *d_mixed;   /* [R, C], then before SiLU */
    float *d_qkv;     /* [R, C] */
    float *d_a, *d_b; /* [R, v_heads]; of g and beta first */
} sluice_back_gdn_kept;

/* Scratch of one expert on some rows; W = the wider of routed and shared experts. */
typedef struct sluice_back_moe_kept {
    float *x;                     /* [R, hidden], normed */
    float *d_x;                   /* [R, hidden] */
    float *gathered, *d_gathered; /* [R, hidden] */
    float *d_gathered_x;          /* [R, hidden] */
    float *gate, *up, *act;       /* [R, W] */
    float *sigmoid, *d_act;       /* [R, W] */
    float *logits;                /* [R, experts]: gradients of the router's */
    float *scale, *d_scale; /* [R]: the weight of an expert's output in each row, its gradient */
} sluice_back_moe_kept;

typedef struct sluice_back {
    sluice_geometry geometry;
    sluice_pool *pool; /* not owned */
    sluice_budget *budget;
    sluice_kernels kernels;
    const sluice_ops *ops;
    int32_t rows_max, head_rows; /* head_rows: rows whose logits are in memory at a time */
    float *inverse_frequencies;  /* [rotary_dim / 2] */

    float *transposed; /* a gradient [n, rows] by blocks of 16 rows of n: [n/16, rows16, 16] */
    float *middle, *d_middle;               /* [R, rank]: A x and scale * B dy of a low-rank term */
    float *d_x;                             /* [R, hidden] */
    float *head_x, *head_logits, *head_d_x; /* [head_rows, hidden], [head_rows, vocab] */
    sluice_back_worker *workers;            /* [threads] */
    sluice_back_attention_kept attention;   /* shares memory with gdn: one block at a time */
    sluice_back_gdn_kept gdn;
    sluice_back_moe_kept moe;
    void *memory;
    size_t memory_bytes;
} sluice_back;

typedef struct sluice_back_options {
    sluice_pool *pool;
    uint32_t cpu_flags;
    int32_t rows_max;
    int32_t rank_max;    /* the largest rank of a term beside a matrix */
    int32_t segment_max; /* the longest sequence */
    sluice_budget *budget;
} sluice_back_options;

/* All scratch is taken here, charged as "training". */
sluice_status sluice_back_new(const sluice_geometry *geometry, const sluice_back_options *options,
                              sluice_back **out, sluice_error *err);
void sluice_back_free(sluice_back *back);
/* Bytes that new charges. */
uint64_t sluice_back_bytes(const sluice_geometry *geometry, int32_t rows_max, int32_t rank_max,
                           int32_t segment_max, int threads);

/* Floats of a worker's scratch that the delta rule takes (back_delta.c). */
int64_t sluice_back_delta_scratch(const sluice_geometry *g, int32_t segment_max);

/* back_rows.c */

/* fn for every task of SLUICE_BACK_ROWS_TASK rows. */
typedef void (*sluice_back_rows_fn)(const sluice_back *back, void *context, int32_t begin,
                                    int32_t end, float *scratch);
void sluice_back_rows(sluice_back *back, int32_t n, sluice_back_rows_fn fn, void *context);

/* y = rmsnorm(x), n rows of cols. */
void sluice_back_norm_forward(sluice_back *back, const float *x, const float *weight, int32_t n,
                              float *y);
/* dx += the gradient of rmsnorm: rows of the hidden size. */
void sluice_back_norm(sluice_back *back, const float *x, const float *weight, const float *dy,
                      int32_t n, float *dx);
/* One row, *into* dx (+= if add). */
void sluice_back_norm_row(const float *x, const float *weight, float eps, int32_t n,
                          const float *dy, bool add, float *dx);

/* back_linear.c */

/* y = W x and W's low-rank terms; x: [n, cols], y: [n, rows]. */
void sluice_back_linear_forward(sluice_back *back, const sluice_weight *w, const float *x,
                                int32_t n, float *y);
/* From dy [n, rows] to dx [n, cols], added to what is there; NULL: not wanted. entry, if not NULL:
 * its gradients grow by what x (the product's input) and dy give. */
void sluice_back_linear(sluice_back *back, const sluice_weight *w,
                        const sluice_adapter_entry *entry, const float *x, const float *dy,
                        int32_t n, float *dx);

/* The blocks: h and out are [n, hidden]; dh is the gradient of the output and becomes the input's.
 */

typedef struct sluice_back_attention_entries {
    const sluice_adapter_entry *q, *k, *v, *o; /* NULL: not trained */
} sluice_back_attention_entries;
void sluice_back_attention_forward(sluice_back *back, const sluice_attention_weights *w,
                                   const sluice_segment *segments, int32_t n_segments, int32_t n,
                                   const float *h, float *out);
void sluice_back_attention(sluice_back *back, const sluice_attention_weights *w,
                           const sluice_back_attention_entries *entries,
                           const sluice_segment *segments, int32_t n_segments, int32_t n,
                           const float *h, float *dh);

typedef struct sluice_back_gdn_entries {
    const sluice_adapter_entry *qkv, *z, *b, *a, *out;
} sluice_back_gdn_entries;
void sluice_back_gdn_forward(sluice_back *back, const sluice_gdn_weights *w,
                             const sluice_segment *segments, int32_t n_segments, int32_t n,
                             const float *h, float *out);
void sluice_back_gdn(sluice_back *back, const sluice_gdn_weights *w,
                     const sluice_back_gdn_entries *entries, const sluice_segment *segments,
                     int32_t n_segments, int32_t n, const float *h, float *dh);

/* The delta rule of one value head of one segment, from the gradient of its outputs to those of its
 * inputs; see sluice_gdn_head for the shapes. d_q and d_k are added to (heads share them). */
typedef struct sluice_back_delta {
    const float *q, *k; /* stride qk_row */
    const float *v;
    int64_t qk_row; /* of v too */
    const float *g, *beta;
    int64_t gate_row;
    const float *d_o;
    int64_t o_row;
    float *d_q, *d_k, *d_v; /* stride qk_row */
    float *d_g, *d_beta;    /* stride gate_row */
    int32_t count;
    float *scratch; /* sluice_back_delta_scratch floats */
} sluice_back_delta;
void sluice_back_delta_run(const sluice_back *back, const sluice_back_delta *delta);

typedef struct sluice_back_expert_entries {
    const sluice_adapter_entry *gate, *up, *down;
} sluice_back_expert_entries;

/* One expert on m rows whose output enters its row with weight scale[i]: x [m, hidden] its inputs,
 * dy [m, hidden] the gradient of the rows. Writes d_scale [m]; adds to dx [m, hidden] unless it is
 * NULL. */
void sluice_back_expert(sluice_back *back, const sluice_expert_weights *w,
                        const sluice_back_expert_entries *entries, const float *x, const float *dy,
                        const float *scale, int32_t m, float *d_scale, float *dx);
/* The shared expert with its gate on all rows. */
void sluice_back_shared(sluice_back *back, const sluice_shared_weights *w,
                        const sluice_back_expert_entries *entries, const float *x, const float *dy,
                        int32_t n, float *dx);
/* Router, softmax and renormalisation over the k chosen experts: ids, weights and d_weights are
 * [n, k], entries of weight zero were not chosen. Adds to dx. */
void sluice_back_router(sluice_back *back, const sluice_router_weights *w, const int32_t *ids,
                        const float *weights, const float *d_weights, int32_t n, int32_t k,
                        float *dx);

/* loss.c */

/* The sum of the cross-entropy of the n rows of h that have a target >= 0, and how many there are.
 * dh, if not NULL, receives scale times its gradient, for all n rows. */
double sluice_back_loss(sluice_back *back, const float *norm, const sluice_weight *head,
                        const float *h, const int32_t *targets, int32_t n, float scale, float *dh,
                        int32_t *counted);

#endif
