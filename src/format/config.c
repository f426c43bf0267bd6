/* See config.h. What each field means is said in the family's reference implementation (Hugging
 * Face transformers, qwen3_5_moe); limits are far above every published model and far below
 * overflow. */
#include "format/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "os/file.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

typedef struct field {
    const char *key;
    int64_t low, high, missing;
    size_t offset; /* of an int32_t in sluice_config */
} field;

#define FIELD(key, low, high, missing, member)                                                     \
    {                                                                                              \
        key, low, high, missing, offsetof(sluice_config, member)                                   \
    }
static const field fields[] = {
    FIELD("num_hidden_layers", 1, SLUICE_LAYERS_MAX, SLUICE_JSON_REQUIRED, layers),
    FIELD("hidden_size", 16, 65536, SLUICE_JSON_REQUIRED, hidden),
    FIELD("vocab_size", 1, 1 << 24, SLUICE_JSON_REQUIRED, vocab),
    FIELD("num_attention_heads", 1, 1024, SLUICE_JSON_REQUIRED, heads),
    FIELD("num_key_value_heads", 1, 1024, SLUICE_JSON_REQUIRED, kv_heads),
    FIELD("head_dim", 2, 1024, 0, head_dim),
    FIELD("linear_num_key_heads", 1, 1024, SLUICE_JSON_REQUIRED, gdn_k_heads),
    FIELD("linear_num_value_heads", 1, 1024, SLUICE_JSON_REQUIRED, gdn_v_heads),
    FIELD("linear_key_head_dim", 1, 1024, SLUICE_JSON_REQUIRED, gdn_k_dim),
    FIELD("linear_value_head_dim", 1, 1024, SLUICE_JSON_REQUIRED, gdn_v_dim),
    FIELD("linear_conv_kernel_dim", 2, 16, SLUICE_JSON_REQUIRED, conv_width),
    FIELD("num_experts", 1, 8192, SLUICE_JSON_REQUIRED, experts),
    FIELD("num_experts_per_tok", 1, SLUICE_TOP_K_MAX, SLUICE_JSON_REQUIRED, top_k),
    FIELD("moe_intermediate_size", 1, 65536, SLUICE_JSON_REQUIRED, expert_width),
    FIELD("shared_expert_intermediate_size", 1, 65536, SLUICE_JSON_REQUIRED, shared_width),
    FIELD("mtp_num_hidden_layers", 0, SLUICE_MTP_LAYERS_MAX, 0, mtp_layers),
    FIELD("max_position_embeddings", 1, 1 << 28, SLUICE_JSON_REQUIRED, context_max),
};
#undef FIELD

static sluice_status read_sizes(const json_t *text, const char *name, sluice_config *config,
                                sluice_error *err)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int64_t value = 0;
        SLUICE_TRY(sluice_jansson_int(text, fields[i].key, name, fields[i].low, fields[i].high,
                                      fields[i].missing, &value, err));
        int32_t number = (int32_t)value;
        memcpy((char *)config + fields[i].offset, &number, sizeof number);
    }
    if (!config->head_dim) {
        if (config->hidden % config->heads)
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: \"head_dim\" is missing and \"hidden_size\" %d is not a "
                               "multiple of \"num_attention_heads\" %d",
                               name, config->hidden, config->heads);
        config->head_dim = config->hidden / config->heads;
    }
    double eps = 1e-6;
    SLUICE_TRY(sluice_jansson_real(text, "rms_norm_eps", name, 1e-12, 0.1, &eps, err));
    config->rms_eps = (float)eps;
    return SLUICE_OK;
}

/* rope_parameters (newer) or rope_scaling (older) and the top level; the inner ones win. */
static sluice_status read_rope(const json_t *text, const char *name, sluice_config *config,
                               sluice_error *err)
{
    const json_t *rope = sluice_jansson_get(text, "rope_parameters");
    if (!rope) rope = sluice_jansson_get(text, "rope_scaling");
    if (rope && !json_is_object(rope))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"rope_parameters\" is not an object", name);

    double theta = 10000.0, factor = 0.25; /* the reference's defaults */
    SLUICE_TRY(sluice_jansson_real(text, "rope_theta", name, 1.0, 1e15, &theta, err));
    SLUICE_TRY(sluice_jansson_real(text, "partial_rotary_factor", name, 0.0, 1.0, &factor, err));
    if (rope) {
        SLUICE_TRY(sluice_jansson_real(rope, "rope_theta", name, 1.0, 1e15, &theta, err));
        SLUICE_TRY(
            sluice_jansson_real(rope, "partial_rotary_factor", name, 0.0, 1.0, &factor, err));
        const json_t *type = sluice_jansson_get(rope, "rope_type");
        if (!type) type = sluice_jansson_get(rope, "type");
        const char *type_name = json_is_string(type) ? json_string_value(type) : "default";
        if (strcmp(type_name, "default") != 0 && strcmp(type_name, "mrope") != 0)
            return sluice_fail(err, SLUICE_UNSUPPORTED,
                               "%s: \"rope_type\" \"%s\" is not supported, only \"default\"", name,
                               type_name);
    }
    config->rope_theta = theta;
    config->rotary_dim = (int32_t)(config->head_dim * factor);
    if (config->rotary_dim < 2 || config->rotary_dim % 2)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"partial_rotary_factor\" %g of \"head_dim\" %d leaves %d rotary "
                           "dimensions, not an even number of at least 2",
                           name, factor, config->head_dim, config->rotary_dim);
    return SLUICE_OK;
}

