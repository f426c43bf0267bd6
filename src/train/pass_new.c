/* Making a pass, and the memory that it takes. */
#include <stdlib.h>

#include "train/pass_inside.h"

typedef struct carver {
    char *base;
    size_t used;
} carver;

static void *carve(carver *from, uint64_t count, size_t size)
{
    void *at = from->base ? from->base + from->used : NULL;
    from->used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

static size_t gdn_state_bytes(const sluice_geometry *g)
{
    const size_t conv = (size_t)(g->conv_width - 1) * (size_t)sluice_gdn_channels(g);
    const size_t s = (size_t)g->gdn_v_heads * (size_t)g->gdn_k_dim * (size_t)g->gdn_v_dim;
    return (conv + s) * sizeof(float) + 128;
}

/* Of one layer, whichever mixer needs more. */
static size_t state_bytes(const sluice_geometry *g, int32_t rows_max, int32_t segments_max)
{
    const size_t positions = (size_t)rows_max + (size_t)segments_max * SLUICE_KV_BLOCK;
    const size_t kv = 2 * positions * (size_t)g->kv_heads * (size_t)g->head_dim * sizeof(float);
    const size_t gdn = (size_t)segments_max * (gdn_state_bytes(g) + 64);
    return kv > gdn ? kv : gdn;
}

static size_t lay_out(sluice_pass *pass, const sluice_config *config, void *base)
{
    const uint64_t rows = (uint64_t)pass->rows_max, entries = rows * (uint64_t)config->top_k;
    const uint64_t hidden = (uint64_t)config->hidden, experts = (uint64_t)config->experts;
    const sluice_geometry geometry = sluice_model_geometry(config);
    carver from = {base, 0};
    pass->top = carve(&from, rows * hidden, sizeof(float));
    pass->mid = carve(&from, rows * hidden, sizeof(float));
    pass->dh = carve(&from, rows * hidden, sizeof(float));
    pass->zeros = carve(&from, gdn_state_bytes(&geometry), 1);
    pass->parts = carve(&from, (uint64_t)config->top_k * hidden, sizeof(float));
    pass->d_weights = carve(&from, entries, sizeof(float));
    pass->ids = carve(&from, (uint64_t)config->layers * entries, sizeof(int32_t));
    pass->weights = carve(&from, (uint64_t)config->layers * entries, sizeof(float));
    pass->groups.rows = carve(&from, entries, sizeof(int32_t));
    pass->groups.slots = carve(&from, entries, sizeof(int32_t));
    pass->groups.begin = carve(&from, experts + 1, sizeof(int32_t));
    pass->groups.wanted = carve(&from, experts, sizeof(int32_t));
    pass->all = carve(&from, experts, sizeof(int32_t));
    pass->states = carve(&from, (uint64_t)pass->segments_max, sizeof *pass->states);
    return from.used;
}

/* Entries are in order of layers. */
static int32_t lowest_of(const sluice_adapter *adapter, int32_t layers)
{
    return adapter && adapter->n_entries ? adapter->entries[0].key.layer : layers;
}

static int32_t slots_of(const sluice_pass_options *options)
{
    const int32_t layers = options->model->config->layers;
    if (!options->adapter && options->rank_max) return layers;
    return layers - lowest_of(options->adapter, layers);
}

static int32_t rank_max(const sluice_pass_options *options)
{
    const sluice_model *model = options->model;
    const int32_t rank = sluice_model_low_rank_max(model->adapters, model->n_adapters);
    const int32_t most = rank > options->rank_max ? rank : options->rank_max;
    return most ? most : 1;
}

uint64_t sluice_pass_bytes(const sluice_pass_options *options)
{
    const sluice_model *model = options->model;
    const sluice_config *config = model->config;
    const size_t row = (size_t)config->hidden * sizeof(float);
    sluice_pass pass = {.rows_max = options->rows_max, .segments_max = options->segments_max};
    const size_t buffers = (size_t)options->rows_max * row * (size_t)(3 + config->top_k);
    return buffers + lay_out(&pass, config, NULL) +
           state_bytes(&model->geometry, options->rows_max, options->segments_max) +
           sluice_back_bytes(&model->geometry, options->rows_max, rank_max(options),
                             options->rows_max, sluice_pool_threads(options->pool)) +
           sluice_embedding_scratch_bytes(config, model->embedding.format, !model->embedding.data) +
           (slots_of(options)
                ? sluice_inputs_bytes(slots_of(options),
                                      (size_t)options->rows_max * (size_t)config->hidden,
                                      options->inputs_bytes)
                : 0);
}

static sluice_status take_buffers(sluice_pass *pass, sluice_error *err)
{
    const sluice_model *model = pass->model;
    sluice_backend *be = pass->backend;
    const size_t bytes = (size_t)pass->rows_max * (size_t)model->config->hidden * sizeof(float);
    SLUICE_TRY(be->buffer_new(be, bytes, "training", &pass->h, err));
    SLUICE_TRY(be->buffer_new(be, bytes, "training", &pass->x, err));
    SLUICE_TRY(be->buffer_new(be, bytes, "training", &pass->shared, err));
    SLUICE_TRY(be->buffer_new(be, bytes * (size_t)model->config->top_k, "training", &pass->y, err));
    SLUICE_TRY(be->buffer_new(be, state_bytes(&model->geometry, pass->rows_max, pass->segments_max),
                              "training", &pass->state, err));
    pass->host_bytes = lay_out(pass, model->config, NULL);
    SLUICE_TRY(sluice_memory_new(model->budget, pass->host_bytes, "training", &pass->host, err));
    lay_out(pass, model->config, pass->host);
    for (int32_t i = 0; i < model->config->experts; i++)
        pass->all[i] = i;
    return SLUICE_OK;
}

static sluice_status take_parts(sluice_pass *pass, const sluice_pass_options *options,
                                sluice_error *err)
{
    const sluice_model *model = pass->model;
    const sluice_back_options back = {.pool = options->pool,
                                      .cpu_flags = options->cpu_flags,
                                      .rows_max = options->rows_max,
                                      .rank_max = rank_max(options),
                                      .segment_max = options->rows_max,
                                      .budget = model->budget};
    SLUICE_TRY(sluice_back_new(&model->geometry, &back, &pass->back, err));
    SLUICE_TRY(sluice_embedding_new(model, options->backend, &pass->embedding, err));
    SLUICE_TRY(take_buffers(pass, err));
    if (!slots_of(options)) return SLUICE_OK;
    return sluice_inputs_new(
        slots_of(options), (size_t)options->rows_max * (size_t)model->config->hidden,
        options->inputs_bytes, options->spill_dir, model->budget, &pass->inputs, err);
}

sluice_status sluice_pass_new(const sluice_pass_options *options, sluice_pass **out,
                              sluice_error *err)
{
    sluice_pass *pass = calloc(1, sizeof *pass);
    if (!pass) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a training pass");
    pass->model = options->model;
    pass->backend = options->backend;
    pass->experts = options->experts;
    pass->adapter = options->adapter;
    pass->gradients = options->gradients;
    pass->rows_max = options->rows_max;
    pass->segments_max = options->segments_max;
    pass->lowest = lowest_of(options->adapter, options->model->config->layers);
    const sluice_status status = take_parts(pass, options, err);
    if (status != SLUICE_OK) {
        sluice_pass_free(pass);
        return status;
    }
    *out = pass;
    return SLUICE_OK;
}

void sluice_pass_free(sluice_pass *pass)
{
    if (!pass) return;
    sluice_backend *be = pass->backend;
    sluice_buffer *const buffers[] = {pass->h, pass->x, pass->shared, pass->y, pass->state};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i]) be->buffer_free(be, buffers[i]);
    if (pass->host)
        sluice_memory_free(pass->model->budget, pass->host, pass->host_bytes, "training");
    sluice_inputs_free(pass->inputs);
    sluice_embedding_free(pass->embedding);
    sluice_back_free(pass->back);
    free(pass);
}
