/* The one seam between the model and whatever computes it.
 *
 * What: a table of operations on row blocks. The model calls this table and nothing else; the CPU
 * implements it in kernels/, a GPU in cuda/. An operation is as large as its data is private (a
 * whole attention block, one expert on some rows), so that fusion, quantised activations and the
 * choice of kernel by the number of rows stay inside it.
 *
 * A matrix may carry low-rank terms (adapters, quant/low_rank.h): every operation that multiplies
 * by it adds them, but embed, router and head, whose matrices have none.
 *
 * The rule that everything rests on: a row's result never depends on its neighbours in the step, on
 * the number of threads, or on the order in which operations on other rows ran. Inner dimensions
 * are accumulated in one fixed order whatever the number of rows.
 *
 * Threads: one thread drives a backend; an operation returns when it is done and uses the backend's
 * own workers. No operation allocates: scratch is taken when the backend is made, for at most
 * rows_max rows a step.
 *
 * What it does not do: decide which experts run, or where their bytes come from. */
#ifndef SLUICE_BACKEND_BACKEND_H
#define SLUICE_BACKEND_BACKEND_H

#include "base/status.h"
#include "quant/weight.h"

typedef struct sluice_backend sluice_backend;

/* Memory of a backend: rows of f32, row-major, or bytes of sequence state. */
typedef struct sluice_buffer sluice_buffer;

/* Sizes that operations need besides their weights. Filled from config.json. */
typedef struct sluice_geometry {
    int32_t hidden, vocab, layers;
    float rms_eps;
    /* full attention */
    int32_t heads, kv_heads, head_dim, rotary_dim;
    double rope_theta;
    /* Gated DeltaNet */
    int32_t gdn_k_heads, gdn_v_heads, gdn_k_dim, gdn_v_dim, conv_width;
    /* mixture of experts */
    int32_t experts, top_k, expert_width, shared_width;
    int32_t context_max;
    int32_t low_rank; /* the most that the ranks of one matrix's low-rank terms sum up to */
} sluice_geometry;

/* Consecutive positions of one sequence in a step: rows [row, row+count) are positions
 * [position, position+count). A sequence has at most one segment in a step. */
typedef struct sluice_segment {
    int32_t row, count;
    int32_t position;
} sluice_segment;

