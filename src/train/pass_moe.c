/* The sweeps of a pass over a layer's experts, forward and backward.
 *
 * Forward is model/moe.h's order of operations with the model's own routing, and keeps the routes:
 * the backward must go through the experts that ran, whatever rounding would choose now, and knows
 * before it begins what to read. */
#include <math.h>
#include <string.h>

#include "train/pass_inside.h"

/* Sorts the rows' entries by expert; only those for which want says yes (NULL: all). */
static void group(sluice_pass *pass, int32_t layer, int32_t n, bool adapted_only)
{
    const int32_t k = pass->model->config->top_k, experts = pass->model->config->experts;
    const int32_t *ids = pass->ids + layer * sluice_pass_entries(pass);
    const float *weights = pass->weights + layer * sluice_pass_entries(pass);
    sluice_pass_groups *groups = &pass->groups;
    int32_t *begin = groups->begin;
    groups->distinct = 0;
    memset(begin, 0, (size_t)(experts + 1) * sizeof *begin);
    for (int32_t i = 0; i < n * k; i++)
        if (weights[i] != 0.0f) begin[ids[i] + 1]++;
    for (int32_t e = 0; e < experts; e++) {
        const bool wanted =
            begin[e + 1] &&
            (!adapted_only || sluice_pass_entry(pass, layer, SLUICE_ADAPTER_EXPERT_GATE, e) ||
             sluice_pass_entry(pass, layer, SLUICE_ADAPTER_EXPERT_UP, e) ||
             sluice_pass_entry(pass, layer, SLUICE_ADAPTER_EXPERT_DOWN, e));
        if (wanted) groups->wanted[groups->distinct++] = e;
        begin[e + 1] += begin[e];
    }
    for (int32_t i = 0; i < n * k; i++) {
        if (weights[i] == 0.0f) continue;
        const int32_t at = begin[ids[i]]++;
        groups->rows[at] = i / k;
        groups->slots[at] = i;
    }
    /* Filling moved each beginning to the next one's. */
    memmove(begin + 1, begin, (size_t)experts * sizeof *begin);
    begin[0] = 0;
}

/* The gates of the chosen, divided by their sum: as the model's policy does. */
static sluice_status weigh(const sluice_pass *pass, int32_t layer, int32_t n, sluice_error *err)
{
    const int32_t k = pass->model->config->top_k;
    float *weights = pass->weights + layer * sluice_pass_entries(pass);
    for (int32_t row = 0; row < n; row++, weights += k) {
        float sum = 0.0f;
        for (int32_t j = 0; j < k; j++) {
            if (!isfinite(weights[j]))
                return sluice_fail(err, SLUICE_CORRUPT,
                                   "layer %d: the router's output is not finite (a learning rate "
                                   "too high, or a damaged container: check it with verify)",
                                   layer);
            sum += weights[j];
        }
        for (int32_t j = 0; j < k; j++)
            weights[j] /= sum;
    }
    return SLUICE_OK;
}

static void expert_weights(const sluice_pass *pass, int32_t layer, int32_t id, const void *record,
                           sluice_expert_weights *weights)
{
    memset(weights, 0, sizeof *weights);
    sluice_record_weights(pass->model->layers[layer].record, pass->model->config, record,
                          &weights->gate, &weights->up, &weights->down);
    if (pass->model->n_adapters) sluice_model_adapt_expert(pass->model, layer, id, weights);
}

/* What to do with one expert's rows. */
typedef void (*expert_fn)(sluice_pass *pass, int32_t layer, int32_t id,
                          const sluice_expert_weights *weights, bool through);

static sluice_status sweep(sluice_pass *pass, int32_t layer, expert_fn fn, bool through,
                           sluice_error *err)
{
    for (;;) {
        int32_t id;
        const void *record;
        sluice_expert_weights weights;
        SLUICE_TRY(sluice_experts_next(pass->experts, &id, &record, err));
        if (id < 0) return SLUICE_OK;
        expert_weights(pass, layer, id, record, &weights);
        fn(pass, layer, id, &weights, through);
        sluice_experts_release(pass->experts, layer, id);
    }
}

