/* Where a head of the delta rule lies, and its rows as blocks and steps (see gdn_head.h). */
#include "kernels/gdn_head.h"

sluice_gdn_head sluice_gdn_head_of(const sluice_geometry *g, int32_t h, const float *mixed,
                                   const float *decay, const float *beta, float *o)
{
    const int32_t key = h / (g->gdn_v_heads / g->gdn_k_heads);
    return (sluice_gdn_head){
        .k_dim = g->gdn_k_dim,
        .v_dim = g->gdn_v_dim,
        .q = mixed + sluice_gdn_channel(g, key),
        .k = mixed + sluice_gdn_channel(g, g->gdn_k_heads + key),
        .qk_row = sluice_gdn_channels(g),
        .v = mixed + sluice_gdn_channel(g, 2 * g->gdn_k_heads + h),
        .v_row = sluice_gdn_channels(g),
        .g = decay + h,
        .beta = beta + h,
        .gate_row = g->gdn_v_heads,
        .o = o + (int64_t)h * g->gdn_v_dim,
        .o_row = (int64_t)g->gdn_v_heads * g->gdn_v_dim,
    };
}

void sluice_gdn_head_run(const sluice_ops *ops, sluice_gdn_head head, int32_t position,
                         int32_t count)
{
    for (int32_t done = 0; done < count;) {
        const int32_t at = position + done, left = count - done;
        const int32_t to_block = (SLUICE_GDN_BLOCK - at % SLUICE_GDN_BLOCK) % SLUICE_GDN_BLOCK;
        const bool block = to_block == 0 && left >= SLUICE_GDN_BLOCK;
        head.rows = block ? SLUICE_GDN_BLOCK : to_block && to_block < left ? to_block : left;
        (block ? ops->gdn_block : ops->gdn_step)(&head);
        head.q += head.rows * head.qk_row;
        head.k += head.rows * head.qk_row;
        head.v += head.rows * head.v_row;
        head.g += head.rows * head.gate_row;
        head.beta += head.rows * head.gate_row;
        head.o += head.rows * head.o_row;
        done += head.rows;
    }
}
