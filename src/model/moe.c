/* One mixture-of-experts layer (see moe.h). */
#include "model/moe.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CALLS_MAX 16 /* experts that the backend gets at once */

struct sluice_moe {
    const sluice_model *model;
    sluice_backend *backend;
    sluice_experts *experts;
    const sluice_policy *policy;
    int32_t rows_max;
    sluice_moe_counts counts;
    const sluice_moe_observer *observer; /* NULL: nobody watches */

    sluice_buffer *x;      /* [rows_max, hidden], normed */
    sluice_buffer *shared; /* [rows_max, hidden] */
    sluice_buffer *y;      /* [rows_max * k, hidden]: entry j of row i in slot i * k + j, where k
                              is the policy's entries of a row */

    void *host; /* one block for the arrays below */
    size_t host_bytes;
    float *probs;          /* [rows_max * candidates], of the experts that the router names */
    int32_t *named;        /* [rows_max * candidates] */
    float *weights;        /* [rows_max * k] */
    int32_t *ids;          /* [rows_max * k] */
    int32_t *rows, *slots; /* [rows_max * k], grouped by expert */
    int32_t *begin;        /* [experts + 1]: expert e has rows[begin[e] .. begin[e + 1]) */
    int32_t *wanted;       /* [experts]: the distinct experts, ascending */

    /* For an observer, taken when there is one. */
    float *gates;                      /* [rows_max, experts] */
    float *outputs, *output, *outcome; /* of one row: [k, hidden], [hidden], [hidden] */
};

static size_t rows_bytes(const sluice_config *config, int32_t rows)
{
    return (size_t)rows * (size_t)config->hidden * sizeof(float);
}

static size_t candidates_max(const sluice_config *config)
{
    return (size_t)sluice_policy_candidates_max(config->experts, config->top_k);
}

static size_t host_bytes(const sluice_config *config, int32_t rows_max)
{
    size_t entries = (size_t)rows_max * (size_t)config->top_k;
    size_t candidates = (size_t)rows_max * candidates_max(config);
    return (2 * candidates + 4 * entries + 2 * (size_t)config->experts + 1) * sizeof(int32_t);
}

uint64_t sluice_moe_scratch_bytes(const sluice_config *config, int32_t rows_max)
{
    return (uint64_t)rows_bytes(config, rows_max) * (uint64_t)(config->top_k + 2) +
           host_bytes(config, rows_max);
}

static sluice_status take_scratch(sluice_moe *moe, sluice_error *err)
{
    const sluice_config *config = moe->model->config;
    sluice_backend *be = moe->backend;
    size_t bytes = rows_bytes(config, moe->rows_max);
    size_t entries = (size_t)moe->rows_max * (size_t)config->top_k;
    SLUICE_TRY(be->buffer_new(be, bytes, "scratch", &moe->x, err));
    SLUICE_TRY(be->buffer_new(be, bytes, "scratch", &moe->shared, err));
    SLUICE_TRY(be->buffer_new(be, bytes * (size_t)config->top_k, "scratch", &moe->y, err));
    moe->host_bytes = host_bytes(config, moe->rows_max);
    SLUICE_TRY(sluice_memory_new(moe->model->budget, moe->host_bytes, "scratch", &moe->host, err));
    size_t candidates = (size_t)moe->rows_max * candidates_max(config);
    moe->probs = moe->host;
    moe->weights = moe->probs + candidates;
    moe->named = (int32_t *)(void *)(moe->weights + entries);
    moe->ids = moe->named + candidates;
    moe->rows = moe->ids + entries;
    moe->slots = moe->rows + entries;
    moe->wanted = moe->slots + entries;
    moe->begin = moe->wanted + config->experts;
    return SLUICE_OK;
}

sluice_status sluice_moe_new(const sluice_model *model, sluice_backend *backend,
                             sluice_experts *experts, const sluice_policy *policy, int32_t rows_max,
                             sluice_moe **out, sluice_error *err)
{
    sluice_moe *moe = calloc(1, sizeof *moe);
    if (!moe) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the experts' scratch");
    moe->model = model;
    moe->backend = backend;
    moe->experts = experts;
    moe->policy = policy;
    moe->rows_max = rows_max;
    sluice_status status = take_scratch(moe, err);
    if (status != SLUICE_OK) {
        sluice_moe_free(moe);
        return status;
    }
    *out = moe;
    return SLUICE_OK;
}

void sluice_moe_free(sluice_moe *moe)
{
    if (!moe) return;
    sluice_backend *be = moe->backend;
    if (moe->x) be->buffer_free(be, moe->x);
    if (moe->shared) be->buffer_free(be, moe->shared);
    if (moe->y) be->buffer_free(be, moe->y);
    if (moe->host) sluice_memory_free(moe->model->budget, moe->host, moe->host_bytes, "scratch");
    sluice_moe_observe(moe, NULL, NULL);
    free(moe);
}

