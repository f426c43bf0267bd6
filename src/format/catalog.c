/* See catalog.h. Shapes: the reference implementation (transformers, qwen3_5_moe; vLLM,
 * qwen3_5_mtp). */
#include "format/catalog.h"

#include <stdio.h>
#include <stdlib.h>

#define LAYER_ENTRIES_MAX 17
#define OTHER_ENTRIES 7

typedef struct list {
    sluice_catalog_entry *entries;
    int32_t count;
    const char *prefix;
} list;

static void add(list *to, sluice_catalog_kind kind, const char *name, int32_t rows, int32_t cols)
{
    sluice_catalog_entry *entry = &to->entries[to->count++];
    *entry = (sluice_catalog_entry){.rows = rows, .cols = cols, .kind = (uint8_t)kind};
    snprintf(entry->name, sizeof entry->name, "%s%s", to->prefix, name);
}

static void matrix(list *to, const char *name, int32_t rows, int32_t cols)
{
    add(to, SLUICE_CATALOG_MATRIX, name, rows, cols);
}

static void careful_matrix(list *to, const char *name, int32_t rows, int32_t cols)
{
    add(to, SLUICE_CATALOG_MATRIX, name, rows, cols);
    to->entries[to->count - 1].careful = true;
}

static void vector(list *to, const char *name, int32_t rows)
{
    add(to, SLUICE_CATALOG_VECTOR, name, rows, 1);
}

static void add_gdn(list *to, const sluice_config *config)
{
    int32_t keys = config->gdn_k_heads * config->gdn_k_dim;
    int32_t values = config->gdn_v_heads * config->gdn_v_dim, channels = 2 * keys + values;
    matrix(to, "linear_attn.in_proj_qkv.weight", channels, config->hidden);
    matrix(to, "linear_attn.in_proj_z.weight", values, config->hidden);
    matrix(to, "linear_attn.in_proj_b.weight", config->gdn_v_heads, config->hidden);
    matrix(to, "linear_attn.in_proj_a.weight", config->gdn_v_heads, config->hidden);
    add(to, SLUICE_CATALOG_CONV, "linear_attn.conv1d.weight", channels, config->conv_width);
    vector(to, "linear_attn.A_log", config->gdn_v_heads);
    vector(to, "linear_attn.dt_bias", config->gdn_v_heads);
    vector(to, "linear_attn.norm.weight", config->gdn_v_dim);
    matrix(to, "linear_attn.out_proj.weight", config->hidden, values);
}

static void add_attention(list *to, const sluice_config *config)
{
    int32_t queries = config->heads * config->head_dim, keys = config->kv_heads * config->head_dim;
    matrix(to, "self_attn.q_proj.weight", 2 * queries, config->hidden);
    matrix(to, "self_attn.k_proj.weight", keys, config->hidden);
    matrix(to, "self_attn.v_proj.weight", keys, config->hidden);
    matrix(to, "self_attn.o_proj.weight", config->hidden, queries);
    vector(to, "self_attn.q_norm.weight", config->head_dim);
    vector(to, "self_attn.k_norm.weight", config->head_dim);
}

static void add_layer(list *to, const sluice_config *config, bool attention)
{
    vector(to, "input_layernorm.weight", config->hidden);
    if (attention)
        add_attention(to, config);
    else
        add_gdn(to, config);
    vector(to, "post_attention_layernorm.weight", config->hidden);
    careful_matrix(to, "mlp.gate.weight", config->experts, config->hidden);
    matrix(to, "mlp.shared_expert.gate_proj.weight", config->shared_width, config->hidden);
    matrix(to, "mlp.shared_expert.up_proj.weight", config->shared_width, config->hidden);
    matrix(to, "mlp.shared_expert.down_proj.weight", config->hidden, config->shared_width);
    careful_matrix(to, "mlp.shared_expert_gate.weight", 1, config->hidden);
}

void sluice_catalog_layer(const sluice_config *config, int32_t layer, char *prefix, size_t bytes)
{
    if (layer < config->layers)
        snprintf(prefix, bytes, "layers.%d.", layer);
    else
        snprintf(prefix, bytes, "mtp.layers.%d.", layer - config->layers);
}

sluice_status sluice_catalog_new(const sluice_config *config, sluice_catalog_entry **entries,
                                 int32_t *count, sluice_error *err)
{
    int32_t layers = config->layers + config->mtp_layers;
    char prefix[32];
    list to = {.prefix = ""};
    to.entries = calloc((size_t)layers * LAYER_ENTRIES_MAX + OTHER_ENTRIES, sizeof *to.entries);
    if (!to.entries) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a list of tensors");

    matrix(&to, "embed_tokens.weight", config->vocab, config->hidden);
    for (int32_t i = 0; i < layers; i++) {
        sluice_catalog_layer(config, i, prefix, sizeof prefix);
        to.prefix = prefix;
        add_layer(&to, config, i >= config->layers || config->mixer[i] == SLUICE_MIXER_ATTENTION);
    }
    to.prefix = "";
    vector(&to, "norm.weight", config->hidden);
    if (!config->tied) matrix(&to, "lm_head.weight", config->vocab, config->hidden);
    if (config->mtp_layers) {
        vector(&to, "mtp.pre_fc_norm_embedding.weight", config->hidden);
        vector(&to, "mtp.pre_fc_norm_hidden.weight", config->hidden);
        matrix(&to, "mtp.fc.weight", config->hidden, 2 * config->hidden);
        vector(&to, "mtp.norm.weight", config->hidden);
    }
    *entries = to.entries;
    *count = to.count;
    return SLUICE_OK;
}
