/* See blueprint.h. */
#include "format/blueprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors_writer.h"

#define CAREFUL_BITS 8
#define NO_FINGERPRINT "0000000000000000"

sluice_status sluice_blueprint_format(const char *word, sluice_weight_format *format,
                                      sluice_error *err)
{
    char name[24];
    bool is_short = word[0] == 'q' && word[1] && !word[2];
    snprintf(name, sizeof name, is_short ? "%s/64/bf16" : "%s", word);
    return sluice_weight_format_parse(name, format, err);
}

static sluice_status no_memory(sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the plan of a container");
}

/* Format and size of each tensor. */
static sluice_status describe(sluice_blueprint *plan, sluice_weight_format format,
                              sluice_weight_format careful, sluice_error *err)
{
    const sluice_weight_format plain = {.kind = SLUICE_WEIGHT_F32, .bits = 32};
    for (int32_t i = 0; i < plan->count; i++) {
        const sluice_catalog_entry *entry = &plan->catalog[i];
        sluice_trunk_tensor *tensor = &plan->tensors[i];
        *tensor = (sluice_trunk_tensor){.name = entry->name,
                                        .packed = entry->kind == SLUICE_CATALOG_MATRIX,
                                        .rows = entry->rows,
                                        .cols = entry->cols};
        tensor->format = !tensor->packed ? plain : entry->careful ? careful : format;
        if (tensor->packed) {
            SLUICE_TRY(
                sluice_weight_check(tensor->format, entry->rows, entry->cols, entry->name, err));
            tensor->bytes = sluice_weight_bytes(tensor->format, entry->rows, entry->cols);
        } else {
            tensor->bytes = (uint64_t)entry->rows * (uint64_t)entry->cols * sizeof(float);
        }
    }
    return SLUICE_OK;
}

/* Packed tensors first, because their places are multiples of 4096. */
static void place(sluice_blueprint *plan)
{
    int32_t n = 0;
    uint64_t at = 0;
    for (int packed = 1; packed >= 0; packed--)
        for (int32_t i = 0; i < plan->count; i++) {
            if (plan->tensors[i].packed != (packed != 0)) continue;
            plan->order[n++] = i;
            plan->tensors[i].offset = at;
            at += sluice_trunk_file_bytes(&plan->tensors[i]);
        }
    plan->trunk_bytes = at;
}

static sluice_status measure_headers(sluice_blueprint *plan, sluice_error *err)
{
    char *header = NULL;
    size_t bytes = 0;
    SLUICE_TRY(sluice_blueprint_trunk_header(plan, "", NO_FINGERPRINT, NULL, &header, &bytes, err));
    free(header);
    plan->trunk_file_bytes = bytes + plan->trunk_bytes;
    SLUICE_TRY(sluice_blueprint_layer_header(plan, 0, NO_FINGERPRINT, NULL, &header, &bytes, err));
    free(header);
    plan->layer_bytes = plan->record.bytes * (uint64_t)plan->config.experts;
    plan->layer_file_bytes = bytes + plan->layer_bytes;
    int32_t layers = plan->config.layers + plan->config.mtp_layers;
    plan->bytes = plan->trunk_file_bytes + plan->layer_file_bytes * (uint64_t)layers;
    return SLUICE_OK;
}

static sluice_status fill(sluice_blueprint *plan, const char *experts, const char *trunk,
                          sluice_error *err)
{
    const sluice_config *config = &plan->config;
    sluice_weight_format format, careful;
    SLUICE_TRY(sluice_blueprint_format(experts, &plan->expert_format, err));
    SLUICE_TRY(sluice_blueprint_format(trunk, &format, err));
    careful = format;
    if (careful.kind == SLUICE_WEIGHT_AFFINE && careful.bits < CAREFUL_BITS)
        careful.bits = CAREFUL_BITS;
    const sluice_weight_format record[3] = {plan->expert_format, plan->expert_format,
                                            plan->expert_format};
    SLUICE_TRY(sluice_weight_check(plan->expert_format, config->expert_width, config->hidden,
                                   "an expert's gate and up", err));
    SLUICE_TRY(sluice_weight_check(plan->expert_format, config->hidden, config->expert_width,
                                   "an expert's down", err));
    sluice_record_layout_make(config, record, &plan->record);
    SLUICE_TRY(sluice_catalog_new(config, &plan->catalog, &plan->count, err));
    plan->tensors = calloc((size_t)plan->count, sizeof *plan->tensors);
    plan->order = calloc((size_t)plan->count, sizeof *plan->order);
    if (!plan->tensors || !plan->order) return no_memory(err);
    SLUICE_TRY(describe(plan, format, careful, err));
    place(plan);
    return measure_headers(plan, err);
}

