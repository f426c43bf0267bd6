/* The tensors of the Qwen3.5-MoE family and where each belongs (see model.h).
 *
 * Names are canonical (doc/format.md); sizes follow from the config alone. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "model/trunk.h"

typedef struct names {
    sluice_trunk *trunk;
    int32_t layer;
    sluice_error *err;
} names;

static void matrix(const names *in, const char *name, int32_t rows, int32_t cols, sluice_weight *to)
{
    char full[128];
    snprintf(full, sizeof full, "layers.%d.%s.weight", in->layer, name);
    sluice_trunk_matrix(in->trunk, full, rows, cols, to, in->err);
}

static void vector(const names *in, const char *name, int32_t rows, int32_t cols,
                   sluice_trunk_change change, const float **to)
{
    char full[128];
    snprintf(full, sizeof full, "layers.%d.%s", in->layer, name);
    sluice_trunk_vector(in->trunk, full, rows, cols, change, to, in->err);
}

static void want_attention(const names *in, const sluice_config *c, sluice_attention_weights *w)
{
    int32_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    vector(in, "input_layernorm.weight", c->hidden, 1, SLUICE_TRUNK_NORM, &w->norm);
    matrix(in, "self_attn.q_proj", 2 * q, c->hidden, &w->q);
    matrix(in, "self_attn.k_proj", kv, c->hidden, &w->k);
    matrix(in, "self_attn.v_proj", kv, c->hidden, &w->v);
    matrix(in, "self_attn.o_proj", c->hidden, q, &w->o);
    vector(in, "self_attn.q_norm.weight", c->head_dim, 1, SLUICE_TRUNK_NORM, &w->q_norm);
    vector(in, "self_attn.k_norm.weight", c->head_dim, 1, SLUICE_TRUNK_NORM, &w->k_norm);
}

static void want_gdn(const names *in, const sluice_config *c, sluice_gdn_weights *w)
{
    int32_t heads = c->gdn_v_heads, keys = c->gdn_k_heads * c->gdn_k_dim;
    int32_t values = heads * c->gdn_v_dim, channels = 2 * keys + values;
    vector(in, "input_layernorm.weight", c->hidden, 1, SLUICE_TRUNK_NORM, &w->norm);
    matrix(in, "linear_attn.in_proj_qkv", channels, c->hidden, &w->qkv);
    matrix(in, "linear_attn.in_proj_z", values, c->hidden, &w->z);
    matrix(in, "linear_attn.in_proj_b", heads, c->hidden, &w->b);
    matrix(in, "linear_attn.in_proj_a", heads, c->hidden, &w->a);
    matrix(in, "linear_attn.out_proj", c->hidden, values, &w->out);
    vector(in, "linear_attn.conv1d.weight", channels, c->conv_width, SLUICE_TRUNK_AS_IS, &w->conv);
    vector(in, "linear_attn.A_log", heads, 1, SLUICE_TRUNK_DECAY, &w->decay);
    vector(in, "linear_attn.dt_bias", heads, 1, SLUICE_TRUNK_AS_IS, &w->dt_bias);
    /* The one norm of the family whose multiplier is w itself. */
    vector(in, "linear_attn.norm.weight", c->gdn_v_dim, 1, SLUICE_TRUNK_AS_IS, &w->out_norm);
}

static void want_moe(const names *in, const sluice_config *c, sluice_model_layer *layer)
{
    sluice_expert_weights *shared = &layer->shared.expert;
    vector(in, "post_attention_layernorm.weight", c->hidden, 1, SLUICE_TRUNK_NORM,
           &layer->router.norm);
    matrix(in, "mlp.gate", c->experts, c->hidden, &layer->router.router);
    matrix(in, "mlp.shared_expert.gate_proj", c->shared_width, c->hidden, &shared->gate);
    matrix(in, "mlp.shared_expert.up_proj", c->shared_width, c->hidden, &shared->up);
    matrix(in, "mlp.shared_expert.down_proj", c->hidden, c->shared_width, &shared->down);
    matrix(in, "mlp.shared_expert_gate", 1, c->hidden, &layer->shared.gate);
}

static bool embedding_stays(const sluice_config *config, const sluice_model_options *options)
{
    return options->embedding_on_disk && !config->tied;
}

/* Notes everything that the model keeps in memory. */
static sluice_status want_all(sluice_trunk *trunk, const sluice_model_options *options,
                              sluice_model *model, sluice_error *err)
{
    const sluice_config *config = model->config;
    for (int32_t i = 0; i < config->layers; i++) {
        sluice_model_layer *layer = &model->layers[i];
        names in = {trunk, i, err};
        layer->mixer = config->mixer[i];
        layer->record = &sluice_container_experts(model->container, i)->layout;
        if (layer->mixer == SLUICE_MIXER_ATTENTION)
            want_attention(&in, config, &layer->attention);
        else
            want_gdn(&in, config, &layer->gdn);
        want_moe(&in, config, layer);
    }
    sluice_trunk_vector(trunk, "norm.weight", config->hidden, 1, SLUICE_TRUNK_NORM, &model->norm,
                        err);
    if (!embedding_stays(config, options))
        sluice_trunk_matrix(trunk, "embed_tokens.weight", config->vocab, config->hidden,
                            &model->embedding, err);
    if (!config->tied)
        sluice_trunk_matrix(trunk, "lm_head.weight", config->vocab, config->hidden, &model->head,
                            err);
    return trunk->failed ? err ? err->code : SLUICE_CORRUPT : SLUICE_OK;
}

