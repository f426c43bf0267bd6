/* See convert_plan.h. */
#include "format/convert_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/convert_mix.h"
#include "format/convert_target.h"
#include "format/encoding.h"
#include "quant/fit.h"

static uint64_t source_bytes(const sluice_source_matrix *matrix)
{
    uint64_t bytes = 0;
    for (int i = 0; i < matrix->encoding->parts; i++)
        bytes += matrix->part[i].row_bytes * (uint64_t)matrix->rows;
    return bytes;
}

static void note_use(sluice_plan *plan, const sluice_source_matrix *matrix, int32_t file)
{
    plan->files[file].source_bytes += source_bytes(matrix);
    for (int i = 0; i < matrix->encoding->parts; i++)
        if (plan->shard_last[matrix->part[i].shard] < file)
            plan->shard_last[matrix->part[i].shard] = file;
}

/* Packed matrices first, each on a multiple of 4096; then f32 vectors, then the 16-bit ones, so
 * that all are aligned to their elements. */
static int place_group(const sluice_trunk_tensor *tensor)
{
    return tensor->packed ? 0 : tensor->format.bits == 32 ? 1 : 2;
}

static sluice_status plan_trunk(sluice_plan *plan, sluice_target to, sluice_error *err)
{
    const sluice_source *source = plan->source;
    for (int32_t i = 0; i < source->trunk_count; i++) {
        const sluice_catalog_entry *entry = &source->catalog[i];
        const sluice_source_matrix *from = &source->trunk[i];
        sluice_trunk_tensor *tensor = &plan->trunk[i];
        *tensor = (sluice_trunk_tensor){.name = entry->name,
                                        .format = from->format,
                                        .packed = entry->kind == SLUICE_CATALOG_MATRIX,
                                        .rows = entry->rows,
                                        .cols = entry->cols};
        if (tensor->packed) {
            const bool stays =
                plan->change &&
                !sluice_convert_changes(plan->change,
                                        &(sluice_matrix_place){entry->name, -1, -1, -1}, NULL);
            tensor->format = stays ? from->format : sluice_target_choose(from, to, entry->careful);
            SLUICE_TRY(
                sluice_weight_check(tensor->format, entry->rows, entry->cols, entry->name, err));
            tensor->bytes = sluice_weight_bytes(tensor->format, entry->rows, entry->cols);
        } else {
            tensor->bytes = source_bytes(from);
        }
        if (memcmp(&tensor->format, &from->format, sizeof from->format) != 0)
            plan->requantised = true;
        note_use(plan, from, 0);
    }
    uint64_t offset = 0;
    int32_t placed = 0;
    for (int group = 0; group < 3; group++)
        for (int32_t i = 0; i < source->trunk_count; i++) {
            if (place_group(&plan->trunk[i]) != group) continue;
            plan->trunk[i].offset = offset;
            plan->trunk_order[placed++] = i;
            offset += sluice_trunk_file_bytes(&plan->trunk[i]);
        }
    plan->files[0].data_bytes = offset;
    return SLUICE_OK;
}

/* Whether one of a layer's experts is changed: all of them have one format. */
static bool layer_changes(const sluice_plan *plan, int32_t layer, int part)
{
    for (int32_t e = 0; e < plan->source->config.experts; e++)
        if (sluice_convert_changes(plan->change, &(sluice_matrix_place){NULL, layer, e, part},
                                   NULL))
            return true;
    return false;
}

/* mix: bits of gate, up and down, or NULL. */
static sluice_status plan_layer(sluice_plan *plan, int32_t layer, sluice_target to,
                                const uint8_t *mix, sluice_error *err)
{
    const sluice_source *source = plan->source;
    sluice_weight_format format[3];
    for (int part = 0; part < 3; part++) {
        const sluice_source_matrix *from = sluice_source_expert(source, layer, 0, part);
        if (mix) to.bits = mix[part];
        const bool stays = plan->change && !layer_changes(plan, layer, part);
        format[part] = stays ? from->format : sluice_target_choose(from, to, false);
        SLUICE_TRY(sluice_weight_check(format[part], from->rows, from->cols,
                                       plan->files[layer + 1].name, err));
        if (memcmp(&format[part], &from->format, sizeof from->format) != 0)
            plan->requantised = true;
        for (int32_t e = 0; e < source->config.experts; e++)
            note_use(plan, sluice_source_expert(source, layer, e, part), layer + 1);
    }
    sluice_record_layout_make(&source->config, format, &plan->records[layer]);
    plan->files[layer + 1].data_bytes =
        plan->records[layer].bytes * (uint64_t)source->config.experts;
    return SLUICE_OK;
}

static sluice_status measure_header(sluice_plan *plan, sluice_plan_file *file, sluice_error *err)
{
    const sluice_source *source = plan->source;
    int32_t count = file->layer < 0 ? source->trunk_count : source->config.experts;
    uint32_t *zeros = calloc((size_t)count, sizeof *zeros);
    if (!zeros) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to plan the conversion");
    char *header = NULL;
    size_t bytes = 0;
    sluice_status status = sluice_plan_header(plan, file, zeros, &header, &bytes, err);
    free(zeros);
    free(header);
    file->header_bytes = bytes;
    return status;
}

