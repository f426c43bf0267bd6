/* A sequence's memory: layout, clear, copy, truncate, checkpoints (see state.h). */
#include "model/state.h"

#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 64u

static size_t round_up(size_t bytes)
{
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

void sluice_state_layout_init(sluice_state_layout *layout, const sluice_config *config,
                              int32_t positions, sluice_kv_type kv)
{
    size_t keys = (size_t)config->gdn_k_heads * (size_t)config->gdn_k_dim;
    size_t values = (size_t)config->gdn_v_heads * (size_t)config->gdn_v_dim;
    size_t channels = 2 * keys + values;
    size_t s_floats = values * (size_t)config->gdn_k_dim;

    memset(layout, 0, sizeof *layout);
    layout->layers = config->layers;
    layout->capacity = sluice_kv_positions(positions);
    layout->kv_heads = config->kv_heads;
    layout->head_dim = config->head_dim;
    layout->vocab = config->vocab;
    layout->kv = kv;
    memcpy(layout->mixer, config->mixer, (size_t)config->layers);
    layout->conv_bytes = round_up((size_t)(config->conv_width - 1) * channels * sizeof(float));
    layout->kv_bytes = round_up((size_t)config->kv_heads * (size_t)layout->capacity *
                                sluice_kv_bytes(kv, config->head_dim));
    for (int32_t i = 0; i < config->layers; i++) {
        if (config->mixer[i] != SLUICE_MIXER_GDN) continue;
        layout->offset[i] = layout->fixed_bytes;
        layout->fixed_bytes += layout->conv_bytes + round_up(s_floats * sizeof(float));
    }
    layout->bytes = layout->fixed_bytes;
    for (int32_t i = 0; i < config->layers; i++) {
        if (config->mixer[i] != SLUICE_MIXER_ATTENTION) continue;
        layout->offset[i] = layout->bytes;
        layout->bytes += 2 * layout->kv_bytes;
    }
}

size_t sluice_state_chunked_words(const sluice_state_layout *layout)
{
    return (size_t)layout->capacity / SLUICE_GDN_BLOCK / 64 + 1;
}

sluice_status sluice_state_new(const sluice_state_layout *layout, sluice_backend *backend,
                               uint32_t fingerprint, sluice_state **out, sluice_error *err)
{
    sluice_state *state = calloc(1, sizeof *state);
    if (state) {
        state->layout = layout;
        state->backend = backend;
        state->fingerprint = fingerprint;
        state->tokens = calloc((size_t)layout->capacity + 1, sizeof *state->tokens);
        state->chunked = calloc(sluice_state_chunked_words(layout), sizeof *state->chunked);
    }
    if (!state || !state->tokens || !state->chunked) {
        sluice_state_free(state);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tokens of %d positions",
                           layout->capacity);
    }
    sluice_status status =
        backend->buffer_new(backend, layout->bytes, "state", &state->memory, err);
    if (status != SLUICE_OK) {
        sluice_state_free(state);
        return status;
    }
    *out = state;
    return SLUICE_OK;
}

void sluice_state_free(sluice_state *state)
{
    if (!state) return;
    if (state->memory) state->backend->buffer_free(state->backend, state->memory);
    free(state->tokens);
    free(state->chunked);
    free(state);
}

sluice_layer_state sluice_state_layer(const sluice_state *state, int32_t layer)
{
    const sluice_state_layout *layout = state->layout;
    size_t offset = layout->offset[layer];
    sluice_layer_state at = {
        .memory = state->memory, .capacity = layout->capacity, .kv = layout->kv};
    if (layout->mixer[layer] == SLUICE_MIXER_ATTENTION) {
        at.k = offset;
        at.v = offset + layout->kv_bytes;
    } else {
        at.conv = offset;
        at.s = offset + layout->conv_bytes;
    }
    return at;
}

static void forget_tokens(sluice_state *state)
{
    state->position = 0;
    state->stale = false;
    memset(state->chunked, 0, sluice_state_chunked_words(state->layout) * sizeof *state->chunked);
}

void sluice_state_clear(sluice_state *state)
{
    static const char zeros[4096];
    for (size_t at = 0; at < state->layout->fixed_bytes; at += sizeof zeros) {
        size_t left = state->layout->fixed_bytes - at;
        state->backend->buffer_write(state->backend, state->memory, at, zeros,
                                     left < sizeof zeros ? left : sizeof zeros);
    }
    forget_tokens(state);
}

/* KV of the first positions: each head of k and v is one range, in both layouts (backend.h). */
static void copy_kv(sluice_state *to, const sluice_state *from)
{
    const sluice_state_layout *layout = to->layout;
    size_t row = sluice_kv_bytes(layout->kv, layout->head_dim);
    size_t head = (size_t)layout->capacity * row;
    size_t used = (size_t)sluice_kv_positions(from->position) * row;
    for (int32_t i = 0; i < layout->layers; i++) {
        if (layout->mixer[i] != SLUICE_MIXER_ATTENTION) continue;
        for (int32_t h = 0; h < layout->kv_heads; h++) {
            size_t k = layout->offset[i] + (size_t)h * head, v = k + layout->kv_bytes;
            to->backend->buffer_copy(to->backend, to->memory, k, from->memory, k, used);
            to->backend->buffer_copy(to->backend, to->memory, v, from->memory, v, used);
        }
    }
}