/* An embedding that stays on disk has its shape and its place, and no data. */
static sluice_status place_embedding(sluice_model *model, sluice_error *err)
{
    const sluice_config *config = model->config;
    const sluice_trunk_tensor *tensor =
        sluice_container_tensor(model->container, "embed_tokens.weight");
    if (!tensor || !tensor->packed || tensor->rows != config->vocab ||
        tensor->cols != config->hidden)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor embed_tokens.weight is missing or not "
                           "%d x %d",
                           sluice_container_trunk_path(model->container), config->vocab,
                           config->hidden);
    if (!model->embedding.data)
        model->embedding = (sluice_weight){tensor->format, tensor->rows, tensor->cols, NULL, NULL};
    model->embedding_offset = tensor->offset;
    return SLUICE_OK;
}

sluice_geometry sluice_model_geometry(const sluice_config *c)
{
    return (sluice_geometry){
        .hidden = c->hidden,
        .vocab = c->vocab,
        .layers = c->layers,
        .rms_eps = c->rms_eps,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .rotary_dim = c->rotary_dim,
        .rope_theta = c->rope_theta,
        .gdn_k_heads = c->gdn_k_heads,
        .gdn_v_heads = c->gdn_v_heads,
        .gdn_k_dim = c->gdn_k_dim,
        .gdn_v_dim = c->gdn_v_dim,
        .conv_width = c->conv_width,
        .experts = c->experts,
        .top_k = c->top_k,
        .expert_width = c->expert_width,
        .shared_width = c->shared_width,
        .context_max = c->context_max,
    };
}

/* Tells two models apart: a state of one means nothing to the other. Struct padding stays out. */
static uint32_t fingerprint(const sluice_container *container, const sluice_config *config)
{
    const int32_t sizes[] = {config->layers,      config->hidden,      config->vocab,
                             config->heads,       config->kv_heads,    config->head_dim,
                             config->gdn_k_heads, config->gdn_v_heads, config->gdn_k_dim,
                             config->gdn_v_dim,   config->conv_width,  config->top_k};
    uint32_t crc = sluice_crc32c(0, sizes, sizeof sizes);
    crc = sluice_crc32c(crc, config->mixer, (size_t)config->layers);
    int32_t count;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(container, &count);
    for (int32_t i = 0; i < count; i++) {
        uint32_t sum = sluice_container_trunk_crc32c(container, i);
        crc = sluice_crc32c(crc, tensors[i].name, strlen(tensors[i].name));
        crc = sluice_crc32c(crc, &sum, sizeof sum);
    }
    for (int32_t i = 0; i < config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        crc = sluice_crc32c(crc, file->crc32c, (size_t)file->count * sizeof *file->crc32c);
    }
    return crc;
}

static sluice_status model_new(const sluice_container *container,
                               const sluice_model_options *options, sluice_model **out,
                               sluice_error *err)
{
    const sluice_config *config = sluice_container_config(container);
    sluice_model *model = calloc(1, sizeof *model);
    if (model) model->layers = calloc((size_t)config->layers, sizeof *model->layers);
    if (!model || !model->layers) {
        free(model);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the model's %d layers",
                           config->layers);
    }
    model->container = container;
    model->config = config;
    model->budget = options->budget;
    model->geometry = sluice_model_geometry(config);
    model->fingerprint = model->fingerprint_bare = fingerprint(container, config);
    *out = model;
    return SLUICE_OK;
}

static sluice_status load(sluice_model *model, sluice_trunk *trunk,
                          const sluice_model_options *options, sluice_error *err)
{
    SLUICE_TRY(want_all(trunk, options, model, err));
    model->matrices_bytes = trunk->matrix_bytes;
    model->vectors_bytes = trunk->vector_bytes;
    SLUICE_TRY(
        sluice_memory_new(model->budget, model->matrices_bytes, "trunk", &model->matrices, err));
    SLUICE_TRY(
        sluice_memory_new(model->budget, model->vectors_bytes, "trunk", &model->vectors, err));
    SLUICE_TRY(sluice_trunk_read(trunk, model->matrices, model->vectors, err));
    SLUICE_TRY(place_embedding(model, err));
    if (model->config->tied) model->head = model->embedding;
    return SLUICE_OK;
}

sluice_status sluice_model_open(const sluice_container *container,
                                const sluice_model_options *options, sluice_model **out,
                                sluice_error *err)
{
    sluice_model *model;
    sluice_trunk trunk;
    SLUICE_TRY(model_new(container, options, &model, err));
    sluice_trunk_init(&trunk, container);
    sluice_status status = load(model, &trunk, options, err);
    sluice_trunk_free(&trunk);
    if (status != SLUICE_OK) {
        sluice_model_close(model);
        return status;
    }
    *out = model;
    return SLUICE_OK;
}

void sluice_model_close(sluice_model *model)
{
    if (!model) return;
    if (model->matrices)
        sluice_memory_free(model->budget, model->matrices, model->matrices_bytes, "trunk");
    if (model->vectors)
        sluice_memory_free(model->budget, model->vectors, model->vectors_bytes, "trunk");
    free(model->layers);
    free(model);
}

sluice_status sluice_model_measure(const sluice_container *container,
                                   const sluice_model_options *options, uint64_t *bytes,
                                   sluice_error *err)
{
    sluice_model *model;
    sluice_trunk trunk;
    SLUICE_TRY(model_new(container, options, &model, err));
    sluice_trunk_init(&trunk, container);
    sluice_status status = want_all(&trunk, options, model, err);
    *bytes = (uint64_t)trunk.matrix_bytes + trunk.vector_bytes;
    sluice_trunk_free(&trunk);
    sluice_model_close(model);
    return status;
}
