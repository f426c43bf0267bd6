/* adapter_config.json of PEFT, read and written (see peft.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "format/json.h"
#include "os/file.h"

/* A pattern's key names the end of a module's path; PEFT matches it as a regular expression. Keys
 * that escape their dots, or begin with any path, mean the same as those that do not. */
static bool take_suffix(const char *key, char *suffix, size_t size)
{
    size_t n = 0;
    if (key[0] == '^') key++;
    if (strncmp(key, ".*\\.", 4) == 0) key += 4;
    for (; *key; key++) {
        if (key[0] == '\\' && key[1] == '.') continue;
        if (key[0] == '$' && !key[1]) break;
        if (strchr("*+?()[]{}|^$\\", *key) || n + 1 >= size) return false;
        suffix[n++] = *key;
    }
    suffix[n] = '\0';
    return n > 0;
}

static sluice_status take_patterns(const json_t *root, const char *file, sluice_peft_config *config,
                                   sluice_error *err)
{
    const char *key;
    json_t *value, *patterns = sluice_jansson_get(root, "alpha_pattern");
    if (!patterns) return SLUICE_OK;
    if (!json_is_object(patterns))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: alpha_pattern is not an object", file);
    json_object_foreach(patterns, key, value)
    {
        if (config->n_patterns == SLUICE_PEFT_PATTERNS_MAX)
            return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: more than %d patterns of alpha", file,
                               SLUICE_PEFT_PATTERNS_MAX);
        char *suffix = config->patterns[config->n_patterns].suffix;
        if (!json_is_number(value) || !take_suffix(key, suffix, sizeof config->patterns[0].suffix))
            return sluice_fail(
                err, SLUICE_UNSUPPORTED,
                "%s: the alpha pattern \"%s\" is not the end of a module's name with "
                "a number",
                file, key);
        config->patterns[config->n_patterns++].alpha = json_number_value(value);
    }
    return SLUICE_OK;
}

/* Whatever would change the result and sluice does not run. */
static sluice_status check_kind(const json_t *root, const char *file, sluice_error *err)
{
    static const char *const switches[] = {"use_dora", "fan_in_fan_out", "lora_bias"};
    const char *type;
    SLUICE_TRY(sluice_jansson_string(root, "peft_type", file, &type, err));
    if (strcmp(type, "LORA") != 0)
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: the adapter is of type %s, not LORA", file,
                           type);
    for (int i = 0; i < 3; i++) {
        bool on = false;
        SLUICE_TRY(sluice_jansson_bool(root, switches[i], file, &on, err));
        if (on)
            return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: adapters with %s are not supported",
                               file, switches[i]);
    }
    const json_t *bias = sluice_jansson_get(root, "bias");
    if (bias && (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0))
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: adapters with biases are not supported",
                           file);
    const json_t *save = sluice_jansson_get(root, "modules_to_save");
    if (save && json_array_size(save))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: adapters that save whole modules are not supported", file);
    return SLUICE_OK;
}

sluice_status sluice_peft_config_parse(const char *json, size_t bytes, const char *file,
                                       sluice_peft_config *config, sluice_error *err)
{
    json_t *root;
    memset(config, 0, sizeof *config);
    config->alpha = 8.0; /* PEFT's default */
    SLUICE_TRY(sluice_jansson_parse(json, bytes, file, &root, err));
    sluice_status status = check_kind(root, file, err);
    if (status == SLUICE_OK)
        status = sluice_jansson_real(root, "lora_alpha", file, -1e6, 1e6, &config->alpha, err);
    if (status == SLUICE_OK)
        status = sluice_jansson_bool(root, "use_rslora", file, &config->root_rank, err);
    if (status == SLUICE_OK) status = take_patterns(root, file, config, err);
    json_decref(root);
    return status;
}

float sluice_peft_config_scale(const sluice_peft_config *config, const char *target, int32_t rank)
{
    double alpha = config->alpha;
    const size_t length = strlen(target);
    for (int32_t i = 0; i < config->n_patterns; i++) {
        const char *suffix = config->patterns[i].suffix;
        const size_t n = strlen(suffix);
        if (n > length || strcmp(target + length - n, suffix) != 0) continue;
        if (n < length && target[length - n - 1] != '.') continue;
        alpha = config->patterns[i].alpha;
        break;
    }
    return (float)(alpha / (config->root_rank ? sqrt((double)rank) : (double)rank));
}

