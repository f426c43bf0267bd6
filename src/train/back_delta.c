/* The gated delta rule backwards, one value head of one segment, in blocks of 64 positions.
 *
 * Forward, with G the running sum of g in the block and S the state before it (gdn_block_body.h):
 *   A[i,j] = -beta_i m_ij k_i.k_j (j < i),  P[i,j] = m_ij q_i.k_j (j <= i),  m_ij = exp(G_i - G_j)
 *   R = beta (V - exp(G) K S),  U = R + A U,  O = exp(G) Q S + P U
 *   S' = exp(G_63) S + (exp(G_63 - G) K)^T U
 * Backward, with the gradients dO and dS' (primes are transposes):
 *   dU = P' dO + exp(G_63 - G) K dS',   dR = dU + A' dR, solved from the bottom
 *   dA = dR U',  dP = dO U'
 *   dS = exp(G_63) dS' + Q' exp(G) dO - K' beta exp(G) dR
 *   dQ = exp(G) dO S' + (dP m) K
 *   dK = (dP m)' Q + X K + X' K - beta exp(G) dR S' + exp(G_63 - G) U dS'',  X = -beta dA m (j < i)
 *   dV = beta dR
 *   dbeta_i = dR_i . (v_i - exp(G_i) k_i S) - sum over j of dA_ij m_ij k_i.k_j
 *   dG: the pairs of A and P give +1 to i and -1 to j of dA A + dP P; R, O and S' give their own
 * and dg is the sum of dG over the positions from its own on.
 *
 * The states before each block are worked out first and kept: 64 KB a block and head on the 397B.
 * The last block is padded with rows of zeros, which change nothing. */
#include "train/back.h"

#include <math.h>
#include <string.h>

#define BLOCK SLUICE_GDN_BLOCK

/* Scratch; K = k_dim, V = v_dim. */
typedef struct space {
    float *states;                 /* [blocks, K, V], before each block */
    float *run;                    /* of the forward kernels: sluice_gdn_scratch */
    float *d_s;                    /* [K, V] */
    float *s_columns, *ds_columns; /* [V, K]: S and dS' transposed */
    float *q, *k;                  /* [64, K] */
    float *k_columns;              /* [K, 64] */
    float *v, *d_o, *d_o_grown;    /* [64, V]; d_o_grown: exp(G) dO */
    float *recalled, *answered;    /* [64, V]: K S, Q S */
    float *u, *u_columns;          /* [64, V], [V, 64] */
    float *kept, *d_r;             /* [64, V]: K dS', dR */
    float *side;                   /* [64, V]: scaled copies on their way into a product */
    float *keys, *a, *p;           /* [64, 64]: m k.k below the diagonal; A; P */
    float *d_a, *d_p;              /* [64, 64] */
    float *sum, *grown, *left;     /* [64]: G, exp(G), exp(G_63 - G) */
    float *beta, *d_sum;           /* [64] */
    float *d_q, *d_k;              /* [64, K] */
} space;

static int32_t blocks_of(int32_t count)
{
    return (count + BLOCK - 1) / BLOCK;
}

/* Carves the scratch; with base NULL it only counts. */
static int64_t lay_out(int32_t k_dim, int32_t v_dim, int32_t count, float *base, space *s)
{
    const int64_t k = BLOCK * (int64_t)k_dim, v = BLOCK * (int64_t)v_dim;
    const int64_t state = (int64_t)k_dim * v_dim, square = BLOCK * BLOCK;
    struct {
        float **at;
        int64_t floats;
    } parts[] = {
        {&s->run, sluice_gdn_scratch(k_dim, v_dim)},
        {&s->states, state * blocks_of(count)},
        {&s->d_s, state},
        {&s->s_columns, state},
        {&s->ds_columns, state},
        {&s->q, k},
        {&s->k, k},
        {&s->k_columns, k},
        {&s->v, v},
        {&s->d_o, v},
        {&s->d_o_grown, v},
        {&s->recalled, v},
        {&s->answered, v},
        {&s->u, v},
        {&s->u_columns, v},
        {&s->kept, v},
        {&s->d_r, v},
        {&s->side, v},
        {&s->keys, square},
        {&s->a, square},
        {&s->p, square},
        {&s->d_a, square},
        {&s->d_p, square},
        {&s->sum, BLOCK},
        {&s->grown, BLOCK},
        {&s->left, BLOCK},
        {&s->beta, BLOCK},
        {&s->d_sum, BLOCK},
        {&s->d_q, k},
        {&s->d_k, k},
    };
    int64_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i].at = base ? base + used : NULL;
        used += (parts[i].floats + 15) / 16 * 16;
    }
    return used;
}

