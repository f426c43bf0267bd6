/* The forward pass (see forward.h). */
#include "model/forward.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct sluice_forward {
    const sluice_model *model;
    sluice_backend *backend;
    int32_t rows_max, logits_rows;
    sluice_embedding *embedding;
    sluice_moe *moe;
    sluice_lookahead *lookahead; /* NULL if it is off */
    sluice_buffer *h;            /* [rows_max, hidden], the residual stream */

    void *host; /* one block for the arrays below */
    size_t host_bytes;
    sluice_layer_state *states;        /* [rows_max], one per segment */
    sluice_segment *segments;          /* [rows_max] */
    int32_t *tokens;                   /* [rows_max] */
    int32_t *head_rows;                /* [rows_max]: rows whose logits are wanted */
    int32_t *head_parts, *head_tokens; /* [rows_max]: whose they are */
    uint8_t *bulk;                     /* [rows_max] */
    bool has_bulk;                     /* in the batch under way */
    float *logits;                     /* [logits_rows, vocab] */
    float *hidden;              /* [rows_max, hidden], for probes only; taken when first needed */
    sluice_forward_times times; /* routed_ns is the mixtures' own */
};

static size_t host_bytes(const sluice_config *config, int32_t rows_max, int32_t logits_rows)
{
    size_t row = sizeof(sluice_layer_state) + sizeof(sluice_segment) + 4 * sizeof(int32_t) + 1;
    size_t logits = ((size_t)logits_rows * (size_t)config->vocab + 15) / 16 * 16;
    return (size_t)rows_max * row + logits * sizeof(float);
}

static size_t rows_bytes(const sluice_config *config, int32_t rows)
{
    return (size_t)rows * (size_t)config->hidden * sizeof(float);
}

uint64_t sluice_forward_scratch_bytes(const sluice_config *config, sluice_weight_format embedding,
                                      bool embedding_on_disk, int32_t rows_max, int32_t logits_rows,
                                      int32_t lookahead)
{
    uint64_t guesses = lookahead ? sluice_lookahead_scratch_bytes(config, lookahead) : 0;
    return guesses + sluice_embedding_scratch_bytes(config, embedding, embedding_on_disk) +
           sluice_moe_scratch_bytes(config, rows_max) + rows_bytes(config, rows_max) +
           host_bytes(config, rows_max, logits_rows);
}

static sluice_status take_scratch(sluice_forward *forward, sluice_error *err)
{
    const sluice_config *config = forward->model->config;
    size_t rows = (size_t)forward->rows_max;
    size_t logits = ((size_t)forward->logits_rows * (size_t)config->vocab + 15) / 16 * 16;
    SLUICE_TRY(forward->backend->buffer_new(forward->backend, rows_bytes(config, forward->rows_max),
                                            "scratch", &forward->h, err));
    forward->host_bytes = host_bytes(config, forward->rows_max, forward->logits_rows);
    SLUICE_TRY(sluice_memory_new(forward->model->budget, forward->host_bytes, "scratch",
                                 &forward->host, err));
    forward->logits = forward->host;
    forward->states = (sluice_layer_state *)(void *)(forward->logits + logits);
    forward->segments = (sluice_segment *)(void *)(forward->states + rows);
    forward->tokens = (int32_t *)(void *)(forward->segments + rows);
    forward->head_rows = forward->tokens + rows;
    forward->head_parts = forward->head_rows + rows;
    forward->head_tokens = forward->head_parts + rows;
    forward->bulk = (uint8_t *)(forward->head_tokens + rows);
    return SLUICE_OK;
}

sluice_status sluice_forward_new(const sluice_forward_options *options, sluice_forward **out,
                                 sluice_error *err)
{
    sluice_forward *forward = calloc(1, sizeof *forward);
    if (!forward) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the forward pass");
    forward->model = options->model;
    forward->backend = options->backend;
    forward->rows_max = options->rows_max;
    forward->logits_rows = options->logits_rows;
    sluice_status status =
        sluice_embedding_new(options->model, options->backend, &forward->embedding, err);
    if (status == SLUICE_OK)
        status = sluice_moe_new(options->model, options->backend, options->experts, options->policy,
                                options->rows_max, &forward->moe, err);
    if (status == SLUICE_OK && options->lookahead)
        status = sluice_lookahead_new(options->model, options->backend, options->experts,
                                      options->lookahead, &forward->lookahead, err);
    if (status == SLUICE_OK) status = take_scratch(forward, err);
    if (status != SLUICE_OK) {
        sluice_forward_free(forward);
        return status;
    }
    *out = forward;
    return SLUICE_OK;
}