static void expert_forward(sluice_pass *pass, int32_t layer, int32_t id,
                           const sluice_expert_weights *weights, bool through)
{
    const sluice_pass_groups *groups = &pass->groups;
    const int32_t begin = groups->begin[id], count = groups->begin[id + 1] - begin;
    (void)layer;
    (void)through;
    const sluice_expert_call call = {*weights, groups->rows + begin, groups->slots + begin, count};
    pass->backend->experts(pass->backend, &call, 1, pass->x, pass->y);
}

static uint64_t needed(const sluice_pass *pass, int32_t layer)
{
    return (uint64_t)pass->groups.distinct * pass->model->layers[layer].record->bytes;
}

sluice_status sluice_pass_moe_forward(sluice_pass *pass, int32_t layer, int32_t n,
                                      sluice_error *err)
{
    const sluice_model_layer *weights = &pass->model->layers[layer];
    const int32_t k = pass->model->config->top_k, experts = pass->model->config->experts;
    sluice_backend *be = pass->backend;
    const int64_t routes = layer * sluice_pass_entries(pass);
    be->router(be, &weights->router, n, k, pass->h, pass->x, pass->ids + routes,
               pass->weights + routes, NULL);
    SLUICE_TRY(weigh(pass, layer, n, err));
    group(pass, layer, n, false);
    pass->result.needed_forward += needed(pass, layer);
    sluice_experts_request(pass->experts, layer, pass->groups.wanted, pass->groups.distinct,
                           SLUICE_EXPERTS_DEMAND);
    be->shared_expert(be, &weights->shared, n, pass->x, pass->shared);
    SLUICE_TRY(sweep(pass, layer, expert_forward, false, err));
    be->combine(be, n, k, pass->weights + routes, pass->y, pass->shared, pass->h);
    /* A batch that wants half of a layer will want half of the next one. */
    if (layer + 1 < pass->model->config->layers && 2 * pass->groups.distinct >= experts)
        sluice_experts_request(pass->experts, layer + 1, pass->all, experts, SLUICE_EXPERTS_SWEEP);
    return SLUICE_OK;
}

static sluice_back_expert_entries entries_of(const sluice_pass *pass, int32_t layer,
                                             sluice_adapter_module gate, int32_t expert)
{
    return (sluice_back_expert_entries){
        sluice_pass_entry(pass, layer, gate, expert),
        sluice_pass_entry(pass, layer, (sluice_adapter_module)(gate + 1), expert),
        sluice_pass_entry(pass, layer, (sluice_adapter_module)(gate + 2), expert)};
}

typedef struct gather_job {
    const sluice_pass *pass;
    const int32_t *rows;
} gather_job;

static void gather_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                        float *scratch)
{
    const gather_job *job = context;
    const sluice_back_moe_kept *kept = &back->moe;
    const int64_t hidden = back->geometry.hidden;
    const size_t bytes = (size_t)hidden * sizeof(float);
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        memcpy(kept->gathered + i * hidden, kept->x + job->rows[i] * hidden, bytes);
        memcpy(kept->d_gathered + i * hidden, job->pass->dh + job->rows[i] * hidden, bytes);
        memset(kept->d_gathered_x + i * hidden, 0, bytes);
    }
}

