/* The gated delta rule, one value head, position by position.
 *
 * Two passes over the state a position: the first reads S^T k, the second decays, adds the outer
 * product and reads S^T q. Columns of S are independent, so a group of columns stays in registers;
 * how many never shows in a result. */
#ifndef SLUICE_KERNELS_GDN_BODY_H
#define SLUICE_KERNELS_GDN_BODY_H

#include "kernels/ops.h"
#include "kernels/vmath_body.h"

#define GDN_COLUMNS 4 /* times 16 lanes */

/* What is read after the columns before this one: the head's next, then another head's. */
static inline const float *gdn_ahead(const sluice_gdn_head *h, int32_t column)
{
    if (column < h->v_dim) return h->s + column;
    return h->ahead ? h->ahead : h->s;
}

/* Columns [column, column + 16 * blocks) of one position; lanes < 16 only where blocks is 1. */
static inline __attribute__((always_inline)) void gdn_columns(const sluice_gdn_head *h, int32_t row,
                                                              int32_t column, float decay,
                                                              const int blocks, const int32_t lanes)
{
#define LOAD(p) (lanes == 16 ? v16_load(p) : v16_load_n(p, lanes))
#define STORE(p, value)                                                                            \
    do {                                                                                           \
        if (lanes == 16)                                                                           \
            v16_store(p, value);                                                                   \
        else                                                                                       \
            v16_store_n(p, value, lanes);                                                          \
    } while (0)
    const float *k = h->k + row * h->qk_row;
    const float *q = h->q + row * h->qk_row;
    const float *v = h->v + row * h->v_row + column;
    float *o = h->o + row * h->o_row + column;
    const v16f shrink = v16_set1(decay);
    const v16f beta = v16_set1(h->beta[row * h->gate_row]);
    v16f sum[GDN_COLUMNS], delta[GDN_COLUMNS];
#pragma GCC unroll 8
    for (int j = 0; j < blocks; j++) {
        sum[j] = v16_zero();
    }
    float *s = h->s + column;
    for (int32_t i = 0; i < h->k_dim; i++, s += h->v_dim) {
        const v16f key = v16_set1(k[i]);
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            sum[j] = v16_fma(key, LOAD(s + j * 16), sum[j]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < blocks; j++) {
        const v16f recalled = v16_mul(shrink, sum[j]);
        delta[j] = v16_mul(beta, v16_sub(LOAD(v + j * 16), recalled));
        sum[j] = v16_zero();
    }
    s = h->s + column;
    const float *ahead = gdn_ahead(h, column + 16 * blocks);
    for (int32_t i = 0; i < h->k_dim; i++, s += h->v_dim, ahead += h->v_dim) {
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            __builtin_prefetch(ahead + j * 16, 0, 2);
        }
        const v16f key = v16_set1(k[i]);
        const v16f query = v16_set1(q[i]);
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
            const v16f next = v16_fma(key, delta[j], v16_mul(shrink, LOAD(s + j * 16)));
            STORE(s + j * 16, next);
            sum[j] = v16_fma(query, next, sum[j]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < blocks; j++) {
        STORE(o + j * 16, sum[j]);
    }
#undef LOAD
#undef STORE
}

static void gdn_step(const sluice_gdn_head *h)
{
    for (int32_t row = 0; row < h->rows; row++) {
        const float decay = exp_lane(h->g[row * h->gate_row]);
        int32_t column = 0;
        for (; column + 16 * GDN_COLUMNS <= h->v_dim; column += 16 * GDN_COLUMNS) {
            gdn_columns(h, row, column, decay, GDN_COLUMNS, 16);
        }
        for (; column + 16 <= h->v_dim; column += 16) {
            gdn_columns(h, row, column, decay, 1, 16);
        }
        if (column < h->v_dim) gdn_columns(h, row, column, decay, 1, h->v_dim - column);
    }
}

#endif