void sluice_forward_free(sluice_forward *forward)
{
    if (!forward) return;
    sluice_embedding_free(forward->embedding);
    sluice_moe_free(forward->moe);
    sluice_lookahead_free(forward->lookahead);
    if (forward->h) forward->backend->buffer_free(forward->backend, forward->h);
    if (forward->host)
        sluice_memory_free(forward->model->budget, forward->host, forward->host_bytes, "scratch");
    free(forward->hidden);
    free(forward);
}

static sluice_status check_part(const sluice_forward *forward, const sluice_forward_part *part,
                                sluice_error *err)
{
    int32_t capacity = part->state->layout->capacity, position = part->state->position;
    if (part->count > capacity - position)
        return sluice_fail(err, SLUICE_LIMIT,
                           "%d more tokens after %d do not fit into a context of "
                           "%d",
                           part->count, position, capacity);
    for (int32_t i = 0; i < part->count; i++)
        if (part->tokens[i] < 0 || part->tokens[i] >= forward->model->config->vocab)
            return sluice_fail(err, SLUICE_BAD_INPUT,
                               "token %d at position %d is not in the "
                               "vocabulary of %d",
                               part->tokens[i], position + i, forward->model->config->vocab);
    return SLUICE_OK;
}

/* Lays the parts out as rows. Returns the rows; *wanted is how many of them have logits. */
static sluice_status lay_out(sluice_forward *forward, const sluice_forward_part *parts,
                             int32_t n_parts, int32_t *rows, int32_t *wanted, sluice_error *err)
{
    int32_t row = 0, heads = 0;
    forward->has_bulk = false;
    for (int32_t p = 0; p < n_parts; p++) {
        const sluice_forward_part *part = &parts[p];
        SLUICE_TRY(check_part(forward, part, err));
        if (part->count < 1 || part->count > forward->rows_max - row || part->state->stale)
            return sluice_fail(err, SLUICE_INTERNAL,
                               "a batch of more than %d rows, an empty part or a "
                               "stale state",
                               forward->rows_max);
        forward->segments[p] = (sluice_segment){row, part->count, part->state->position};
        memcpy(forward->tokens + row, part->tokens, (size_t)part->count * sizeof *part->tokens);
        for (int32_t i = part->logits_from < 0 ? 0 : part->logits_from; i < part->count; i++) {
            forward->head_rows[heads] = row + i;
            forward->head_parts[heads] = p;
            forward->head_tokens[heads++] = i;
        }
        for (int32_t i = 0; i < part->count; i++)
            forward->bulk[row + i] = i < part->bulk;
        forward->has_bulk |= part->bulk > 0;
        row += part->count;
    }
    *rows = row;
    *wanted = heads;
    return SLUICE_OK;
}

static sluice_status probe(sluice_forward *forward, const sluice_forward_callbacks *callbacks,
                           int32_t layer, int32_t rows, sluice_error *err)
{
    const sluice_config *config = forward->model->config;
    if (!forward->hidden) forward->hidden = malloc(rows_bytes(config, forward->rows_max));
    if (!forward->hidden) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a probe");
    forward->backend->buffer_read(forward->backend, forward->h, 0, forward->hidden,
                                  rows_bytes(config, rows));
    sluice_moe_routes routes = sluice_moe_last(forward->moe);
    callbacks->layer(callbacks->layer_context, layer, rows, &routes, forward->hidden);
    return SLUICE_OK;
}