/* Keys are kept in blocks of 16 positions, so that the scores of 16 positions are 16 lanes. */
#define SLUICE_KV_BLOCK 16
static inline int32_t sluice_kv_positions(int32_t positions)
{
    return (positions + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK * SLUICE_KV_BLOCK;
}

/* How keys and values are kept: f16 rounds them to nearest even, +-65504 at most; int8 turns each
 * vector by a Hadamard matrix, which leaves no element far above the others, and rounds it to codes
 * of -127..127 with one scale, max|x| / 127. */
typedef enum sluice_kv_type { SLUICE_KV_F32, SLUICE_KV_F16, SLUICE_KV_INT8 } sluice_kv_type;
/* Elements that a vector takes in int8: what is added is zero. */
static inline int32_t sluice_kv_padded(int32_t head_dim)
{
    return (head_dim + 15) / 16 * 16;
}
/* Bytes of one position's key, or value, of one head, on average over a block. */
static inline size_t sluice_kv_bytes(sluice_kv_type type, int32_t head_dim)
{
    if (type == SLUICE_KV_INT8) return (size_t)sluice_kv_padded(head_dim) + sizeof(float);
    return (size_t)head_dim * (type == SLUICE_KV_F16 ? 2 : 4);
}

/* Positions of a block that GDN runs in chunked form. */
#define SLUICE_GDN_BLOCK 64

/* One layer's memory of one sequence; offsets in bytes into the buffer, 64-byte aligned.
 * attention: k is [kv_heads, capacity / 16, head_dim, 16], 16 positions in the lanes (position p is
 *      lane p % 16 of block p / 16); v is [kv_heads, capacity, head_dim]; both of type kv. capacity
 *      is a multiple of SLUICE_KV_BLOCK. In both, a head's first p positions lie in its first
 *      sluice_kv_positions(p) * sluice_kv_bytes bytes: copy that many, never p * sluice_kv_bytes.
 *      int8: both are blocks of 16 positions, each with 16 scales (f32) after its codes. With D =
 *      sluice_kv_padded(head_dim), a block of k is [D / 4, 16 positions, 4] of code + 128 (u8), one
 *      of v [D / 16, 4, 16 elements, 4 positions] of codes: four codes of a lane are one operand of
 *      an integer dot.
 * gdn: conv is [conv_width - 1, channels] f32 (oldest first, inputs before the convolution);
 *      s is [v_heads, k_dim, v_dim] f32. */
typedef struct sluice_layer_state {
    sluice_buffer *memory;
    size_t k, v;
    int32_t capacity;
    sluice_kv_type kv;
    size_t conv, s;
} sluice_layer_state;

/* All norm vectors hold the multiplier (1 + w is already added where the source holds w). */
typedef struct sluice_attention_weights {
    const float *norm;            /* [hidden], before the block */
    sluice_weight q, k, v, o;     /* q: [heads * 2 * head_dim, hidden], per head query then gate */
    const float *q_norm, *k_norm; /* [head_dim] */
} sluice_attention_weights;

typedef struct sluice_gdn_weights {
    const float *norm;               /* [hidden] */
    sluice_weight qkv, z, b, a, out; /* qkv rows: k_heads*k_dim q, the same of k, v_heads*v_dim v */
    const float *conv;               /* [channels, conv_width], channels = rows of qkv */
    const float *decay;              /* [v_heads], -exp(A_log) */
    const float *dt_bias;            /* [v_heads] */
    const float *out_norm;           /* [v_dim], plain multiplier */
} sluice_gdn_weights;

typedef struct sluice_router_weights {
    const float *norm;    /* [hidden], after the mixer */
    sluice_weight router; /* [experts, hidden] */
} sluice_router_weights;

typedef struct sluice_expert_weights {
    sluice_weight gate, up, down; /* [width, hidden], [width, hidden], [hidden, width] */
    /* For observers alone: whose they are (shares is NULL for a shared expert), and the weight in
     * the sum of what goes into each slot. */
    int32_t layer, id;
    const float *shares;
} sluice_expert_weights;

typedef struct sluice_shared_weights {
    sluice_expert_weights expert;
    sluice_weight gate; /* [1, hidden] */
} sluice_shared_weights;

/* One expert of a layer on some rows of a step. */
typedef struct sluice_expert_call {
    sluice_expert_weights weights;
    const int32_t *rows, *slots; /* [m]; m is at most rows_max */
    int32_t m;
} sluice_expert_call;

/* Somebody who watches what enters the matrices, to weigh quantisation by it. Called in the thread
 * that drives the backend, once an operation; rows are valid during the call. A backend may have no
 * observers. */
typedef struct sluice_observer {
    void *context;
    /* x [n, cols] is multiplied by w: any matrix but those of experts. */
    void (*matrix)(void *context, const sluice_weight *w, int32_t n, const float *x);
    /* x [n, hidden] entered gate and up, inner [n, width] down. Row i counts shares[slots[i]] in
     * the sum, or shares[i] where slots is NULL (a shared expert). */
    void (*expert)(void *context, const sluice_expert_weights *w, int32_t n, const float *x,
                   const float *inner, const float *shares, const int32_t *slots);
} sluice_observer;

struct sluice_backend {
    const char *name;
    const sluice_observer *observer; /* not owned; NULL, as a backend is made: nobody watches */

    /* Memory. new: zeroed, charged to the budget given at creation. read/write: byte ranges,
     * between host memory and the buffer. copy: within or between buffers. */
    sluice_status (*buffer_new)(sluice_backend *be, size_t bytes, const char *tag,
                                sluice_buffer **out, sluice_error *err);
    void (*buffer_free)(sluice_backend *be, sluice_buffer *buffer);
    void (*buffer_read)(sluice_backend *be, const sluice_buffer *from, size_t offset, void *to,
                        size_t bytes);
    void (*buffer_write)(sluice_backend *be, sluice_buffer *to, size_t offset, const void *from,
                         size_t bytes);
    void (*buffer_copy)(sluice_backend *be, sluice_buffer *to, size_t to_offset,
                        const sluice_buffer *from, size_t from_offset, size_t bytes);

    /* h[i] = row tokens[i] of table, i < n. h: [n, hidden]. */
    void (*embed)(sluice_backend *be, const sluice_weight *table, const int32_t *tokens, int32_t n,
                  sluice_buffer *h);

    /* h += attention(rmsnorm(h)) for all rows of the segments; reads and extends states[s] (one per
     * segment). Source: Qwen3.5 gated attention, see doc/architecture.md. */
    void (*attention)(sluice_backend *be, const sluice_attention_weights *w,
                      const sluice_segment *segments, const sluice_layer_state *states,
                      int32_t n_segments, int32_t n, sluice_buffer *h);

    /* h += gdn(rmsnorm(h)). Whole blocks of 64 positions, counted from the start of the sequence,
     * run in the chunked form when they lie inside one segment; all other positions run step by
     * step. */
    void (*gdn)(sluice_backend *be, const sluice_gdn_weights *w, const sluice_segment *segments,
                const sluice_layer_state *states, int32_t n_segments, int32_t n, sluice_buffer *h);

    /* x = rmsnorm(h); p = softmax(router x) in f32 over all experts; the k largest of each row,
     * ties to the lower index, into ids[n*k] and probs[n*k] (host; not renormalised), largest
     * first. If all_probs is not NULL it receives [n, experts]. */
    void (*router)(sluice_backend *be, const sluice_router_weights *w, int32_t n, int32_t k,
                   const sluice_buffer *h, sluice_buffer *x, int32_t *ids, float *probs,
                   float *all_probs);

    /* y[slots[i]] = expert(x[rows[i]]), i < m, for each of n experts of one layer (several at once,
     * since small ones are not worth a wake of the workers each). y: [slots, hidden]. The weights
     * are in host memory and valid during the call. */
    void (*experts)(sluice_backend *be, const sluice_expert_call *calls, int32_t n,
                    const sluice_buffer *x, sluice_buffer *y);

    /* y[i] = sigmoid(gate x[i]) * expert(x[i]). y: [n, hidden]. */
    void (*shared_expert)(sluice_backend *be, const sluice_shared_weights *w, int32_t n,
                          const sluice_buffer *x, sluice_buffer *y);

    /* h[i] += shared[i] + sum over j < k, in order, of weights[i*k+j] * y[i*k+j]; entries with
     * weight zero are not read. */
    void (*combine)(sluice_backend *be, int32_t n, int32_t k, const float *weights,
                    const sluice_buffer *y, const sluice_buffer *shared, sluice_buffer *h);

    /* logits[i] = head rmsnorm(h[rows[i]]), i < m; logits: [m, vocab] in host memory. normed, if
     * not NULL, receives the normed rows ([m, hidden]). */
    void (*head)(sluice_backend *be, const float *norm, const sluice_weight *head,
                 const int32_t *rows, int32_t m, const sluice_buffer *h, float *logits,
                 sluice_buffer *normed);

    void (*free)(sluice_backend *be);
};

#endif