static void make_fingerprint(sluice_plan *plan, const sluice_convert_options *options)
{
    char text[256];
    int length =
        snprintf(text, sizeof text, "%s %s %.20s %.20s", plan->source->fingerprint,
                 SLUICE_CONTAINER_VERSION, options && options->experts ? options->experts : "-",
                 options && options->trunk ? options->trunk : "-");
    if (plan->importance) /* what it holds, and what this program makes of it */
        length += snprintf(text + length, sizeof text - (size_t)length, " %s %s",
                           plan->importance->id, SLUICE_FIT_VERSION);
    if (plan->change)
        length += snprintf(text + length, sizeof text - (size_t)length, " %.40s", plan->change->id);
    uint64_t state = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (int i = 0; i < length; i++)
        state = (state ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    snprintf(plan->fingerprint, sizeof plan->fingerprint, "%016llx", (unsigned long long)state);
}

static sluice_status allocate(sluice_plan *plan, sluice_error *err)
{
    const sluice_source *source = plan->source;
    size_t layers = (size_t)(source->config.layers + source->config.mtp_layers);
    size_t tensors = (size_t)source->trunk_count, shards = (size_t)source->files->shard_count;
    plan->trunk = calloc(tensors, sizeof *plan->trunk);
    plan->trunk_order = calloc(tensors, sizeof *plan->trunk_order);
    plan->records = calloc(layers, sizeof *plan->records);
    plan->files = calloc(layers + 1, sizeof *plan->files);
    plan->shard_last = calloc(shards, sizeof *plan->shard_last);
    if (!plan->trunk || !plan->trunk_order || !plan->records || !plan->files || !plan->shard_last)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to plan the conversion");
    for (size_t i = 0; i < shards; i++)
        plan->shard_last[i] = -1;
    plan->file_count = (int32_t)layers + 1;
    for (int32_t i = 0; i < plan->file_count; i++) {
        plan->files[i].layer = i - 1;
        if (i)
            sluice_container_expert_file(i - 1, plan->files[i].name, sizeof plan->files[i].name);
        else
            snprintf(plan->files[i].name, sizeof plan->files[i].name, "%s", SLUICE_TRUNK_FILE);
    }
    return SLUICE_OK;
}

static sluice_status parse_options(const sluice_convert_options *options, sluice_target *experts,
                                   sluice_target *trunk, sluice_error *err)
{
    const sluice_convert_options none = {0};
    if (!options) options = &none;
    SLUICE_TRY(sluice_target_parse(options->experts, "--experts", true, experts, err));
    SLUICE_TRY(sluice_target_parse(options->trunk, "--trunk", false, trunk, err));
    if (experts->mix == 0.0 || options->importance) return SLUICE_OK;
    return sluice_fail(err, SLUICE_USAGE,
                       "--experts %.40s: a mix is chosen by what text has shown; name it with "
                       "--importance FILE (see 'sluice importance')",
                       options->experts);
}

sluice_status sluice_convert_check(const sluice_convert_options *options, sluice_error *err)
{
    sluice_target experts, trunk;
    return parse_options(options, &experts, &trunk, err);
}

static sluice_status plan_experts(sluice_plan *plan, sluice_target to, sluice_error *err)
{
    size_t layers = (size_t)plan->file_count - 1;
    uint8_t *mix = NULL;
    sluice_status status = SLUICE_OK;
    if (to.mix != 0.0) {
        mix = malloc(layers * 3);
        status = mix ? sluice_mix_choose(plan->source, plan->importance, to, mix, err)
                     : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to plan the conversion");
    }
    for (size_t i = 0; i < layers && status == SLUICE_OK; i++)
        status = plan_layer(plan, (int32_t)i, to, mix ? mix + i * 3 : NULL, err);
    free(mix);
    return status;
}

static sluice_status fill(sluice_plan *plan, const sluice_convert_options *options,
                          sluice_error *err)
{
    sluice_target experts, trunk;
    SLUICE_TRY(parse_options(options, &experts, &trunk, err));
    SLUICE_TRY(allocate(plan, err));
    if (options && options->importance)
        SLUICE_TRY(sluice_importance_open(options->importance, &plan->source->config,
                                          &plan->importance, err));
    make_fingerprint(plan, options);
    SLUICE_TRY(plan_trunk(plan, trunk, err));
    SLUICE_TRY(plan_experts(plan, experts, err));
    for (int32_t i = 0; i < plan->file_count; i++)
        SLUICE_TRY(measure_header(plan, &plan->files[i], err));
    return SLUICE_OK;
}

sluice_status sluice_plan_new(sluice_source *source, const sluice_convert_options *options,
                              const sluice_convert_change *change, sluice_plan **out,
                              sluice_error *err)
{
    sluice_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        sluice_source_close(source);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to plan the conversion");
    }
    plan->source = source;
    plan->change = change;
    sluice_status status = fill(plan, options, err);
    if (status == SLUICE_OK)
        *out = plan;
    else
        sluice_plan_free(plan);
    return status;
}