static sluice_status run_layers(sluice_forward *forward, const sluice_forward_part *parts,
                                int32_t n_parts, int32_t rows,
                                const sluice_forward_callbacks *callbacks, sluice_error *err)
{
    sluice_backend *be = forward->backend;
    SLUICE_TRY(sluice_embedding_run(forward->embedding, forward->tokens, rows, forward->h, err));
    /* The first layer has none before it; what is embedded tells enough. */
    if (forward->lookahead)
        sluice_moe_guess_first(forward->moe, forward->lookahead, rows, forward->h);
    for (int32_t i = 0; i < forward->model->config->layers; i++) {
        const sluice_model_layer *layer = &forward->model->layers[i];
        for (int32_t p = 0; p < n_parts; p++)
            forward->states[p] = sluice_state_layer(parts[p].state, i);
        if (layer->mixer == SLUICE_MIXER_ATTENTION)
            be->attention(be, &layer->attention, forward->segments, forward->states, n_parts, rows,
                          forward->h);
        else
            be->gdn(be, &layer->gdn, forward->segments, forward->states, n_parts, rows, forward->h);
        sluice_moe_step step = {.layer = i,
                                .rows = rows,
                                .bulk = forward->has_bulk ? forward->bulk : NULL,
                                .lookahead = forward->lookahead};
        SLUICE_TRY(sluice_moe_run(forward->moe, &step, forward->h, err));
        if (callbacks->layer) SLUICE_TRY(probe(forward, callbacks, i, rows, err));
    }
    return SLUICE_OK;
}

static sluice_status run_head(sluice_forward *forward, int32_t wanted,
                              const sluice_forward_callbacks *callbacks)
{
    const sluice_model *model = forward->model;
    for (int32_t done = 0; done < wanted; done += forward->logits_rows) {
        int32_t left = wanted - done;
        int32_t n = left < forward->logits_rows ? left : forward->logits_rows;
        uint64_t start = sluice_clock_ns();
        forward->backend->head(forward->backend, model->norm, &model->head,
                               forward->head_rows + done, n, forward->h, forward->logits, NULL);
        forward->times.head_ns += sluice_clock_ns() - start;
        forward->times.head_batches++;
        for (int32_t i = 0; i < n; i++)
            SLUICE_TRY(callbacks->logits(
                callbacks->context, forward->head_parts[done + i], forward->head_tokens[done + i],
                forward->logits + (size_t)i * (size_t)model->config->vocab));
    }
    return SLUICE_OK;
}

sluice_status sluice_forward_run(sluice_forward *forward, const sluice_forward_part *parts,
                                 int32_t n_parts, const sluice_forward_callbacks *callbacks,
                                 sluice_error *err)
{
    int32_t rows = 0, wanted = 0;
    SLUICE_TRY(lay_out(forward, parts, n_parts, &rows, &wanted, err));
    uint64_t start = sluice_clock_ns(), routed_ns = sluice_moe_counts_get(forward->moe).routed_ns;
    sluice_status status = run_layers(forward, parts, n_parts, rows, callbacks, err);
    routed_ns = sluice_moe_counts_get(forward->moe).routed_ns - routed_ns;
    forward->times.trunk_ns += sluice_clock_ns() - start - routed_ns;
    forward->times.batches++;
    if (status != SLUICE_OK) {
        for (int32_t p = 0; p < n_parts; p++)
            parts[p].state->stale = true;
        return status;
    }
    for (int32_t p = 0; p < n_parts; p++)
        sluice_state_append(parts[p].state, parts[p].tokens, parts[p].count);
    return run_head(forward, wanted, callbacks);
}

void sluice_forward_times_get(const sluice_forward *forward, sluice_forward_times *times)
{
    *times = forward->times;
    sluice_moe_counts counts = sluice_moe_counts_get(forward->moe);
    times->routed_ns = counts.routed_ns;
    times->uses = counts.uses;
}

sluice_status sluice_forward_observe(sluice_forward *forward, const sluice_moe_observer *observer,
                                     sluice_error *err)
{
    return sluice_moe_observe(forward->moe, observer, err);
}

sluice_lookahead_stats sluice_forward_lookahead(const sluice_forward *forward)
{
    if (!forward->lookahead) return (sluice_lookahead_stats){0};
    return sluice_lookahead_stats_get(forward->lookahead);
}