sluice_status sluice_blueprint_new(const sluice_config *config, const char *experts,
                                   const char *trunk, sluice_blueprint *out, sluice_error *err)
{
    sluice_blueprint plan = {.config = *config};
    sluice_status status = fill(&plan, experts, trunk, err);
    if (status == SLUICE_OK)
        *out = plan;
    else
        sluice_blueprint_free(&plan);
    return status;
}

void sluice_blueprint_free(sluice_blueprint *blueprint)
{
    free(blueprint->catalog);
    free(blueprint->tensors);
    free(blueprint->order);
    *blueprint = (sluice_blueprint){0};
}

sluice_status sluice_blueprint_trunk_header(const sluice_blueprint *blueprint, const char *layout,
                                            const char *fingerprint, const uint32_t *crc32c,
                                            char **header, size_t *bytes, sluice_error *err)
{
    size_t count = (size_t)blueprint->count;
    sluice_safetensors_entry *entries = calloc(count, sizeof *entries);
    uint32_t *zeros = calloc(count, sizeof *zeros);
    char mtp[2] = {(char)('0' + blueprint->config.mtp_layers), '\0'}, *tensors = NULL;
    sluice_status status = entries && zeros ? SLUICE_OK : no_memory(err);
    for (int32_t i = 0; status == SLUICE_OK && i < blueprint->count; i++) {
        const sluice_trunk_tensor *tensor = &blueprint->tensors[blueprint->order[i]];
        sluice_safetensors_entry *entry = &entries[i];
        *entry = (sluice_safetensors_entry){.name = tensor->name,
                                            .dtype = SLUICE_DTYPE_U8,
                                            .dims = 1,
                                            .shape = {(int64_t)sluice_trunk_file_bytes(tensor)}};
        if (tensor->packed) continue;
        entry->dtype = sluice_plain_dtype(tensor->format);
        entry->dims = tensor->cols == 1 ? 1 : 2;
        entry->shape[0] = tensor->rows;
        entry->shape[1] = tensor->cols;
    }
    if (status == SLUICE_OK)
        status = sluice_trunk_meta_print(blueprint->tensors, crc32c ? crc32c : zeros,
                                         blueprint->count, &tensors, err);
    const sluice_safetensors_meta meta[] = {
        {"format", "sluice"},      {"format_version", SLUICE_CONTAINER_VERSION},
        {"source_layout", layout}, {"norm_add_one", "false"},
        {"mtp_layers", mtp},       {"fingerprint", fingerprint},
        {"tensors", tensors},
    };
    if (status == SLUICE_OK)
        status = sluice_safetensors_header(entries, count, meta, sizeof meta / sizeof *meta, header,
                                           bytes, err);
    free(tensors);
    free(entries);
    free(zeros);
    return status;
}

sluice_status sluice_blueprint_layer_header(const sluice_blueprint *blueprint, int32_t layer,
                                            const char *fingerprint, const uint32_t *crc32c,
                                            char **header, size_t *bytes, sluice_error *err)
{
    const sluice_config *config = &blueprint->config;
    uint32_t *zeros = calloc((size_t)config->experts, sizeof *zeros);
    if (!zeros) return no_memory(err);
    char prefix[32], name[64], *record = NULL, *checksums = NULL;
    sluice_catalog_layer(config, layer, prefix, sizeof prefix);
    snprintf(name, sizeof name, "%smlp.experts.records", prefix);
    const sluice_safetensors_entry entry = {
        .name = name,
        .dtype = SLUICE_DTYPE_U8,
        .dims = 2,
        .shape = {config->experts, (int64_t)blueprint->record.bytes}};
    sluice_status status = sluice_expert_meta_print(
        config, &blueprint->record, crc32c ? crc32c : zeros, &record, &checksums, err);
    free(zeros);
    SLUICE_TRY(status);
    const sluice_safetensors_meta meta[] = {
        {"format", "sluice"},  {"format_version", SLUICE_CONTAINER_VERSION},
        {"record", record},    {"fingerprint", fingerprint},
        {"crc32c", checksums},
    };
    status =
        sluice_safetensors_header(&entry, 1, meta, sizeof meta / sizeof *meta, header, bytes, err);
    free(record);
    free(checksums);
    return status;
}