static void copy_tokens(sluice_state *to, const sluice_state *from)
{
    to->position = from->position;
    to->stale = from->stale;
    memcpy(to->tokens, from->tokens, (size_t)from->position * sizeof *to->tokens);
    memcpy(to->chunked, from->chunked,
           sluice_state_chunked_words(to->layout) * sizeof *to->chunked);
}

void sluice_state_copy(sluice_state *to, const sluice_state *from)
{
    if (to == from) return;
    to->backend->buffer_copy(to->backend, to->memory, 0, from->memory, 0, to->layout->fixed_bytes);
    copy_kv(to, from);
    copy_tokens(to, from);
}

/* Blocks that are no longer whole were not run as one, for whoever runs them again. */
static void cut(sluice_state *state, int32_t position)
{
    for (int32_t b = position / SLUICE_GDN_BLOCK; b <= state->position / SLUICE_GDN_BLOCK; b++)
        state->chunked[b / 64] &= ~((uint64_t)1 << (b % 64));
    state->position = position;
}

sluice_status sluice_state_truncate(sluice_state *state, int32_t position, sluice_error *err)
{
    if (position < 0 || position > state->position)
        return sluice_fail(err, SLUICE_USAGE, "cannot cut a sequence of %d tokens at %d",
                           state->position, position);
    if (position == 0) {
        sluice_state_clear(state);
    } else if (position < state->position) {
        if (state->layout->fixed_bytes)
            return sluice_fail(
                err, SLUICE_UNSUPPORTED,
                "a sequence of %d tokens cannot be cut at %d: "
                "the model has Gated DeltaNet layers, which go back only to the start "
                "or to a checkpoint",
                state->position, position);
        cut(state, position);
    }
    return SLUICE_OK;
}

void sluice_state_append(sluice_state *state, const int32_t *tokens, int32_t count)
{
    int32_t end = state->position + count;
    memcpy(state->tokens + state->position, tokens, (size_t)count * sizeof *tokens);
    int32_t b = (state->position + SLUICE_GDN_BLOCK - 1) / SLUICE_GDN_BLOCK;
    for (; (b + 1) * SLUICE_GDN_BLOCK <= end; b++)
        state->chunked[b / 64] |= (uint64_t)1 << (b % 64);
    state->position = end;
}

bool sluice_state_chunked(const sluice_state *state, int32_t block)
{
    return state->chunked[block / 64] >> (block % 64) & 1;
}

struct sluice_checkpoint {
    sluice_backend *backend;
    sluice_buffer *memory; /* fixed_bytes, or NULL if there are none */
    int32_t position;
    int32_t *tokens;
};

sluice_status sluice_checkpoint_new(const sluice_state *like, sluice_checkpoint **out,
                                    sluice_error *err)
{
    const sluice_state_layout *layout = like->layout;
    sluice_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (checkpoint) {
        checkpoint->backend = like->backend;
        checkpoint->tokens = calloc((size_t)layout->capacity, sizeof *checkpoint->tokens);
    }
    if (!checkpoint || !checkpoint->tokens) {
        sluice_checkpoint_free(checkpoint);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a checkpoint of %d positions",
                           layout->capacity);
    }
    sluice_status status = SLUICE_OK;
    if (layout->fixed_bytes)
        status = like->backend->buffer_new(like->backend, layout->fixed_bytes, "checkpoint",
                                           &checkpoint->memory, err);
    if (status != SLUICE_OK) {
        sluice_checkpoint_free(checkpoint);
        return status;
    }
    *out = checkpoint;
    return SLUICE_OK;
}

void sluice_checkpoint_free(sluice_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    if (checkpoint->memory)
        checkpoint->backend->buffer_free(checkpoint->backend, checkpoint->memory);
    free(checkpoint->tokens);
    free(checkpoint);
}

void sluice_checkpoint_take(sluice_checkpoint *checkpoint, const sluice_state *state)
{
    sluice_backend *backend = checkpoint->backend;
    if (checkpoint->memory)
        backend->buffer_copy(backend, checkpoint->memory, 0, state->memory, 0,
                             state->layout->fixed_bytes);
    checkpoint->position = state->position;
    memcpy(checkpoint->tokens, state->tokens, (size_t)state->position * sizeof *state->tokens);
}

sluice_status sluice_checkpoint_rewind(const sluice_checkpoint *checkpoint, sluice_state *state,
                                       sluice_error *err)
{
    int32_t position = checkpoint->position;
    if (state->stale || position > state->position ||
        memcmp(checkpoint->tokens, state->tokens, (size_t)position * sizeof *state->tokens) != 0)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "the sequence of %d tokens does not go on from the "
                           "checkpoint at %d",
                           state->position, position);
    if (checkpoint->memory)
        state->backend->buffer_copy(state->backend, state->memory, 0, checkpoint->memory, 0,
                                    state->layout->fixed_bytes);
    cut(state, position);
    return SLUICE_OK;
}
