/* The source format of Hugging Face and MLX: safetensors with names that say what they are.
 *
 * Experts come fused (experts.gate_up_proj [E, 2I, H], gate rows first), stacked (MLX:
 * switch_mlp.gate_proj [E, I, H]) or split (experts.E.gate_proj [I, H]); all three become one list
 * of matrices per layer. Any matrix may have any encoding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/encoding.h"
#include "format/json.h"
#include "format/tensor_names.h"

#define NAME_BYTES 160

typedef struct reader {
    sluice_source *source;
    sluice_tensor_names names;
} reader;

static sluice_status no_memory(const reader *from, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tensors",
                       from->source->files->dir);
}

static const char *path_of(const reader *from, int32_t shard)
{
    return from->source->files->shards[shard].path;
}

/* A mode of quantisation that the config names and no encoding reads. */
static sluice_status check_mode(const json_t *object, const char *dir, sluice_error *err)
{
    static const char *const keys[] = {"quant_method", "mode"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *mode = json_string_value(json_object_get(object, keys[i]));
        if (mode && strcmp(mode, "affine") != 0)
            return sluice_fail(err, SLUICE_UNSUPPORTED,
                               "%s/config.json: quantisation \"%s\" is not supported yet (only MLX "
                               "affine, bf16, f16 and f32)",
                               dir, mode);
    }
    return SLUICE_OK;
}

static sluice_status check_modes(const json_t *object, const char *dir, sluice_error *err)
{
    static const char *const keys[] = {"quantization", "quantization_config"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *quantization = json_object_get(object, keys[i]), *value;
        SLUICE_TRY(check_mode(quantization, dir, err));
        const char *key;
        json_object_foreach(quantization, key, value) SLUICE_TRY(check_mode(value, dir, err));
    }
    return SLUICE_OK;
}

static sluice_status check_quantization(const sluice_source *source, const char *dir,
                                        sluice_error *err)
{
    json_t *root = NULL;
    SLUICE_TRY(sluice_jansson_parse(source->config_text, source->config_bytes, dir, &root, err));
    sluice_status status = check_modes(root, dir, err);
    if (status == SLUICE_OK) status = check_modes(json_object_get(root, "text_config"), dir, err);
    json_decref(root);
    return status;
}

static const sluice_safetensor *take(reader *from, const char *base, const char *suffix,
                                     int32_t *shard)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", base, suffix);
    sluice_tensor_name *found = sluice_tensor_names_find(&from->names, name);
    if (!found) return NULL;
    found->used = true;
    *shard = found->shard;
    return found->tensor;
}

/* The tensors of the matrix `base`; false if it has no weight. */
static bool find_encoded(reader *from, const char *base, sluice_encoded *encoded)
{
    encoded->weight.tensor = take(from, base, ".weight", &encoded->weight.shard);
    if (!encoded->weight.tensor)
        encoded->weight.tensor = take(from, base, "", &encoded->weight.shard);
    if (!encoded->weight.tensor) return false;
    encoded->scales.tensor = take(from, base, ".scales", &encoded->scales.shard);
    encoded->biases.tensor = take(from, base, ".biases", &encoded->biases.shard);
    encoded->name = encoded->weight.tensor->name;
    return true;
}

static sluice_status bind_matrix(reader *from, const sluice_catalog_entry *entry,
                                 sluice_source_matrix *matrix, sluice_error *err)
{
    char base[NAME_BYTES];
    snprintf(base, sizeof base, "%.*s", (int)(strlen(entry->name) - strlen(".weight")),
             entry->name);
    sluice_encoded encoded = {.rows = entry->rows, .cols = entry->cols, .file_rows = entry->rows};
    if (!find_encoded(from, base, &encoded))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is missing",
                           from->source->files->dir, entry->name);
    return sluice_encoding_bind(&encoded, path_of(from, encoded.weight.shard), matrix, err);
}