/* How the whole set names a module: by its last parts if every layer that has it is adapted, else
 * layer by layer. */
static int add_targets(json_t *list, const sluice_adapter *adapter, const sluice_config *config,
                       sluice_adapter_module module, const char *name)
{
    bool have[SLUICE_LAYERS_MAX] = {false}, all = true, any = false;
    int32_t in, out;
    char text[128];
    for (int32_t i = 0; i < adapter->n_entries; i++)
        if (adapter->entries[i].key.module == module)
            any = have[adapter->entries[i].key.layer] = true;
    if (!any) return 0;
    for (int32_t l = 0; l < config->layers; l++)
        if (sluice_adapter_shape(config, l, module, &in, &out) && !have[l]) all = false;
    if (all) return json_array_append_new(list, json_string(name));
    for (int32_t l = 0; l < config->layers; l++) {
        if (!have[l]) continue;
        snprintf(text, sizeof text, "layers.%d.%s", l, name);
        if (json_array_append_new(list, json_string(text))) return -1;
    }
    return 0;
}

static int fill_targets(json_t *root, const sluice_adapter *adapter, const sluice_config *config,
                        bool by_expert)
{
    json_t *modules = json_array(), *parameters = json_array();
    int failed = json_object_set_new(root, "target_modules", modules) |
                 json_object_set_new(root, "target_parameters", parameters);
    for (int m = 0; m < SLUICE_ADAPTER_EXPERT_GATE && !failed; m++)
        failed = add_targets(modules, adapter, config, (sluice_adapter_module)m,
                             sluice_adapter_module_name((sluice_adapter_module)m));
    if (failed) return failed;
    if (!by_expert)
        return add_targets(parameters, adapter, config, SLUICE_ADAPTER_EXPERT_GATE,
                           "mlp.experts.gate_up_proj") |
               add_targets(parameters, adapter, config, SLUICE_ADAPTER_EXPERT_DOWN,
                           "mlp.experts.down_proj");
    for (int32_t i = 0; i < adapter->n_entries && !failed; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        const char *name = sluice_adapter_module_name(key->module);
        char text[128];
        if (key->expert < 0) continue;
        snprintf(text, sizeof text, "layers.%d.mlp.experts.%d.%s", key->layer, key->expert,
                 strrchr(name, '.') + 1);
        failed = json_array_append_new(modules, json_string(text));
    }
    return failed;
}

static json_t *build(const sluice_adapter *adapter, const sluice_config *config,
                     const sluice_peft_write_options *options)
{
    int32_t rank = 1;
    float scale = 1.0f;
    bool experts = false;
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        if (key->rank >= rank) rank = key->rank;
        scale = key->scale;
        experts |= key->expert >= 0;
    }
    json_t *root = json_pack(
        "{s:s,s:s,s:s,s:i,s:f,s:f,s:s,s:b,s:b,s:b,s:b,s:b}", "peft_type", "LORA", "task_type",
        "CAUSAL_LM", "base_model_name_or_path", options->base ? options->base : "", "r", (int)rank,
        "lora_alpha", (double)scale * rank, "lora_dropout", 0.0, "bias", "none", "fan_in_fan_out",
        0, "inference_mode", 1, "use_rslora", 0, "use_dora", 0, "init_lora_weights", 1);
    if (!root) return NULL;
    int failed = fill_targets(root, adapter, config, options->by_expert);
    if (!failed && experts && !options->by_expert) {
        const char *key = ".*\\.mlp\\.experts\\.gate_up_proj";
        failed =
            json_object_set_new(root, "rank_pattern", json_pack("{s:i}", key, (int)(2 * rank))) |
            json_object_set_new(root, "alpha_pattern",
                                json_pack("{s:f}", key, 2.0 * (double)scale * rank));
    }
    if (failed) json_decref(root);
    return failed ? NULL : root;
}

sluice_status sluice_peft_config_write(const sluice_adapter *adapter, const sluice_config *config,
                                       const sluice_peft_write_options *options, const char *path,
                                       sluice_error *err)
{
    json_t *root = build(adapter, config, options);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    sluice_status status = text ? sluice_file_save(path, text, strlen(text), err)
                                : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(root);
    return status;
}