int64_t sluice_back_delta_scratch(const sluice_geometry *g, int32_t segment_max)
{
    space s;
    /* One vector more: an output that nobody reads, of the forward run. */
    return lay_out(g->gdn_k_dim, g->gdn_v_dim, segment_max, NULL, &s) +
           (int64_t)BLOCK * g->gdn_v_dim;
}

/* c = (c +) a b, all by rows; b and c are [., n]. */
static void product(const sluice_back *back, int32_t m, int32_t n, int32_t depth, const float *a,
                    int64_t a_row, int64_t a_col, const float *b, float *c, int accumulate)
{
    back->ops->gemm(&(sluice_gemm){.m = m,
                                   .n = n,
                                   .k = depth,
                                   .a = a,
                                   .a_row = a_row,
                                   .a_col = a_col,
                                   .b = b,
                                   .b_row = n,
                                   .b_block = 16,
                                   .c = c,
                                   .c_row = n,
                                   .accumulate = accumulate});
}

static void turn(const float *in, int32_t rows, int32_t cols, float *out)
{
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < cols; c++)
            out[(int64_t)c * rows + r] = in[(int64_t)r * cols + c];
}

/* The states before each block, by the kernels that serve. */
static void run_states(const sluice_back *back, const sluice_back_delta *in, const space *s,
                       float *unread)
{
    const sluice_geometry *g = &back->geometry;
    const int64_t state = (int64_t)g->gdn_k_dim * g->gdn_v_dim;
    memset(s->states, 0, (size_t)state * sizeof *s->states);
    for (int32_t block = 0; block + 1 < blocks_of(in->count); block++) {
        const int64_t row = (int64_t)block * BLOCK;
        float *next = s->states + (block + 1) * state;
        memcpy(next, s->states + block * state, (size_t)state * sizeof *next);
        const sluice_gdn_head head = {.rows = BLOCK,
                                      .k_dim = g->gdn_k_dim,
                                      .v_dim = g->gdn_v_dim,
                                      .q = in->q + row * in->qk_row,
                                      .k = in->k + row * in->qk_row,
                                      .qk_row = in->qk_row,
                                      .v = in->v + row * in->qk_row,
                                      .v_row = in->qk_row,
                                      .g = in->g + row * in->gate_row,
                                      .beta = in->beta + row * in->gate_row,
                                      .gate_row = in->gate_row,
                                      .s = next,
                                      .o = unread,
                                      .o_row = g->gdn_v_dim,
                                      .scratch = s->run};
        back->ops->gdn_block(&head);
    }
}

static void take_rows(const float *from, int64_t stride, int32_t n, int32_t cols, float *to)
{
    for (int32_t i = 0; i < n; i++)
        memcpy(to + (int64_t)i * cols, from + i * stride, (size_t)cols * sizeof *to);
    memset(to + (int64_t)n * cols, 0, (size_t)(BLOCK - n) * (size_t)cols * sizeof *to);
}