/* Vectors [n], and convolutions [C, 1, K] (HF), [C, K, 1] (MLX) or [C, K]. */
static sluice_status bind_plain(reader *from, const sluice_catalog_entry *entry,
                                sluice_source_matrix *matrix, const sluice_safetensor **out,
                                sluice_error *err)
{
    int32_t shard = 0;
    const sluice_safetensor *tensor = take(from, entry->name, "", &shard);
    if (!tensor)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is missing",
                           from->source->files->dir, entry->name);
    const int64_t *shape = tensor->shape;
    bool fits = entry->kind == SLUICE_CATALOG_VECTOR
                    ? tensor->dims == 1 && shape[0] == entry->rows
                    : (tensor->dims == 2 || tensor->dims == 3) && shape[0] == entry->rows &&
                          shape[1] * (tensor->dims == 3 ? shape[2] : 1) == entry->cols;
    if (!fits)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor %s has %lld elements in %d dimensions, config.json makes it "
                           "[%d, %d]",
                           path_of(from, shard), tensor->name,
                           (long long)(sluice_dtype_bytes(tensor->dtype)
                                           ? tensor->bytes / sluice_dtype_bytes(tensor->dtype)
                                           : 0),
                           tensor->dims, entry->rows, entry->cols);
    uint8_t kind = sluice_encoding_kind(tensor->dtype);
    if (kind == SLUICE_WEIGHT_KINDS)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: tensor %s is stored as %s; sluice reads it in bf16, f16 or f32",
                           path_of(from, shard), tensor->name, tensor->dtype_name);
    uint64_t element = sluice_dtype_bytes(tensor->dtype);
    *matrix = (sluice_source_matrix){
        .format = {.kind = kind, .bits = (uint8_t)(8 * element)},
        .rows = entry->rows,
        .cols = entry->cols,
        .encoding = &sluice_encoding_plain,
        .part = {{shard, tensor->offset, element * (uint64_t)entry->cols}},
    };
    *out = tensor;
    return SLUICE_OK;
}

/* HF and MLX differ in the shape of conv1d, and with it in what norms hold: w or 1 + w. */
static sluice_status note_convention(reader *from, const sluice_safetensor *conv, int *convention,
                                     sluice_error *err)
{
    if (conv->dims != 3 || conv->shape[1] == conv->shape[2]) return SLUICE_OK;
    int found = conv->shape[1] == 1 ? 1 : 2;
    if (*convention && *convention != found)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor %s has the shape of another saver than those before it; "
                           "whether norms hold w or 1 + w cannot be told",
                           from->source->files->dir, conv->name);
    *convention = found;
    return SLUICE_OK;
}

static sluice_status bind_trunk(reader *from, sluice_error *err)
{
    sluice_source *source = from->source;
    SLUICE_TRY(sluice_catalog_new(&source->config, &source->catalog, &source->trunk_count, err));
    source->trunk = calloc((size_t)source->trunk_count, sizeof *source->trunk);
    if (!source->trunk) return no_memory(from, err);
    int convention = 0; /* 1: HF, 2: MLX */
    for (int32_t i = 0; i < source->trunk_count; i++) {
        const sluice_catalog_entry *entry = &source->catalog[i];
        const sluice_safetensor *tensor = NULL;
        if (entry->kind == SLUICE_CATALOG_MATRIX) {
            SLUICE_TRY(bind_matrix(from, entry, &source->trunk[i], err));
            continue;
        }
        SLUICE_TRY(bind_plain(from, entry, &source->trunk[i], &tensor, err));
        if (entry->kind == SLUICE_CATALOG_CONV)
            SLUICE_TRY(note_convention(from, tensor, &convention, err));
    }
    /* Without GDN layers only the names are left to go by. */
    if (!convention) {
        const sluice_tensor_name *embed =
            sluice_tensor_names_find(&from->names, "embed_tokens.weight");
        bool mlx = embed && strncmp(embed->tensor->name, "language_model.", 15) == 0;
        convention = mlx ? 2 : 1;
    }
    source->norm_add_one = convention == 1;
    return SLUICE_OK;
}

/* gate, up or down of all experts of a layer, into a column of the layer's [E][3]. */
static sluice_status bind_stacked(reader *from, const sluice_encoded *encoded, int32_t layer,
                                  int part, sluice_error *err)
{
    sluice_source *source = from->source;
    size_t experts = (size_t)source->config.experts;
    sluice_source_matrix *column = calloc(experts, sizeof *column);
    if (!column) return no_memory(from, err);
    sluice_status status =
        sluice_encoding_bind(encoded, path_of(from, encoded->weight.shard), column, err);
    for (size_t e = 0; e < experts && status == SLUICE_OK; e++)
        source->experts[((size_t)layer * experts + e) * 3 + (size_t)part] = column[e];
    free(column);
    return status;
}

static sluice_status bind_split(reader *from, const char *prefix, const char *name,
                                sluice_encoded *encoded, int32_t layer, int part, sluice_error *err)
{
    sluice_source *source = from->source;
    size_t experts = (size_t)source->config.experts;
    sluice_source_matrix *first = &source->experts[(size_t)layer * experts * 3 + (size_t)part];
    encoded->count = 0;
    for (size_t e = 0; e < experts; e++) {
        char base[NAME_BYTES];
        sluice_source_matrix *matrix = first + e * 3;
        snprintf(base, sizeof base, "%smlp.experts.%zu.%s", prefix, e, name);
        if (!find_encoded(from, base, encoded))
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: tensor %s.weight is missing (nor are the experts of this layer "
                               "fused or stacked)",
                               source->files->dir, base);
        const char *path = path_of(from, encoded->weight.shard);
        SLUICE_TRY(sluice_encoding_bind(encoded, path, matrix, err));
        if (memcmp(&matrix->format, &first->format, sizeof matrix->format) != 0) {
            char here[24], there[24];
            sluice_weight_format_name(matrix->format, here);
            sluice_weight_format_name(first->format, there);
            return sluice_fail(
                err, SLUICE_UNSUPPORTED,
                "%s: tensor %s is %s, that of expert 0 is %s; the experts of a layer "
                "must have one format",
                path, encoded->name, here, there);
        }
    }
    return SLUICE_OK;
}

