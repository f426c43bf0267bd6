/* The order of a pass: embedding, layers up, head and loss, layers down (see pass.h). */
#include "train/pass.h"

#include <string.h>

#include "base/clock.h"
#include "train/pass_inside.h"

bool sluice_pass_mixer_trained(const sluice_pass *pass, int32_t layer)
{
    for (int m = SLUICE_ADAPTER_ATTN_Q; m <= SLUICE_ADAPTER_GDN_OUT; m++)
        if (sluice_pass_entry(pass, layer, (sluice_adapter_module)m, -1)) return true;
    return false;
}

bool sluice_pass_through(const sluice_pass *pass, int32_t layer)
{
    return layer > pass->lowest || sluice_pass_mixer_trained(pass, layer);
}

int32_t sluice_pass_lowest(const sluice_pass *pass)
{
    return pass->lowest;
}

static sluice_status check_batch(const sluice_pass *pass, const sluice_train_batch *batch,
                                 sluice_error *err)
{
    const int32_t vocab = pass->model->config->vocab;
    int32_t row = 0;
    if (batch->rows < 1 || batch->rows > pass->rows_max || batch->n_segments > pass->segments_max)
        return sluice_fail(err, SLUICE_LIMIT,
                           "a batch of %d tokens in %d sequences; there is room for %d in %d",
                           batch->rows, batch->n_segments, pass->rows_max, pass->segments_max);
    for (int32_t s = 0; s < batch->n_segments; s++) {
        const sluice_segment *segment = &batch->segments[s];
        if (segment->row != row || segment->count < 1 || segment->position != 0 ||
            segment->count > batch->rows - row)
            return sluice_fail(err, SLUICE_BAD_INPUT,
                               "sequence %d of a batch does not follow the one before it", s);
        row += segment->count;
    }
    if (row != batch->rows)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%d of a batch's %d tokens are in no sequence",
                           batch->rows - row, batch->rows);
    for (int32_t i = 0; i < batch->rows; i++)
        if (batch->tokens[i] < 0 || batch->tokens[i] >= vocab || batch->targets[i] >= vocab)
            return sluice_fail(err, SLUICE_BAD_INPUT,
                               "token %d or target %d at %d of a batch is not in the vocabulary "
                               "of %d",
                               batch->tokens[i], batch->targets[i], i, vocab);
    return SLUICE_OK;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Lays the sequences' memory of one layer out, and clears what begins clear. */
static void begin_states(sluice_pass *pass, const sluice_train_batch *batch, bool attention)
{
    const sluice_geometry *g = &pass->model->geometry;
    const size_t conv =
        aligned((size_t)(g->conv_width - 1) * (size_t)sluice_gdn_channels(g) * sizeof(float));
    const size_t s =
        (size_t)g->gdn_v_heads * (size_t)g->gdn_k_dim * (size_t)g->gdn_v_dim * sizeof(float);
    size_t at = 0;
    for (int32_t i = 0; i < batch->n_segments; i++) {
        sluice_layer_state *state = &pass->states[i];
        *state = (sluice_layer_state){.memory = pass->state};
        if (attention) {
            state->capacity = sluice_kv_positions(batch->segments[i].count);
            const size_t bytes =
                (size_t)g->kv_heads * (size_t)state->capacity * (size_t)g->head_dim * sizeof(float);
            state->k = at;
            state->v = at + bytes;
            at += 2 * bytes;
        } else {
            state->conv = at;
            state->s = at + conv;
            pass->backend->buffer_write(pass->backend, pass->state, at, pass->zeros, conv + s);
            at += aligned(conv + s);
        }
    }
}

static void run_mixer(sluice_pass *pass, const sluice_train_batch *batch, int32_t layer)
{
    const sluice_model_layer *weights = &pass->model->layers[layer];
    const bool attention = weights->mixer == SLUICE_MIXER_ATTENTION;
    sluice_backend *be = pass->backend;
    begin_states(pass, batch, attention);
    if (attention)
        be->attention(be, &weights->attention, batch->segments, pass->states, batch->n_segments,
                      batch->rows, pass->h);
    else
        be->gdn(be, &weights->gdn, batch->segments, pass->states, batch->n_segments, batch->rows,
                pass->h);
}

static sluice_status go_up(sluice_pass *pass, const sluice_train_batch *batch, bool keep,
                           sluice_error *err)
{
    const size_t floats = (size_t)batch->rows * (size_t)pass->model->config->hidden;
    sluice_backend *be = pass->backend;
    SLUICE_TRY(sluice_embedding_run(pass->embedding, batch->tokens, batch->rows, pass->h, err));
    for (int32_t layer = 0; layer < pass->model->config->layers; layer++) {
        if (keep && layer >= pass->lowest) {
            const int32_t slot = layer - pass->lowest;
            be->buffer_read(be, pass->h, 0, sluice_inputs_room(pass->inputs, slot),
                            floats * sizeof(float));
            SLUICE_TRY(sluice_inputs_put(pass->inputs, slot, floats, err));
        }
        run_mixer(pass, batch, layer);
        SLUICE_TRY(sluice_pass_moe_forward(pass, layer, batch->rows, err));
    }
    be->buffer_read(be, pass->h, 0, pass->top, floats * sizeof(float));
    return SLUICE_OK;
}