/* A block's inputs and everything that the forward makes of them. */
static void rebuild(const sluice_back *back, const sluice_back_delta *in, const space *s,
                    const float *state, int32_t row, int32_t n)
{
    const int32_t kd = back->geometry.gdn_k_dim, vd = back->geometry.gdn_v_dim;
    take_rows(in->q + row * in->qk_row, in->qk_row, n, kd, s->q);
    take_rows(in->k + row * in->qk_row, in->qk_row, n, kd, s->k);
    take_rows(in->v + row * in->qk_row, in->qk_row, n, vd, s->v);
    take_rows(in->d_o + row * in->o_row, in->o_row, n, vd, s->d_o);
    float total = 0.0f;
    for (int32_t i = 0; i < BLOCK; i++) {
        if (i < n) total += in->g[(row + i) * in->gate_row];
        s->sum[i] = total;
        s->beta[i] = i < n ? in->beta[(row + i) * in->gate_row] : 0.0f;
    }
    for (int32_t i = 0; i < BLOCK; i++) {
        s->grown[i] = expf(s->sum[i]);
        s->left[i] = expf(total - s->sum[i]);
    }
    turn(s->k, BLOCK, kd, s->k_columns);
    product(back, BLOCK, BLOCK, kd, s->k, kd, 1, s->k_columns, s->keys, 0);
    product(back, BLOCK, BLOCK, kd, s->q, kd, 1, s->k_columns, s->p, 0);
    for (int32_t i = 0; i < BLOCK; i++)
        for (int32_t j = 0; j < BLOCK; j++) {
            const float m = j <= i ? expf(s->sum[i] - s->sum[j]) : 0.0f;
            const int32_t at = i * BLOCK + j;
            s->p[at] *= m;
            s->keys[at] = j < i ? s->keys[at] * m : 0.0f;
            s->a[at] = -s->beta[i] * s->keys[at];
        }
    product(back, BLOCK, vd, kd, s->k, kd, 1, state, s->recalled, 0);
    product(back, BLOCK, vd, kd, s->q, kd, 1, state, s->answered, 0);
    for (int32_t i = 0; i < BLOCK; i++) {
        float *u = s->u + (int64_t)i * vd;
        for (int32_t c = 0; c < vd; c++)
            u[c] = s->beta[i] * (s->v[i * vd + c] - s->grown[i] * s->recalled[i * vd + c]);
        if (i > 0) product(back, 1, vd, i, s->a + i * BLOCK, BLOCK, 1, s->u, u, 1);
    }
}

/* out = factor_i * rows[i], with one sign for all. */
static void scaled(const float *rows, const float *factor, const float *factor2, float sign,
                   int32_t cols, float *out)
{
    for (int32_t i = 0; i < BLOCK; i++) {
        const float by = sign * factor[i] * (factor2 ? factor2[i] : 1.0f);
        for (int32_t c = 0; c < cols; c++)
            out[(int64_t)i * cols + c] = by * rows[(int64_t)i * cols + c];
    }
}

/* dU, dR, dA and dP. d_s is dS'. */
static void solve(const sluice_back *back, const space *s)
{
    const int32_t kd = back->geometry.gdn_k_dim, vd = back->geometry.gdn_v_dim;
    product(back, BLOCK, vd, kd, s->k, kd, 1, s->d_s, s->kept, 0);
    scaled(s->kept, s->left, NULL, 1.0f, vd, s->d_r);
    product(back, BLOCK, vd, BLOCK, s->p, 1, BLOCK, s->d_o, s->d_r, 1);
    for (int32_t i = BLOCK - 2; i >= 0; i--)
        product(back, 1, vd, BLOCK - 1 - i, s->a + (i + 1) * BLOCK + i, 1, BLOCK,
                s->d_r + (int64_t)(i + 1) * vd, s->d_r + (int64_t)i * vd, 1);
    turn(s->u, BLOCK, vd, s->u_columns);
    product(back, BLOCK, BLOCK, vd, s->d_r, vd, 1, s->u_columns, s->d_a, 0);
    product(back, BLOCK, BLOCK, vd, s->d_o, vd, 1, s->u_columns, s->d_p, 0);
}

