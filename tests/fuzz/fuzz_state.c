/* Any bytes as a saved session. The checksum at the end is put right first, or nothing would get
 * past it: what it protects must hold without it. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/pool.h"
#include "kernels/cpu_backend.h"
#include "model/state.h"

#define VOCAB 300
#define CONTEXT 200
#define BYTES_MAX (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const sluice_config config = {
    .layers = 2,
    .mixer = {SLUICE_MIXER_GDN, SLUICE_MIXER_ATTENTION},
    .hidden = 32,
    .vocab = VOCAB,
    .heads = 2,
    .kv_heads = 1,
    .head_dim = 4,
    .rotary_dim = 2,
    .gdn_k_heads = 1,
    .gdn_v_heads = 2,
    .gdn_k_dim = 4,
    .gdn_v_dim = 4,
    .conv_width = 4,
};

typedef struct reader {
    const uint8_t *data;
    size_t at, size;
} reader;

static sluice_status next(void *context, void *bytes, size_t n, sluice_error *err)
{
    reader *r = context;
    (void)err;
    if (n > r->size - r->at) return SLUICE_CORRUPT;
    memcpy(bytes, r->data + r->at, n);
    r->at += n;
    return SLUICE_OK;
}

static sluice_status count(void *context, const void *bytes, size_t n, sluice_error *err)
{
    (void)bytes;
    (void)err;
    *(size_t *)context += n;
    return SLUICE_OK;
}

static sluice_state *state_new(void)
{
    static sluice_state_layout layout;
    static sluice_pool *pool;
    static sluice_backend *backend;
    sluice_state *state;
    const sluice_geometry geometry = {.hidden = 32,
                                      .vocab = VOCAB,
                                      .layers = 2,
                                      .rms_eps = 1e-6f,
                                      .heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 4,
                                      .rotary_dim = 2,
                                      .rope_theta = 1e4,
                                      .gdn_k_heads = 1,
                                      .gdn_v_heads = 2,
                                      .gdn_k_dim = 4,
                                      .gdn_v_dim = 4,
                                      .conv_width = 4,
                                      .experts = 4,
                                      .top_k = 2,
                                      .expert_width = 16,
                                      .shared_width = 16,
                                      .context_max = CONTEXT};
    sluice_cpu_options options = {.rows_max = 1, .exact = true};
    if (sluice_pool_new(1, NULL, &pool, NULL) != SLUICE_OK) abort();
    options.pool = pool;
    if (sluice_cpu_backend_new(&geometry, &options, &backend, NULL) != SLUICE_OK) abort();
    sluice_state_layout_init(&layout, &config, CONTEXT, SLUICE_KV_F32);
    if (sluice_state_new(&layout, backend, 0, &state, NULL) != SLUICE_OK) abort();
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sluice_state *state;
    static uint8_t copy[BYTES_MAX];
    if (!state) state = state_new();
    if (size < 4 || size > BYTES_MAX) return 0;
    memcpy(copy, data, size);
    uint32_t sum = sluice_crc32c(0, copy, size - 4);
    memcpy(copy + size - 4, &sum, 4);

    reader r = {copy, 0, size};
    sluice_status checked = sluice_state_check(state, next, &r, NULL);
    r.at = 0;
    sluice_status restored = sluice_state_restore(state, next, &r, NULL);
    if (restored == SLUICE_OK && checked != SLUICE_OK) abort();
    if (restored != SLUICE_OK && state->position != 0) abort();
    for (int32_t i = 0; i < state->position; i++)
        if (state->tokens[i] < 0 || state->tokens[i] >= VOCAB) abort();
    size_t bytes = 0;
    if (sluice_state_save(state, count, &bytes, NULL) != SLUICE_OK ||
        bytes != sluice_state_saved_bytes(state))
        abort();
    return 0;
}