static sluice_status read_mixers(const json_t *text, const char *name, sluice_config *config,
                                 sluice_error *err)
{
    const json_t *types = sluice_jansson_get(text, "layer_types");
    if (!types) {
        int64_t interval = 0;
        SLUICE_TRY(sluice_jansson_int(text, "full_attention_interval", name, 1, SLUICE_LAYERS_MAX,
                                      4, &interval, err));
        for (int32_t i = 0; i < config->layers; i++)
            config->mixer[i] = (i + 1) % interval == 0 ? SLUICE_MIXER_ATTENTION : SLUICE_MIXER_GDN;
        return SLUICE_OK;
    }
    if (!json_is_array(types) || json_array_size(types) != (size_t)config->layers)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"layer_types\" is not a list of %d entries, one a layer", name,
                           config->layers);
    for (int32_t i = 0; i < config->layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (type && strcmp(type, "full_attention") == 0)
            config->mixer[i] = SLUICE_MIXER_ATTENTION;
        else if (type && strcmp(type, "linear_attention") == 0)
            config->mixer[i] = SLUICE_MIXER_GDN;
        else
            return sluice_fail(err, SLUICE_UNSUPPORTED,
                               "%s: \"layer_types\"[%d] is \"%s\", neither \"full_attention\" nor "
                               "\"linear_attention\"",
                               name, i, type ? type : "(not a string)");
    }
    return SLUICE_OK;
}

/* Switches of the family that have one value in every published model; another value would be
 * another forward pass. */
static sluice_status check_switches(const json_t *text, const char *name, sluice_error *err)
{
    bool bias = false, gate = true;
    SLUICE_TRY(sluice_jansson_bool(text, "attention_bias", name, &bias, err));
    SLUICE_TRY(sluice_jansson_bool(text, "attn_output_gate", name, &gate, err));
    if (bias)
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: \"attention_bias\" true is not supported",
                           name);
    if (!gate)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: \"attn_output_gate\" false is not supported", name);
    const json_t *act = sluice_jansson_get(text, "hidden_act");
    if (act && (!json_is_string(act) || strcmp(json_string_value(act), "silu") != 0))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: \"hidden_act\" is not \"silu\", the only supported activation",
                           name);
    const json_t *dense = sluice_jansson_get(text, "mlp_only_layers");
    if (dense && (!json_is_array(dense) || json_array_size(dense)))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: \"mlp_only_layers\" (layers without experts) is not supported",
                           name);
    return SLUICE_OK;
}

static sluice_status check_consistency(const sluice_config *config, const char *name,
                                       sluice_error *err)
{
    if (config->heads % config->kv_heads)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"num_attention_heads\" %d is not a multiple of "
                           "\"num_key_value_heads\" %d",
                           name, config->heads, config->kv_heads);
    if (config->gdn_v_heads % config->gdn_k_heads)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"linear_num_value_heads\" %d is not a multiple of "
                           "\"linear_num_key_heads\" %d",
                           name, config->gdn_v_heads, config->gdn_k_heads);
    if (config->top_k > config->experts)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"num_experts_per_tok\" %d is more than \"num_experts\" %d", name,
                           config->top_k, config->experts);
    return SLUICE_OK;
}

/* The object that holds the sizes: the document itself or its text_config. */
static sluice_status find_text(const json_t *root, const char *name, const json_t **text,
                               sluice_error *err)
{
    const char *type = NULL;
    SLUICE_TRY(sluice_jansson_string(root, "model_type", name, &type, err));
    if (strcmp(type, "qwen3_5_moe_text") == 0) {
        *text = root;
        return SLUICE_OK;
    }
    if (strcmp(type, "qwen3_5_moe") != 0)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: \"model_type\" \"%s\" is not supported, only \"qwen3_5_moe\" and "
                           "\"qwen3_5_moe_text\"",
                           name, type);
    *text = sluice_jansson_get(root, "text_config");
    if (!json_is_object(*text))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"text_config\" is missing", name);
    return SLUICE_OK;
}

static sluice_status read_root(const json_t *root, const char *name, sluice_config *config,
                               sluice_error *err)
{
    const json_t *text = NULL;
    SLUICE_TRY(find_text(root, name, &text, err));
    SLUICE_TRY(read_sizes(text, name, config, err));
    SLUICE_TRY(read_rope(text, name, config, err));
    SLUICE_TRY(read_mixers(text, name, config, err));
    SLUICE_TRY(check_switches(text, name, err));
    /* The reference ties by the outer config when there are two. */
    SLUICE_TRY(sluice_jansson_bool(text, "tie_word_embeddings", name, &config->tied, err));
    SLUICE_TRY(sluice_jansson_bool(root, "tie_word_embeddings", name, &config->tied, err));
    return check_consistency(config, name, err);
}

sluice_status sluice_config_parse(const char *json, size_t bytes, const char *name,
                                  sluice_config *config, sluice_error *err)
{
    json_t *root = NULL;
    SLUICE_TRY(sluice_jansson_parse(json, bytes, name, &root, err));
    sluice_config read = {0};
    sluice_status status = read_root(root, name, &read, err);
    json_decref(root);
    if (status == SLUICE_OK) *config = read;
    return status;
}

sluice_status sluice_config_load(const char *path, sluice_config *config, sluice_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    SLUICE_TRY(sluice_file_load(path, CONFIG_BYTES_MAX, &text, &bytes, err));
    sluice_status status = sluice_config_parse(text, bytes, path, config, err);
    free(text);
    return status;
}
