/* The mixture of experts backwards: one expert on some rows, the shared expert with its gate, the
 * router through the experts that it chose.
 *
 * An expert's own output is not needed again: how much a row's loss changes with the weight of its
 * output, dy . down(act), is (down' dy) . act, and down' dy is needed anyway. */
#include "train/back.h"

#include <string.h>

typedef struct expert_job {
    const float *scale; /* [m] */
    float *d_scale;     /* [m] */
    int32_t width;
} expert_job;

/* act = silu(gate) up */
static void act_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                     float *scratch)
{
    const expert_job *job = context;
    const sluice_back_moe_kept *kept = &back->moe;
    const int64_t at = (int64_t)begin * job->width, count = (int64_t)(end - begin) * job->width;
    (void)scratch;
    memcpy(kept->sigmoid + at, kept->gate + at, (size_t)count * sizeof(float));
    back->ops->sigmoid(kept->sigmoid + at, (int32_t)count);
    for (int64_t i = at; i < at + count; i++)
        kept->act[i] = kept->gate[i] * kept->sigmoid[i] * kept->up[i];
}

/* d_act is down' dy without the row's weight. gate and up become their gradients, act the input of
 * down times the row's weight. */
static void act_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                          float *scratch)
{
    const expert_job *job = context;
    const sluice_back_moe_kept *kept = &back->moe;
    (void)scratch;
    for (int32_t row = begin; row < end; row++) {
        const int64_t first = (int64_t)row * job->width;
        const float scale = job->scale[row];
        double dot = 0.0;
        for (int64_t i = first; i < first + job->width; i++) {
            const float s = kept->sigmoid[i], gate = kept->gate[i], up = kept->up[i];
            const float d = scale * kept->d_act[i];
            dot += (double)kept->act[i] * (double)kept->d_act[i];
            kept->gate[i] = d * up * s * (1.0f + gate * (1.0f - s));
            kept->up[i] = d * gate * s;
            kept->act[i] *= scale;
        }
        job->d_scale[row] = (float)dot;
    }
}

void sluice_back_expert(sluice_back *back, const sluice_expert_weights *w,
                        const sluice_back_expert_entries *entries, const float *x, const float *dy,
                        const float *scale, int32_t m, float *d_scale, float *dx)
{
    sluice_back_moe_kept *kept = &back->moe;
    expert_job job = {.scale = scale, .d_scale = d_scale, .width = w->gate.rows};
    sluice_back_linear_forward(back, &w->gate, x, m, kept->gate);
    sluice_back_linear_forward(back, &w->up, x, m, kept->up);
    sluice_back_rows(back, m, act_rows, &job);
    memset(kept->d_act, 0, (size_t)m * (size_t)job.width * sizeof *kept->d_act);
    sluice_back_linear(back, &w->down, NULL, kept->act, dy, m, kept->d_act);
    sluice_back_rows(back, m, act_rows_back, &job);
    if (entries->down) sluice_back_linear(back, &w->down, entries->down, kept->act, dy, m, NULL);
    if (!dx && !entries->gate && !entries->up) return;
    sluice_back_linear(back, &w->gate, entries->gate, x, kept->gate, m, dx);
    sluice_back_linear(back, &w->up, entries->up, x, kept->up, m, dx);
}

void sluice_back_shared(sluice_back *back, const sluice_shared_weights *w,
                        const sluice_back_expert_entries *entries, const float *x, const float *dy,
                        int32_t n, float *dx)
{
    sluice_back_moe_kept *kept = &back->moe;
    sluice_back_linear_forward(back, &w->gate, x, n, kept->scale);
    back->ops->sigmoid(kept->scale, n);
    sluice_back_expert(back, &w->expert, entries, x, dy, kept->scale, n, kept->d_scale, dx);
    if (!dx) return;
    for (int32_t i = 0; i < n; i++)
        kept->d_scale[i] *= kept->scale[i] * (1.0f - kept->scale[i]);
    sluice_back_linear(back, &w->gate, NULL, x, kept->d_scale, n, dx);
}

/* The weights are exp(logit) over the sum of the chosen ones: what was not chosen has no part. */
void sluice_back_router(sluice_back *back, const sluice_router_weights *w, const int32_t *ids,
                        const float *weights, const float *d_weights, int32_t n, int32_t k,
                        float *dx)
{
    const int64_t experts = w->router.rows;
    float *logits = back->moe.logits;
    memset(logits, 0, (size_t)n * (size_t)experts * sizeof *logits);
    for (int64_t i = 0; i < n; i++) {
        double mean = 0.0;
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            if (weights[j] != 0.0f) mean += (double)weights[j] * (double)d_weights[j];
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            if (weights[j] != 0.0f)
                logits[i * experts + ids[j]] =
                    (float)((double)weights[j] * ((double)d_weights[j] - mean));
    }
    sluice_back_linear(back, &w->router, NULL, NULL, logits, n, dx);
}