static sluice_status bind_part(reader *from, int32_t layer, int part, const char **kind,
                               sluice_error *err)
{
    static const char *const names[3] = {"gate_proj", "up_proj", "down_proj"};
    static const char *const groups[2] = {"switch_mlp", "experts"};
    const sluice_config *config = &from->source->config;
    char prefix[32], base[NAME_BYTES];
    sluice_catalog_layer(config, layer, prefix, sizeof prefix);
    int32_t rows = part == 2 ? config->hidden : config->expert_width;
    sluice_encoded encoded = {.rows = rows,
                              .cols = part == 2 ? config->expert_width : config->hidden,
                              .file_rows = rows,
                              .count = config->experts};
    for (int i = 0; i < 2; i++) {
        snprintf(base, sizeof base, "%smlp.%s.%s", prefix, groups[i], names[part]);
        if (find_encoded(from, base, &encoded)) {
            if (part < 2) *kind = "stacked";
            return bind_stacked(from, &encoded, layer, part, err);
        }
        snprintf(base, sizeof base, "%smlp.%s.gate_up_proj", prefix, groups[i]);
        if (part < 2 && find_encoded(from, base, &encoded)) {
            encoded.file_rows = 2 * rows;
            encoded.first_row = part * rows;
            *kind = "fused";
            return bind_stacked(from, &encoded, layer, part, err);
        }
    }
    if (part < 2) *kind = "split";
    return bind_split(from, prefix, names[part], &encoded, layer, part, err);
}

static sluice_status bind_experts(reader *from, sluice_error *err)
{
    sluice_source *source = from->source;
    int32_t layers = source->config.layers + source->config.mtp_layers;
    const char *kind = "", *any = "";
    source->experts =
        calloc((size_t)layers * (size_t)source->config.experts * 3, sizeof *source->experts);
    if (!source->experts) return no_memory(from, err);
    for (int32_t layer = 0; layer < layers; layer++)
        for (int part = 0; part < 3; part++)
            SLUICE_TRY(bind_part(from, layer, part, layer || part ? &any : &kind, err));
    snprintf(source->layout, sizeof source->layout, "%s %s", source->norm_add_one ? "hf" : "mlx",
             kind);
    return SLUICE_OK;
}

/* Savers often drop the MTP head and keep its number in the config; what is there counts. */
static void count_mtp(reader *from)
{
    sluice_config *config = &from->source->config;
    if (!sluice_tensor_names_any(&from->names, "mtp.")) {
        config->mtp_layers = 0;
        return;
    }
    for (int32_t i = config->mtp_layers; i < SLUICE_MTP_LAYERS_MAX; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "mtp.layers.%d.", i);
        if (!sluice_tensor_names_any(&from->names, prefix)) break;
        config->mtp_layers = i + 1;
    }
}

static sluice_status note_left_out(reader *from, sluice_error *err)
{
    sluice_source *source = from->source;
    source->holds_left_out =
        calloc((size_t)source->files->shard_count, sizeof *source->holds_left_out);
    if (!source->holds_left_out) return no_memory(from, err);
    for (size_t i = 0; i < from->names.count; i++) {
        sluice_tensor_name *name = &from->names.names[i];
        if (source->config.tied && strncmp(name->name, "lm_head.", 8) == 0) name->left_out = true;
        if (!name->left_out) continue;
        source->left_out++;
        source->holds_left_out[name->shard] = true;
    }
    return SLUICE_OK;
}

static sluice_status open_hf(const char *dir, const char *headers_dir, sluice_source *source,
                             sluice_error *err)
{
    SLUICE_TRY(check_quantization(source, dir, err));
    SLUICE_TRY(sluice_checkpoint_open(dir, headers_dir, &source->files, err));
    reader from = {.source = source};
    SLUICE_TRY(sluice_tensor_names_new(source->files, &from.names, err));
    count_mtp(&from);
    sluice_status status = bind_trunk(&from, err);
    if (status == SLUICE_OK) status = bind_experts(&from, err);
    if (status == SLUICE_OK) status = note_left_out(&from, err);
    if (status == SLUICE_OK)
        status = sluice_tensor_names_check_used(&from.names, source->files, err);
    sluice_tensor_names_free(&from.names);
    if (status == SLUICE_OK) sluice_source_print(source);
    return status;
}

const sluice_source_kind sluice_source_hf = {"hf", sluice_checkpoint_is, open_hf};
