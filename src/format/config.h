/* config.json of the model family: every size the model needs, read and checked, nothing assumed.
 *
 * Reads both forms: qwen3_5_moe (sizes in text_config) and qwen3_5_moe_text (flat). */
#ifndef SLUICE_FORMAT_CONFIG_H
#define SLUICE_FORMAT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_LAYERS_MAX 512
#define SLUICE_MTP_LAYERS_MAX 8
#define SLUICE_TOP_K_MAX 64

typedef enum sluice_mixer { SLUICE_MIXER_GDN, SLUICE_MIXER_ATTENTION } sluice_mixer;

typedef struct sluice_config {
    int32_t layers, hidden, vocab;
    uint8_t mixer[SLUICE_LAYERS_MAX]; /* sluice_mixer of each layer */
    float rms_eps;
    int32_t heads, kv_heads, head_dim, rotary_dim;
    double rope_theta;
    int32_t gdn_k_heads, gdn_v_heads, gdn_k_dim, gdn_v_dim, conv_width;
    int32_t experts, top_k, expert_width, shared_width;
    int32_t mtp_layers;
    int32_t context_max;
    bool tied; /* lm_head is embed_tokens */
} sluice_config;

/* Parses the bytes of a config.json; name is used in messages. Every field is range-checked and the
 * consistency rules of the family hold afterwards (heads % kv_heads == 0, rotary_dim even, ...). */
sluice_status sluice_config_parse(const char *json, size_t bytes, const char *name,
                                  sluice_config *config, sluice_error *err);
sluice_status sluice_config_load(const char *path, sluice_config *config, sluice_error *err);

#endif