static void mixer_backward(sluice_pass *pass, const sluice_train_batch *batch, int32_t layer,
                           const float *input)
{
    const sluice_model_layer *weights = &pass->model->layers[layer];
#define ENTRY(module) sluice_pass_entry(pass, layer, SLUICE_ADAPTER_##module, -1)
    if (weights->mixer == SLUICE_MIXER_ATTENTION) {
        const sluice_back_attention_entries entries = {ENTRY(ATTN_Q), ENTRY(ATTN_K), ENTRY(ATTN_V),
                                                       ENTRY(ATTN_O)};
        sluice_back_attention(pass->back, &weights->attention, &entries, batch->segments,
                              batch->n_segments, batch->rows, input, pass->dh);
    } else {
        const sluice_back_gdn_entries entries = {ENTRY(GDN_QKV), ENTRY(GDN_Z), ENTRY(GDN_B),
                                                 ENTRY(GDN_A), ENTRY(GDN_OUT)};
        sluice_back_gdn(pass->back, &weights->gdn, &entries, batch->segments, batch->n_segments,
                        batch->rows, input, pass->dh);
    }
#undef ENTRY
}

static sluice_status layer_down(sluice_pass *pass, const sluice_train_batch *batch, int32_t layer,
                                sluice_error *err)
{
    const sluice_model_layer *weights = &pass->model->layers[layer];
    const bool through = sluice_pass_through(pass, layer);
    const float *input;
    SLUICE_TRY(sluice_inputs_get(pass->inputs, layer - pass->lowest,
                                 (size_t)batch->rows * (size_t)pass->model->config->hidden, &input,
                                 err));
    if (weights->mixer == SLUICE_MIXER_ATTENTION)
        sluice_back_attention_forward(pass->back, &weights->attention, batch->segments,
                                      batch->n_segments, batch->rows, input, pass->mid);
    else
        sluice_back_gdn_forward(pass->back, &weights->gdn, batch->segments, batch->n_segments,
                                batch->rows, input, pass->mid);
    SLUICE_TRY(sluice_pass_moe_backward(pass, layer, batch->rows, through, err));
    if (layer > pass->lowest)
        sluice_pass_moe_prefetch(pass, layer - 1, batch->rows,
                                 sluice_pass_through(pass, layer - 1));
    if (through) mixer_backward(pass, batch, layer, input);
    return SLUICE_OK;
}

static sluice_status go_down(sluice_pass *pass, const sluice_train_batch *batch, sluice_error *err)
{
    for (int32_t layer = pass->model->config->layers - 1; layer >= pass->lowest; layer--) {
        if (pass->gradients) SLUICE_TRY(sluice_gradients_begin(pass->gradients, layer, err));
        SLUICE_TRY(layer_down(pass, batch, layer, err));
        if (pass->gradients) SLUICE_TRY(sluice_gradients_end(pass->gradients, layer, err));
    }
    return SLUICE_OK;
}

static sluice_status run(sluice_pass *pass, const sluice_train_batch *batch, float scale,
                         sluice_error *err)
{
    const bool backward = scale != 0.0f && pass->adapter;
    const int32_t last = pass->model->config->layers - 1;
    sluice_pass_result *result = &pass->result;
    sluice_experts_stats before, middle, after;
    sluice_experts_stats_get(pass->experts, &before);
    const uint64_t start = sluice_clock_ns();
    SLUICE_TRY(go_up(pass, batch, backward, err));
    const uint64_t up = sluice_clock_ns();
    if (backward)
        sluice_pass_moe_prefetch(pass, last, batch->rows, sluice_pass_through(pass, last));
    result->nll = sluice_back_loss(pass->back, pass->model->norm, &pass->model->head, pass->top,
                                   batch->targets, batch->rows, scale, backward ? pass->dh : NULL,
                                   &result->targets);
    const uint64_t head = sluice_clock_ns();
    sluice_experts_stats_get(pass->experts, &middle);
    if (backward) SLUICE_TRY(go_down(pass, batch, err));
    sluice_experts_stats_get(pass->experts, &after);
    result->forward_ns = up - start;
    result->head_ns = head - up;
    result->backward_ns = sluice_clock_ns() - head;
    result->bytes_forward = middle.bytes_read - before.bytes_read;
    result->bytes_backward = after.bytes_read - middle.bytes_read;
    result->wait_ns = (after.wait_us - before.wait_us) * 1000;
    return SLUICE_OK;
}

sluice_status sluice_pass_run(sluice_pass *pass, const sluice_train_batch *batch, float scale,
                              sluice_pass_result *result, sluice_error *err)
{
    SLUICE_TRY(check_batch(pass, batch, err));
    pass->result = (sluice_pass_result){0};
    SLUICE_TRY(run(pass, batch, scale, err));
    *result = pass->result;
    return SLUICE_OK;
}
