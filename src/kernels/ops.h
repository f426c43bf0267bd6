/* Row operations: everything of the forward pass that is not a matrix times rows.
 *
 * What: a table of function pointers, one table per instruction set, all compiled from the same
 * *_body.h files over the 16-lane vector (v16.h). Every f32 result is the same bit for bit in every
 * table: sums have 16 partial lanes and a fixed tree, multiply-adds are fused, exp is our own
 * polynomial.
 *
 * Pointers need no alignment and lengths are arbitrary unless said otherwise; a function reads and
 * writes exactly the elements that its arguments describe. All are pure and safe on any thread.
 *
 * What it does not do: threads, scratch, and the choice of who runs what (the cpu_*.c files). */
#ifndef SLUICE_KERNELS_OPS_H
#define SLUICE_KERNELS_OPS_H

#include <stdint.h>

#include "backend/backend.h"

/* C[i, j] = (C[i, j] +) sum over k of A[i, k] B[k, j], k ascending, one fused chain an element.
 * A[i, k] = a[i * a_row + k * a_col]; C is row-major; columns of B come in blocks of 16 lanes:
 * B[k, 16 b + l] = b[b * b_block + k * b_row + l]. n is arbitrary
 * (B is not read past column n). */
typedef struct sluice_gemm {
    int32_t m, n, k;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row, b_block;
    float *c;
    int64_t c_row;
    int32_t accumulate;
    const void *ahead; /* what the caller reads next: asked for from memory meanwhile; or NULL */
    int64_t ahead_bytes;
} sluice_gemm;

/* What a chunk of positions gives for each of some query vectors, not normalised: max is the
 * largest score, sum the sum of exp(score - max) and acc the same weighting of the values. A vector
 * that sees none of the positions has max = -FLT_MAX, sum = 0, acc = 0. */
typedef struct sluice_attention_sums {
    float *acc;       /* [count, head_dim] */
    float *max, *sum; /* [count] */
} sluice_attention_sums;

/* One chunk of cache positions for a tile of query vectors of one key-value head. Vector r * group
 * + g is query head g of the group at row r; row r sees positions [0, limit + r), limit >= 1. */
typedef struct sluice_attention_tile {
    int32_t rows, group, head_dim;
    int32_t begin, end; /* positions; begin is a multiple of 64, end may pass the limits */
    int32_t limit;
    const float *q; /* [rows * group, head_dim], scaled */
    sluice_kv_type kv;
    const void *k, *v;          /* of type kv, one head's, as backend.h has them */
    float *scores;              /* scratch [rows * group, 64] */
    float *wide;                /* f16: scratch [64, head_dim], 64-byte aligned */
    void *codes;                /* int8: scratch of sluice_attention_codes_bytes, of floats */
    sluice_attention_sums sums; /* out, [rows * group] */
} sluice_attention_tile;

/* For each vector its codes, those of 64 weights, two scales and two sums of codes. */
static inline int64_t sluice_attention_codes_bytes(int64_t vectors, int32_t head_dim)
{
    return vectors * (sluice_kv_padded(head_dim) + 64 + 4 * (int64_t)sizeof(float));
}

/* Gated delta rule of one value head over consecutive positions: for each position
 * S *= exp(g); delta = beta (v - S^T k); S += k delta^T; o = S^T q. Row strides in floats. */
typedef struct sluice_gdn_head {
    int32_t rows, k_dim, v_dim;
    const float *q, *k; /* [rows, k_dim], normalised, q scaled; stride qk_row */
    int64_t qk_row;
    const float *v; /* [rows, v_dim]; stride v_row */
    int64_t v_row;
    const float *g, *beta; /* [rows]; stride gate_row */
    int64_t gate_row;
    float *s;           /* [k_dim, v_dim] */
    const float *ahead; /* the state that the caller needs next, asked for meanwhile; or NULL */
    float *o;           /* [rows, v_dim]; stride o_row */
    int64_t o_row;
    float *scratch; /* sluice_gdn_scratch(k_dim, v_dim) floats, 64-byte aligned */
} sluice_gdn_head;