/* Sorts the entries that run by expert, rows ascending within each; returns how many experts. */
static int32_t group_by_expert(sluice_moe *moe, int32_t n)
{
    int32_t k = moe->policy->entries, experts = moe->policy->experts, entries = n * k, distinct = 0;
    int32_t *begin = moe->begin;
    memset(begin, 0, (size_t)(experts + 1) * sizeof *begin);
    for (int32_t i = 0; i < entries; i++)
        if (moe->weights[i] != 0.0f) begin[moe->ids[i] + 1]++, moe->counts.uses++;
    for (int32_t e = 0; e < experts; e++) {
        if (begin[e + 1]) moe->wanted[distinct++] = e;
        begin[e + 1] += begin[e];
    }
    /* Filling advances begin[e] to the end of e, which is the beginning of e + 1: shift back. */
    for (int32_t i = 0; i < entries; i++) {
        if (moe->weights[i] == 0.0f) continue;
        int32_t at = begin[moe->ids[i]]++;
        moe->rows[at] = i / k;
        moe->slots[at] = i;
    }
    memmove(begin + 1, begin, (size_t)experts * sizeof *begin);
    begin[0] = 0;
    return distinct;
}

static void set_call(const sluice_moe *moe, int32_t layer, int32_t id, const void *record,
                     sluice_expert_call *call)
{
    int32_t begin = moe->begin[id];
    *call = (sluice_expert_call){
        .weights = {.layer = layer, .id = id, .shares = moe->weights},
        .rows = moe->rows + begin,
        .slots = moe->slots + begin,
        .m = moe->begin[id + 1] - begin,
    };
    sluice_record_weights(moe->model->layers[layer].record, moe->model->config, record,
                          &call->weights.gate, &call->weights.up, &call->weights.down);
    if (moe->model->n_adapters) sluice_model_adapt_expert(moe->model, layer, id, &call->weights);
}

/* Waits for one expert and takes what else is there, as many as may be held at once; *n is 0 when
 * there are no more. Those taken before an error are the caller's to release too. */
static sluice_status take_calls(sluice_moe *moe, int32_t layer, sluice_expert_call *calls,
                                int32_t *n, sluice_error *err)
{
    int32_t most = moe->model->config->top_k < CALLS_MAX ? moe->model->config->top_k : CALLS_MAX;
    *n = 0;
    do {
        int32_t id;
        const void *record;
        SLUICE_TRY(sluice_experts_next(moe->experts, &id, &record, err));
        if (id < 0) break;
        set_call(moe, layer, id, record, &calls[(*n)++]);
    } while (*n < most && sluice_experts_ready(moe->experts));
    return SLUICE_OK;
}

/* While the last of the wanted experts is still being read the disk has nothing else to do: guesses
 * begin now. missing is that expert. */
static void look_ahead_early(sluice_moe *moe, sluice_lookahead *lookahead, int32_t layer, int32_t n,
                             int32_t missing, const sluice_buffer *h)
{
    int32_t k = sluice_policy_entries(moe->policy, layer);
    const sluice_lookahead_sum sum = {.top_k = moe->policy->entries,
                                      .missing = missing,
                                      .ids = moe->ids,
                                      .weights = moe->weights,
                                      .y = moe->y,
                                      .shared = moe->shared};
    if (k > 0) sluice_lookahead_guess_early(lookahead, layer, n, k, &sum, h);
}

/* lookahead: NULL if there is nothing to guess. *guessed: whether that has been done. */
static sluice_status run_experts(sluice_moe *moe, int32_t layer, int32_t n, int32_t distinct,
                                 sluice_lookahead *lookahead, const sluice_buffer *h, bool *guessed,
                                 sluice_error *err)
{
    int64_t left_sum = 0; /* of the ids that have not come yet */
    for (int32_t i = 0; i < distinct; i++)
        left_sum += moe->wanted[i];
    sluice_expert_call calls[CALLS_MAX];
    for (int32_t left = distinct, count;; left -= count) {
        if (left == 1 && lookahead && n <= SLUICE_LOOKAHEAD_ROWS &&
            !sluice_experts_ready(moe->experts)) {
            look_ahead_early(moe, lookahead, layer + 1, n, (int32_t)left_sum, h);
            *guessed = true;
        }
        sluice_status status = take_calls(moe, layer, calls, &count, err);
        if (count && status == SLUICE_OK)
            moe->backend->experts(moe->backend, calls, count, moe->x, moe->y);
        for (int32_t i = 0; i < count; i++) {
            left_sum -= calls[i].weights.id;
            sluice_experts_release(moe->experts, layer, calls[i].weights.id);
        }
        if (!count || status != SLUICE_OK) return status;
    }
}

