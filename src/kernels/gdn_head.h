/* Heads of the delta rule in the rows that the short convolution mixed, and a run over all of a
 * sequence's rows. The forward pass and the backward one's recomputation go through the same. */
#ifndef SLUICE_KERNELS_GDN_HEAD_H
#define SLUICE_KERNELS_GDN_HEAD_H

#include "kernels/ops.h"

/* Channels of q, k and v of all heads. */
static inline int32_t sluice_gdn_channels(const sluice_geometry *g)
{
    return 2 * g->gdn_k_heads * g->gdn_k_dim + g->gdn_v_heads * g->gdn_v_dim;
}

/* First channel of head i of q, k and v in turn; i may be one past the last. */
static inline int32_t sluice_gdn_channel(const sluice_geometry *g, int32_t i)
{
    const int32_t keys = 2 * g->gdn_k_heads;
    if (i < keys) return i * g->gdn_k_dim;
    return keys * g->gdn_k_dim + (i - keys) * g->gdn_v_dim;
}

/* Value head h over rows that begin at mixed [row, channels], decay and beta [row, v_heads] and o
 * [row, v_heads, v_dim] (the arrays' first head). s and scratch are left to the caller. */
sluice_gdn_head sluice_gdn_head_of(const sluice_geometry *g, int32_t h, const float *mixed,
                                   const float *decay, const float *beta, float *o);

/* Rows [0, count) of a head, the first of which is at position: whole blocks, counted from the
 * start of the sequence, in the chunked form, the others step by step. */
void sluice_gdn_head_run(const sluice_ops *ops, sluice_gdn_head head, int32_t position,
                         int32_t count);

#endif