void sluice_plan_free(sluice_plan *plan)
{
    if (!plan) return;
    sluice_source_close(plan->source);
    sluice_importance_close(plan->importance);
    free(plan->trunk);
    free(plan->trunk_order);
    free(plan->records);
    free(plan->files);
    free(plan->shard_last);
    free(plan);
}

static sluice_status trunk_header(const sluice_plan *plan, const uint32_t *crc32c, char **header,
                                  size_t *bytes, sluice_error *err)
{
    const sluice_source *source = plan->source;
    int32_t count = source->trunk_count;
    char *tensors = NULL, mtp[4];
    sluice_safetensors_entry *entries = calloc((size_t)count, sizeof *entries);
    if (!entries) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the trunk's header");
    for (int32_t i = 0; i < count; i++) {
        const sluice_trunk_tensor *tensor = &plan->trunk[plan->trunk_order[i]];
        const sluice_catalog_entry *entry = &source->catalog[plan->trunk_order[i]];
        entries[i].name = tensor->name;
        if (tensor->packed) {
            entries[i].dtype = SLUICE_DTYPE_U8;
            entries[i].dims = 1;
            entries[i].shape[0] = (int64_t)sluice_trunk_file_bytes(tensor);
        } else {
            entries[i].dtype = sluice_plain_dtype(tensor->format);
            entries[i].dims = entry->kind == SLUICE_CATALOG_CONV ? 2 : 1;
            entries[i].shape[0] = tensor->rows;
            entries[i].shape[1] = tensor->cols;
        }
    }
    snprintf(mtp, sizeof mtp, "%d", source->config.mtp_layers);
    sluice_status status = sluice_trunk_meta_print(plan->trunk, crc32c, count, &tensors, err);
    if (status == SLUICE_OK) {
        const sluice_safetensors_meta meta[] = {
            {"format", "sluice"},
            {"format_version", SLUICE_CONTAINER_VERSION},
            {"fingerprint", plan->fingerprint},
            {"source_layout", source->layout},
            {"norm_add_one", source->norm_add_one ? "true" : "false"},
            {"mtp_layers", mtp},
            {"tensors", tensors},
        };
        status = sluice_safetensors_header(entries, (size_t)count, meta, sizeof meta / sizeof *meta,
                                           header, bytes, err);
        free(tensors);
    }
    free(entries);
    return status;
}

static sluice_status layer_header(const sluice_plan *plan, int32_t layer, const uint32_t *crc32c,
                                  char **header, size_t *bytes, sluice_error *err)
{
    const sluice_config *config = &plan->source->config;
    char prefix[32], name[64], *record = NULL, *checksums = NULL;
    sluice_catalog_layer(config, layer, prefix, sizeof prefix);
    snprintf(name, sizeof name, "%smlp.experts.records", prefix);
    SLUICE_TRY(
        sluice_expert_meta_print(config, &plan->records[layer], crc32c, &record, &checksums, err));
    const sluice_safetensors_meta meta[] = {
        {"format", "sluice"},
        {"format_version", SLUICE_CONTAINER_VERSION},
        {"fingerprint", plan->fingerprint},
        {"record", record},
        {"crc32c", checksums},
    };
    const sluice_safetensors_entry entry = {
        .name = name,
        .dtype = SLUICE_DTYPE_U8,
        .dims = 2,
        .shape = {config->experts, (int64_t)plan->records[layer].bytes},
    };
    sluice_status status =
        sluice_safetensors_header(&entry, 1, meta, sizeof meta / sizeof *meta, header, bytes, err);
    free(record);
    free(checksums);
    return status;
}

sluice_status sluice_plan_header(const sluice_plan *plan, const sluice_plan_file *file,
                                 const uint32_t *crc32c, char **header, size_t *bytes,
                                 sluice_error *err)
{
    return file->layer < 0 ? trunk_header(plan, crc32c, header, bytes, err)
                           : layer_header(plan, file->layer, crc32c, header, bytes, err);
}

bool sluice_plan_frees(const sluice_plan *plan, int32_t shard, int32_t file)
{
    return !plan->source->holds_left_out[shard] && plan->shard_last[shard] >= 0 &&
           plan->shard_last[shard] <= file;
}

uint64_t sluice_plan_needed(const sluice_plan *plan, bool freed)
{
    uint64_t held = 0, released = 0, peak = 0;
    for (int32_t i = 0; i < plan->file_count; i++) {
        const sluice_plan_file *file = &plan->files[i];
        if (!file->finished) held += file->header_bytes + file->data_bytes;
        if (held > released && held - released > peak) peak = held - released;
        for (int32_t s = 0; freed && s < plan->source->files->shard_count; s++)
            if (sluice_plan_frees(plan, s, i) && plan->shard_last[s] == i &&
                plan->source->files->shards[s].fd >= 0)
                released += plan->source->files->shards[s].bytes;
    }
    return peak;
}