static void expert_backward(sluice_pass *pass, int32_t layer, int32_t id,
                            const sluice_expert_weights *weights, bool through)
{
    const sluice_back_expert_entries entries =
        entries_of(pass, layer, SLUICE_ADAPTER_EXPERT_GATE, id);
    const sluice_back_moe_kept *kept = &pass->back->moe;
    const int32_t begin = pass->groups.begin[id], count = pass->groups.begin[id + 1] - begin;
    const int32_t *slots = pass->groups.slots + begin;
    const float *routed = pass->weights + layer * sluice_pass_entries(pass);
    const size_t row_bytes = (size_t)pass->model->config->hidden * sizeof(float);
    gather_job job = {pass, pass->groups.rows + begin};
    sluice_back_rows(pass->back, count, gather_rows, &job);
    for (int32_t i = 0; i < count; i++)
        kept->scale[i] = routed[slots[i]];
    sluice_back_expert(pass->back, weights, &entries, kept->gathered, kept->d_gathered, kept->scale,
                       count, kept->d_scale, through ? kept->d_gathered_x : NULL);
    for (int32_t i = 0; i < count && through; i++) {
        pass->d_weights[slots[i]] = kept->d_scale[i];
        pass->backend->buffer_write(pass->backend, pass->y, (size_t)slots[i] * row_bytes,
                                    (const char *)kept->d_gathered_x + (size_t)i * row_bytes,
                                    row_bytes);
    }
}

/* d_x += the experts' shares, in rank order. */
static void add_shares(sluice_pass *pass, const float *weights, int32_t n)
{
    const int32_t k = pass->model->config->top_k, hidden = pass->model->config->hidden;
    const size_t bytes = (size_t)k * (size_t)hidden * sizeof(float);
    for (int32_t row = 0; row < n; row++) {
        float *d_x = pass->back->moe.d_x + (int64_t)row * hidden;
        pass->backend->buffer_read(pass->backend, pass->y, (size_t)row * bytes, pass->parts, bytes);
        for (int32_t j = 0; j < k; j++) {
            if (weights[row * k + j] == 0.0f) continue;
            for (int32_t i = 0; i < hidden; i++)
                d_x[i] += pass->parts[(int64_t)j * hidden + i];
        }
    }
}

void sluice_pass_moe_prefetch(sluice_pass *pass, int32_t layer, int32_t n, bool through)
{
    group(pass, layer, n, !through);
    sluice_experts_request(pass->experts, layer, pass->groups.wanted, pass->groups.distinct,
                           SLUICE_EXPERTS_SWEEP);
}

sluice_status sluice_pass_moe_backward(sluice_pass *pass, int32_t layer, int32_t n, bool through,
                                       sluice_error *err)
{
    const sluice_model_layer *weights = &pass->model->layers[layer];
    const sluice_back_moe_kept *kept = &pass->back->moe;
    const int32_t k = pass->model->config->top_k;
    const int64_t routes = layer * sluice_pass_entries(pass);
    const sluice_back_expert_entries shared =
        entries_of(pass, layer, SLUICE_ADAPTER_SHARED_GATE, -1);
    group(pass, layer, n, !through);
    pass->result.needed_backward += needed(pass, layer);
    if (pass->groups.distinct)
        sluice_experts_request(pass->experts, layer, pass->groups.wanted, pass->groups.distinct,
                               SLUICE_EXPERTS_DEMAND);
    sluice_back_norm_forward(pass->back, pass->mid, weights->router.norm, n, kept->x);
    memset(kept->d_x, 0, (size_t)n * (size_t)pass->model->config->hidden * sizeof *kept->d_x);
    if (through || shared.gate || shared.up || shared.down)
        sluice_back_shared(pass->back, &weights->shared, &shared, kept->x, pass->dh, n,
                           through ? kept->d_x : NULL);
    if (pass->groups.distinct) SLUICE_TRY(sweep(pass, layer, expert_backward, through, err));
    if (!through) return SLUICE_OK;
    add_shares(pass, pass->weights + routes, n);
    sluice_back_router(pass->back, &weights->router, pass->ids + routes, pass->weights + routes,
                       pass->d_weights, n, k, kept->d_x);
    sluice_back_norm(pass->back, pass->mid, weights->router.norm, kept->d_x, n, pass->dh);
    return SLUICE_OK;
}