static void look_ahead(const sluice_moe *moe, sluice_lookahead *lookahead, int32_t layer, int32_t n,
                       int32_t distinct, const sluice_buffer *h)
{
    int32_t k = sluice_policy_entries(moe->policy, layer);
    if (k == 0) return;
    if (n <= SLUICE_LOOKAHEAD_ROWS)
        sluice_lookahead_guess(lookahead, layer, n, k, h);
    else
        sluice_lookahead_sweep(lookahead, layer, distinct);
}

void sluice_moe_guess_first(const sluice_moe *moe, sluice_lookahead *lookahead, int32_t n,
                            const sluice_buffer *h)
{
    int64_t uses = (int64_t)n * sluice_policy_entries(moe->policy, 0);
    bool most = uses >= 2 * moe->policy->experts; /* 86% of them if all are as likely */
    look_ahead(moe, lookahead, 0, n, most ? moe->policy->experts : 0, h);
}

/* Shows each row to the observer; h is what went in still. */
static void show(sluice_moe *moe, int32_t layer, int32_t n, const sluice_buffer *h)
{
    sluice_backend *be = moe->backend;
    int32_t k = moe->policy->entries, experts = moe->policy->experts;
    size_t row_bytes = rows_bytes(moe->model->config, 1);
    sluice_moe_observation seen = {.layer = layer,
                                   .k = k,
                                   .outputs = moe->outputs,
                                   .shared = moe->output,
                                   .stream = moe->outcome};
    for (int32_t i = 0; i < n; i++) {
        be->buffer_read(be, moe->y, (size_t)(i * k) * row_bytes, moe->outputs,
                        (size_t)k * row_bytes);
        be->buffer_read(be, moe->shared, (size_t)i * row_bytes, moe->output, row_bytes);
        be->buffer_read(be, h, (size_t)i * row_bytes, moe->outcome, row_bytes);
        seen.row = i;
        seen.ids = moe->ids + i * k;
        seen.weights = moe->weights + i * k;
        seen.gates = moe->gates + (size_t)i * (size_t)experts;
        moe->observer->see(moe->observer->context, &seen);
    }
}

sluice_status sluice_moe_run(sluice_moe *moe, const sluice_moe_step *step, sluice_buffer *h,
                             sluice_error *err)
{
    int32_t layer = step->layer, n = step->rows, k = moe->policy->entries;
    const sluice_model_layer *weights = &moe->model->layers[layer];
    sluice_lookahead *lookahead = step->lookahead;
    sluice_backend *be = moe->backend;

    be->router(be, &weights->router, n, moe->policy->candidates, h, moe->x, moe->named, moe->probs,
               moe->gates);
    sluice_policy_gates gates = {moe->named, moe->probs, step->bulk};
    SLUICE_TRY(sluice_policy_route(moe->policy, layer, n, &gates, moe->ids, moe->weights, err));
    int32_t distinct = group_by_expert(moe, n);
    if (distinct)
        sluice_experts_request(moe->experts, layer, moe->wanted, distinct, SLUICE_EXPERTS_DEMAND);
    if (lookahead) sluice_lookahead_compare(lookahead, layer, moe->wanted, distinct);
    be->shared_expert(be, &weights->shared, n, moe->x, moe->shared);
    uint64_t start = sluice_clock_ns();
    bool last = layer + 1 == moe->model->config->layers, guessed = false;
    if (distinct)
        SLUICE_TRY(run_experts(moe, layer, n, distinct, last ? NULL : lookahead, h, &guessed, err));
    moe->counts.routed_ns += sluice_clock_ns() - start;
    if (moe->observer) show(moe, layer, n, h);
    be->combine(be, n, k, moe->weights, moe->y, moe->shared, h);
    if (lookahead && !last && !guessed) look_ahead(moe, lookahead, layer + 1, n, distinct, h);
    return SLUICE_OK;
}

sluice_moe_routes sluice_moe_last(const sluice_moe *moe)
{
    return (sluice_moe_routes){moe->policy->entries, moe->ids, moe->weights};
}

sluice_moe_counts sluice_moe_counts_get(const sluice_moe *moe)
{
    return moe->counts;
}

sluice_status sluice_moe_observe(sluice_moe *moe, const sluice_moe_observer *observer,
                                 sluice_error *err)
{
    free(moe->gates);
    free(moe->outputs);
    moe->gates = moe->outputs = NULL;
    moe->observer = NULL;
    if (!observer) return SLUICE_OK;
    const sluice_config *config = moe->model->config;
    size_t hidden = (size_t)config->hidden, k = (size_t)moe->policy->entries;
    moe->gates = malloc((size_t)moe->rows_max * (size_t)config->experts * sizeof *moe->gates);
    moe->outputs = malloc((k + 2) * hidden * sizeof *moe->outputs);
    if (!moe->gates || !moe->outputs) {
        sluice_moe_observe(moe, NULL, NULL);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to observe the experts");
    }
    moe->output = moe->outputs + k * hidden;
    moe->outcome = moe->output + hidden;
    moe->observer = observer;
    return SLUICE_OK;
}