/* keys transposed, two 64 x 64 score matrices, new values (padded to 16), 4 vectors of 64 */
static inline int64_t sluice_gdn_scratch(int32_t k_dim, int32_t v_dim)
{
    const int64_t block = SLUICE_GDN_BLOCK;
    return block * k_dim + 2 * block * block + block * ((v_dim + 15) / 16 * 16) + 4 * block;
}

#define SLUICE_CONV_WIDTH_MAX 16

typedef struct sluice_ops {
    const char *name;

    /* out = x * (1 / sqrt(mean(x^2) + eps)) * weight. out may be x. */
    void (*rmsnorm)(const float *x, const float *weight, float eps, int32_t n, float *out);
    /* x = x * (1 / sqrt(mean(x^2) + eps)) * weight * silu(z) */
    void (*rmsnorm_gated)(float *x, const float *weight, const float *z, float eps, int32_t n);
    /* x = x * (1 / sqrt(sum(x^2) + 1e-6)) * scale */
    void (*l2norm)(float *x, float scale, int32_t n);
    /* Rotates pairs (i, i + half) of x by angles whose cosines and sines are given, [half] each. */
    void (*rope)(float *x, const float *cosines, const float *sines, int32_t half);

    /* out = silu(gate) * up. out may be gate or up. */
    void (*swiglu)(const float *gate, const float *up, int32_t n, float *out);
    /* x = sigmoid(x) */
    void (*sigmoid)(float *x, int32_t n);
    /* g = decay * softplus(a + dt_bias), beta = sigmoid(b) */
    void (*gdn_gates)(const float *a, const float *b, const float *decay, const float *dt_bias,
                      int32_t n, float *g, float *beta);
    /* x = exp(x - max(x)) / sum, in place */
    void (*softmax)(float *x, int32_t n);
    /* h += (sum over j < k of weights[j] * y[j * n ..], j ascending, zero weights not read)
     * + shared */
    void (*combine)(const float *weights, const float *y, int32_t k, const float *shared, int32_t n,
                    float *h);

    /* t[r] = scale * dot(x, a[r * n ..]), r < rank */
    void (*low_rank_in)(const float *x, const float *a, int32_t rank, float scale, int32_t n,
                        float *t);
    /* y[i] += sum over r < rank, r ascending, of t[r] * b[r * b_row + i], i < n */
    void (*low_rank_out)(const float *t, const float *b, int64_t b_row, int32_t rank, int32_t n,
                         float *y);

    /* out[r][c] = silu(sum over t < width of taps[c * width + t] * rows[r + t][c]), t ascending,
     * for count rows and n channels; out rows are out_row floats apart. */
    void (*conv)(const float *const *rows, int32_t count, const float *taps, int32_t width,
                 int32_t n, float *out, int64_t out_row);

    void (*gemm)(const sluice_gemm *gemm);
    /* x = H x / sqrt(b), for blocks of b elements, the largest power of two that divides n; H is
     * the Hadamard matrix of Sylvester's construction. Its own inverse. */
    void (*hadamard)(float *x, int32_t n);
    /* out = x in f16, rounded to nearest even, +-65504 at most */
    void (*narrow)(const float *x, int32_t n, uint16_t *out);
    /* Keys and values of f32 and f16; kernels.h has attention over int8. */
    void (*attention)(const sluice_attention_tile *tile);
    /* Adds the result of a later chunk (part) to that of the earlier ones, count vectors. */
    void (*attention_merge)(const sluice_attention_sums *into, const sluice_attention_sums *part,
                            int32_t count, int32_t head_dim);
    /* out = acc / sum * sigmoid(gate), one vector */
    void (*attention_finish)(const float *acc, float sum, const float *gate, int32_t head_dim,
                             float *out);
    /* Position by position; any number of rows. */
    void (*gdn_step)(const sluice_gdn_head *head);
    /* The same for exactly 64 rows in the chunked form (Yang et al. 2024, "Gated Delta Networks",
     * with the triangular system solved by substitution). Equal within rounding, not in bits. */
    void (*gdn_block)(const sluice_gdn_head *head);
} sluice_ops;

/* The table of one instruction set; files of other architectures are not in the build. */
extern const sluice_ops sluice_ops_scalar, sluice_ops_avx2, sluice_ops_avx512, sluice_ops_neon;

/* The best table that the flags (see os/cpu.h) allow. */
const sluice_ops *sluice_ops_choose(uint32_t cpu_flags);

#endif
