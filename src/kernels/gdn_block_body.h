/* The gated delta rule in its chunked form: 64 positions at once as small matrix products.
 *
 * With G the running sum of g inside the block and S the state before it:
 *   A[i,j] = -beta_i exp(G_i - G_j) k_i.k_j  (j < i),   P[i,j] = exp(G_i - G_j) q_i.k_j  (j <= i)
 *   U = beta (V - exp(G) K S) + A U,   solved from the top in blocks of 16 rows
 *   O = exp(G) Q S + P U,   S = exp(G_63) S + (exp(G_63 - G) K)^T U
 * Every exponent is <= 0. Source: Yang et al. 2024 (gated delta networks), the reference
 * implementation's chunk size of 64; U comes by substitution instead of an inverse, which saves the
 * product of the inverse with the keys. */
#ifndef SLUICE_KERNELS_GDN_BLOCK_BODY_H
#define SLUICE_KERNELS_GDN_BLOCK_BODY_H

#include "kernels/gemm_body.h"
#include "kernels/vmath_body.h"

#define GDN_ROWS SLUICE_GDN_BLOCK

typedef struct gdn_space {
    float *keys;         /* [k_dim, 64], K^T */
    float *a, *p;        /* [64, 64] */
    float *u;            /* [64, u_row] */
    int64_t u_row;       /* v_dim padded to 16 */
    float *sum;          /* [64], G */
    float *grown, *left; /* [64], exp(G), exp(G_63 - G) */
} gdn_space;

static gdn_space gdn_space_of(const sluice_gdn_head *h)
{
    gdn_space space;
    space.u_row = (h->v_dim + 15) / 16 * 16;
    space.a = h->scratch;
    space.p = space.a + GDN_ROWS * GDN_ROWS;
    space.u = space.p + GDN_ROWS * GDN_ROWS;
    space.sum = space.u + GDN_ROWS * space.u_row;
    space.grown = space.sum + GDN_ROWS;
    space.left = space.grown + GDN_ROWS;
    space.keys = space.left + 2 * GDN_ROWS;
    return space;
}

static void gdn_decays(const sluice_gdn_head *h, const gdn_space *space)
{
    float sum = 0.0f;
    for (int32_t i = 0; i < GDN_ROWS; i++) {
        sum += h->g[i * h->gate_row];
        space->sum[i] = sum;
    }
    for (int32_t i = 0; i < GDN_ROWS; i += 16) {
        const v16f g = v16_load(space->sum + i);
        v16_store(space->grown + i, v16_exp(g));
        v16_store(space->left + i, v16_exp(v16_sub(v16_set1(sum), g)));
    }
}

/* Both score matrices, lower blocks only. Above the diagonal inside a diagonal block of A and P is
 * zero, so that products may run over whole blocks. */
static void gdn_scores(const sluice_gdn_head *h, const gdn_space *space)
{
    for (int32_t row = 0; row < GDN_ROWS; row += 16) {
        sluice_gemm product = {.m = 16,
                               .n = row + 16,
                               .k = h->k_dim,
                               .a = h->k + row * h->qk_row,
                               .a_row = h->qk_row,
                               .a_col = 1,
                               .b = space->keys,
                               .b_row = GDN_ROWS,
                               .b_block = 16,
                               .c = space->a + row * GDN_ROWS,
                               .c_row = GDN_ROWS};
        gemm(&product);
        product.a = h->q + row * h->qk_row;
        product.c = space->p + row * GDN_ROWS;
        gemm(&product);
    }
    for (int32_t i = 0; i < GDN_ROWS; i++) {
        float *a = space->a + i * GDN_ROWS;
        float *p = space->p + i * GDN_ROWS;
        const v16f beta = v16_set1(-h->beta[i * h->gate_row]);
        const v16f g = v16_set1(space->sum[i]);
        for (int32_t j = 0; j <= i; j += 16) {
            const v16f decay = v16_exp(v16_min(v16_sub(g, v16_load(space->sum + j)), v16_zero()));
            v16_store(a + j, v16_mul(v16_mul(beta, decay), v16_load(a + j)));
            v16_store(p + j, v16_mul(decay, v16_load(p + j)));
        }
        const int32_t end = (i / 16 + 1) * 16;
        for (int32_t j = i; j < end; j++) {
            a[j] = 0.0f;
        }
        for (int32_t j = i + 1; j < end; j++) {
            p[j] = 0.0f;
        }
    }
}

/* Sixteen rows and columns of U: row i gains A[i, j] times row j, for j < i in order. The padding
 * of the last columns is solved too: it holds zeros, or what nobody reads. */
static void gdn_solve(const float *a, float *u, int64_t u_row)
{
    v16f row[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        row[i] = v16_load(u + i * u_row);
#pragma GCC unroll 16
        for (int j = 0; j < i; j++) {
            row[i] = v16_fma(v16_set1(a[i * GDN_ROWS + j]), row[j], row[i]);
        }
        v16_store(u + i * u_row, row[i]);
    }
}