static float dot(const float *a, const float *b, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

/* Gradients of beta and of G; d_a becomes X, d_p becomes dP m. */
static void gates(const sluice_back *back, const sluice_back_delta *in, const space *s,
                  const float *state, int32_t row, int32_t n)
{
    const int32_t vd = back->geometry.gdn_v_dim;
    const int64_t size = (int64_t)back->geometry.gdn_k_dim * vd;
    memset(s->d_sum, 0, BLOCK * sizeof *s->d_sum);
    s->d_sum[BLOCK - 1] = s->grown[BLOCK - 1] * dot(state, s->d_s, size);
    for (int32_t i = 0; i < BLOCK; i++) {
        const int64_t at = (int64_t)i * vd;
        const float recalled = s->grown[i] * dot(s->d_r + at, s->recalled + at, vd);
        const float kept = s->left[i] * dot(s->u + at, s->kept + at, vd);
        float d_beta = dot(s->d_r + at, s->v + at, vd) - recalled;
        s->d_sum[i] +=
            s->grown[i] * dot(s->d_o + at, s->answered + at, vd) - s->beta[i] * recalled - kept;
        s->d_sum[BLOCK - 1] += kept;
        for (int32_t j = 0; j <= i; j++) {
            const int32_t pair = i * BLOCK + j;
            const float both = s->d_a[pair] * s->a[pair] + s->d_p[pair] * s->p[pair];
            s->d_sum[i] += both;
            s->d_sum[j] -= both;
            d_beta -= s->d_a[pair] * s->keys[pair];
        }
        if (i < n) in->d_beta[(row + i) * in->gate_row] = d_beta;
    }
    float total = 0.0f;
    for (int32_t i = BLOCK - 1; i >= 0; i--) {
        total += s->d_sum[i];
        if (i < n) in->d_g[(row + i) * in->gate_row] = total;
    }
    for (int32_t i = 0; i < BLOCK; i++)
        for (int32_t j = 0; j < BLOCK; j++) {
            const float m = j <= i ? expf(s->sum[i] - s->sum[j]) : 0.0f;
            s->d_p[i * BLOCK + j] *= m;
            s->d_a[i * BLOCK + j] *= j < i ? -s->beta[i] * m : 0.0f;
        }
}

/* Gradients of q, k and v, and of the state: d_s becomes dS. */
static void inputs(const sluice_back *back, const sluice_back_delta *in, const space *s,
                   const float *state, int32_t row, int32_t n)
{
    const int32_t kd = back->geometry.gdn_k_dim, vd = back->geometry.gdn_v_dim;
    turn(state, kd, vd, s->s_columns);
    turn(s->d_s, kd, vd, s->ds_columns);
    scaled(s->d_o, s->grown, NULL, 1.0f, vd, s->d_o_grown);
    product(back, BLOCK, kd, vd, s->d_o_grown, vd, 1, s->s_columns, s->d_q, 0);
    product(back, BLOCK, kd, BLOCK, s->d_p, BLOCK, 1, s->k, s->d_q, 1);

    product(back, BLOCK, kd, BLOCK, s->d_p, 1, BLOCK, s->q, s->d_k, 0);
    product(back, BLOCK, kd, BLOCK, s->d_a, BLOCK, 1, s->k, s->d_k, 1);
    product(back, BLOCK, kd, BLOCK, s->d_a, 1, BLOCK, s->k, s->d_k, 1);
    scaled(s->u, s->left, NULL, 1.0f, vd, s->side);
    product(back, BLOCK, kd, vd, s->side, vd, 1, s->ds_columns, s->d_k, 1);
    scaled(s->d_r, s->grown, s->beta, -1.0f, vd, s->side);
    product(back, BLOCK, kd, vd, s->side, vd, 1, s->s_columns, s->d_k, 1);

    for (int64_t i = 0; i < (int64_t)kd * vd; i++)
        s->d_s[i] *= s->grown[BLOCK - 1];
    product(back, kd, vd, BLOCK, s->q, 1, kd, s->d_o_grown, s->d_s, 1);
    product(back, kd, vd, BLOCK, s->k, 1, kd, s->side, s->d_s, 1);

    for (int32_t i = 0; i < n; i++) {
        const int64_t at = (row + i) * in->qk_row;
        for (int32_t d = 0; d < kd; d++) {
            in->d_q[at + d] += s->d_q[i * kd + d];
            in->d_k[at + d] += s->d_k[i * kd + d];
        }
        for (int32_t c = 0; c < vd; c++)
            in->d_v[at + c] = s->beta[i] * s->d_r[i * vd + c];
    }
}

void sluice_back_delta_run(const sluice_back *back, const sluice_back_delta *delta)
{
    const int32_t kd = back->geometry.gdn_k_dim, vd = back->geometry.gdn_v_dim;
    const int64_t size = (int64_t)kd * vd;
    space s;
    const int64_t used = lay_out(kd, vd, delta->count, delta->scratch, &s);
    run_states(back, delta, &s, delta->scratch + used);
    memset(s.d_s, 0, (size_t)size * sizeof *s.d_s);
    for (int32_t block = blocks_of(delta->count) - 1; block >= 0; block--) {
        const float *state = s.states + block * size;
        const int32_t row = block * BLOCK, left = delta->count - row;
        const int32_t n = left < BLOCK ? left : BLOCK;
        rebuild(back, delta, &s, state, row, n);
        solve(back, &s);
        gates(back, delta, &s, state, row, n);
        inputs(back, delta, &s, state, row, n);
    }
}
