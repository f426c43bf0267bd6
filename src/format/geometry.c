/* See geometry.h. The sizes are those of the config.json files and model cards that the models are
 * published with (Qwen3.5-397B-A17B, Qwen3.5-122B-A10B, Qwen3.5-35B-A3B). */
#include "format/geometry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

#define ATTENTION_INTERVAL 4 /* every fourth layer, as in all of the family */

/* What they share. */
#define FAMILY                                                                                     \
    .vocab = 248320, .rms_eps = 1e-6f, .kv_heads = 2, .head_dim = 256, .rotary_dim = 64,           \
    .rope_theta = 1e7, .gdn_k_heads = 16, .gdn_k_dim = 128, .gdn_v_dim = 128, .conv_width = 4,     \
    .context_max = 262144

static const struct {
    const char *name;
    sluice_config config; /* mixers follow from the interval */
} geometries[] = {
    {"qwen3.5-397b",
     {FAMILY, .layers = 60, .hidden = 4096, .heads = 32, .gdn_v_heads = 64, .experts = 512,
      .top_k = 10, .expert_width = 1024, .shared_width = 1024}},
    {"qwen3.5-122b",
     {FAMILY, .layers = 48, .hidden = 3072, .heads = 32, .gdn_v_heads = 64, .experts = 256,
      .top_k = 8, .expert_width = 1024, .shared_width = 1024}},
    {"qwen3.5-35b",
     {FAMILY, .layers = 40, .hidden = 2048, .heads = 16, .gdn_v_heads = 32, .experts = 256,
      .top_k = 8, .expert_width = 512, .shared_width = 512}},
};

static sluice_status find(const char *name, sluice_config *config, sluice_error *err)
{
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
        if (strcmp(name, geometries[i].name) != 0) continue;
        *config = geometries[i].config;
        for (int32_t layer = 0; layer < config->layers; layer++)
            config->mixer[layer] =
                (layer + 1) % ATTENTION_INTERVAL == 0 ? SLUICE_MIXER_ATTENTION : SLUICE_MIXER_GDN;
        return SLUICE_OK;
    }
    if (sluice_file_exists(name)) return sluice_config_load(name, config, err);
    return sluice_fail(err, SLUICE_NOT_FOUND,
                       "geometry \"%s\" is neither qwen3.5-397b, qwen3.5-122b or qwen3.5-35b nor a "
                       "config.json that exists",
                       name);
}

sluice_status sluice_geometry_load(const char *name, int32_t layers, int32_t vocab,
                                   sluice_config *config, sluice_error *err)
{
    SLUICE_TRY(find(name, config, err));
    if (layers < 0 || layers > SLUICE_LAYERS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d layers are not between 1 and %d", layers,
                           SLUICE_LAYERS_MAX);
    if (vocab < 0 || vocab > 1 << 24)
        return sluice_fail(err, SLUICE_USAGE, "a vocabulary of %d is not between 1 and %d", vocab,
                           1 << 24);
    if (layers) {
        for (int32_t layer = config->layers; layer < layers; layer++)
            config->mixer[layer] = config->mixer[layer - config->layers];
        config->layers = layers;
    }
    if (vocab) config->vocab = vocab;
    config->mtp_layers = 0;
    return SLUICE_OK;
}

/* The factor that a reader turns back into exactly rotary_dim. */
static double rotary_factor(const sluice_config *config)
{
    double factor = (double)config->rotary_dim / config->head_dim;
    while ((int32_t)(config->head_dim * factor) < config->rotary_dim)
        factor = nextafter(factor, 2.0);
    return factor;
}

static void print_sizes(FILE *out, const sluice_config *config)
{
    fprintf(out,
            "  \"num_hidden_layers\": %d,\n  \"hidden_size\": %d,\n  \"vocab_size\": %d,\n"
            "  \"num_attention_heads\": %d,\n  \"num_key_value_heads\": %d,\n  \"head_dim\": %d,\n",
            config->layers, config->hidden, config->vocab, config->heads, config->kv_heads,
            config->head_dim);
    fprintf(out,
            "  \"linear_num_key_heads\": %d,\n  \"linear_num_value_heads\": %d,\n"
            "  \"linear_key_head_dim\": %d,\n  \"linear_value_head_dim\": %d,\n"
            "  \"linear_conv_kernel_dim\": %d,\n",
            config->gdn_k_heads, config->gdn_v_heads, config->gdn_k_dim, config->gdn_v_dim,
            config->conv_width);
    fprintf(out,
            "  \"num_experts\": %d,\n  \"num_experts_per_tok\": %d,\n"
            "  \"moe_intermediate_size\": %d,\n  \"shared_expert_intermediate_size\": %d,\n"
            "  \"mtp_num_hidden_layers\": %d,\n  \"max_position_embeddings\": %d,\n",
            config->experts, config->top_k, config->expert_width, config->shared_width,
            config->mtp_layers, config->context_max);
    fprintf(out,
            "  \"rms_norm_eps\": %.9g,\n  \"rope_parameters\": {\"rope_type\": \"default\", "
            "\"rope_theta\": %.17g, \"partial_rotary_factor\": %.17g},\n",
            (double)config->rms_eps, config->rope_theta, rotary_factor(config));
}

sluice_status sluice_geometry_print(const sluice_config *config, char **json, sluice_error *err)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a config.json");
    fputs("{\n  \"model_type\": \"qwen3_5_moe_text\",\n", out);
    print_sizes(out, config);
    fputs("  \"hidden_act\": \"silu\",\n  \"attention_bias\": false,\n", out);
    fprintf(out, "  \"tie_word_embeddings\": %s,\n  \"layer_types\": [",
            config->tied ? "true" : "false");
    for (int32_t i = 0; i < config->layers; i++)
        fprintf(out, "%s\"%s\"", i ? ", " : "",
                config->mixer[i] == SLUICE_MIXER_ATTENTION ? "full_attention" : "linear_attention");
    fputs("]\n}\n", out);
    bool good = !ferror(out);
    if (fclose(out) != 0 || !good) {
        free(text);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a config.json");
    }
    *json = text;
    return SLUICE_OK;
}