/* U: the right-hand side, then substitution. */
static void gdn_values(const sluice_gdn_head *h, const gdn_space *space)
{
    gemm(&(sluice_gemm){.m = GDN_ROWS,
                        .n = h->v_dim,
                        .k = h->k_dim,
                        .a = h->k,
                        .a_row = h->qk_row,
                        .a_col = 1,
                        .b = h->s,
                        .b_row = h->v_dim,
                        .b_block = 16,
                        .c = space->u,
                        .c_row = space->u_row});
    for (int32_t i = 0; i < GDN_ROWS; i++) {
        float *u = space->u + i * space->u_row;
        const v16f grown = v16_set1(space->grown[i]);
        const v16f beta = v16_set1(h->beta[i * h->gate_row]);
        for (int32_t c = 0; c < h->v_dim; c += 16) {
            const v16f recalled = v16_mul(grown, v16_load_at(u, c, h->v_dim));
            const v16f value = v16_load_at(h->v + i * h->v_row, c, h->v_dim);
            v16_store_at(u, c, h->v_dim, v16_mul(beta, v16_sub(value, recalled)));
        }
    }
    sluice_gemm product = {.n = h->v_dim,
                           .a_row = GDN_ROWS,
                           .a_col = 1,
                           .b = space->u,
                           .b_row = space->u_row,
                           .b_block = 16,
                           .c_row = space->u_row,
                           .accumulate = 1};
    for (int32_t row = 0; row < GDN_ROWS; row += 16) {
        product.m = 16;
        product.k = row;
        product.a = space->a + row * GDN_ROWS;
        product.b = space->u;
        product.c = space->u + row * space->u_row;
        if (row > 0) gemm(&product);
        for (int32_t c = 0; c < h->v_dim; c += 16) {
            gdn_solve(space->a + row * GDN_ROWS + row, space->u + row * space->u_row + c,
                      space->u_row);
        }
    }
}

static void gdn_outputs(const sluice_gdn_head *h, const gdn_space *space)
{
    gemm(&(sluice_gemm){.m = GDN_ROWS,
                        .n = h->v_dim,
                        .k = h->k_dim,
                        .a = h->q,
                        .a_row = h->qk_row,
                        .a_col = 1,
                        .b = h->s,
                        .b_row = h->v_dim,
                        .b_block = 16,
                        .c = h->o,
                        .c_row = h->o_row});
    for (int32_t i = 0; i < GDN_ROWS; i++) {
        float *o = h->o + i * h->o_row;
        const v16f grown = v16_set1(space->grown[i]);
        for (int32_t c = 0; c < h->v_dim; c += 16) {
            v16_store_at(o, c, h->v_dim, v16_mul(grown, v16_load_at(o, c, h->v_dim)));
        }
    }
    for (int32_t row = 0; row < GDN_ROWS; row += 16) {
        gemm(&(sluice_gemm){.m = 16,
                            .n = h->v_dim,
                            .k = row + 16,
                            .a = space->p + row * GDN_ROWS,
                            .a_row = GDN_ROWS,
                            .a_col = 1,
                            .b = space->u,
                            .b_row = space->u_row,
                            .b_block = 16,
                            .c = h->o + row * h->o_row,
                            .c_row = h->o_row,
                            .accumulate = 1});
    }
}

static void gdn_state(const sluice_gdn_head *h, const gdn_space *space)
{
    for (int32_t d = 0; d < h->k_dim; d++) {
        float *keys = space->keys + d * GDN_ROWS;
        for (int32_t i = 0; i < GDN_ROWS; i += 16) {
            v16_store(keys + i, v16_mul(v16_load(keys + i), v16_load(space->left + i)));
        }
    }
    const v16f shrink = v16_set1(space->grown[GDN_ROWS - 1]);
    const int32_t size = h->k_dim * h->v_dim;
    for (int32_t i = 0; i < size; i += 16) {
        v16_store_at(h->s, i, size, v16_mul(shrink, v16_load_at(h->s, i, size)));
    }
    gemm(&(sluice_gemm){.m = h->k_dim,
                        .n = h->v_dim,
                        .k = GDN_ROWS,
                        .a = space->keys,
                        .a_row = GDN_ROWS,
                        .a_col = 1,
                        .b = space->u,
                        .b_row = space->u_row,
                        .b_block = 16,
                        .c = h->s,
                        .c_row = h->v_dim,
                        .accumulate = 1});
}

static void gdn_block(const sluice_gdn_head *h)
{
    const gdn_space space = gdn_space_of(h);
    for (int32_t i = 0; i < GDN_ROWS; i++) {
        const float *k = h->k + i * h->qk_row;
        for (int32_t d = 0; d < h->k_dim; d++) {
            space.keys[d * GDN_ROWS + i] = k[d];
        }
    }
    gdn_decays(h, &space);
    gdn_scores(h, &space);
    gdn_values(h, &space);
    gdn_outputs(h, &space);
    gdn_state(h, &space);
}

#endif
