/* A container as a source: to change its formats, or values on the way (convert_change.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/container_meta.h"
#include "format/encoding.h"

static sluice_status no_memory(const char *dir, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tensors", dir);
}

static sluice_source_matrix panels(sluice_weight_format format, int32_t rows, int32_t cols,
                                   int32_t shard, uint64_t offset)
{
    return (sluice_source_matrix){
        .format = format,
        .rows = rows,
        .cols = cols,
        .encoding = &sluice_encoding_panels,
        .part = {{shard, offset, sluice_weight_panel_bytes(format, cols) / SLUICE_PANEL_ROWS}}};
}

/* Shard 0 is the trunk, shard 1 + i the experts of layer i. */
static sluice_status open_files(const char *dir, const sluice_container *container,
                                sluice_source *source, sluice_error *err)
{
    const size_t count = 1 + (size_t)sluice_container_expert_layers(container);
    char(*names)[32] = calloc(count, sizeof *names);
    const char **list = calloc(count, sizeof *list);
    sluice_status status = names && list ? SLUICE_OK : no_memory(dir, err);
    for (size_t i = 0; i < count && status == SLUICE_OK; i++) {
        if (i == 0)
            snprintf(names[i], sizeof names[i], "%s", SLUICE_TRUNK_FILE);
        else
            sluice_container_expert_file((int32_t)i - 1, names[i], sizeof names[i]);
        list[i] = names[i];
    }
    if (status == SLUICE_OK)
        status = sluice_checkpoint_open_files(dir, list, count, NULL, &source->files, err);
    free(list);
    free(names);
    return status;
}

static sluice_status list_trunk(const sluice_container *container, sluice_source *source,
                                sluice_error *err)
{
    const sluice_trunk_tensor *tensors = sluice_container_trunk(container, &source->trunk_count);
    SLUICE_TRY(sluice_catalog_new(&source->config, &source->catalog, &source->trunk_count, err));
    source->trunk = calloc((size_t)source->trunk_count, sizeof *source->trunk);
    if (!source->trunk) return no_memory(source->files->dir, err);
    for (int32_t i = 0; i < source->trunk_count; i++) {
        const sluice_trunk_tensor *tensor = &tensors[i];
        source->trunk[i] = panels(tensor->format, tensor->rows, tensor->cols, 0, tensor->offset);
        if (tensor->packed) continue;
        source->trunk[i].encoding = &sluice_encoding_plain;
        source->trunk[i].part[0].row_bytes = tensor->bytes / (uint64_t)tensor->rows;
    }
    return SLUICE_OK;
}

static sluice_status list_experts(const sluice_container *container, sluice_source *source,
                                  sluice_error *err)
{
    const sluice_config *config = &source->config;
    const int32_t layers = sluice_container_expert_layers(container);
    source->experts = calloc((size_t)layers * (size_t)config->experts * 3, sizeof *source->experts);
    if (!source->experts) return no_memory(source->files->dir, err);
    sluice_source_matrix *matrix = source->experts;
    for (int32_t layer = 0; layer < layers; layer++) {
        const sluice_expert_file *file = sluice_container_experts(container, layer);
        const sluice_record_layout *at = &file->layout;
        const int32_t wide = config->hidden, narrow = config->expert_width;
        for (int32_t e = 0; e < config->experts; e++) {
            const uint64_t record = file->offset + (uint64_t)e * at->bytes;
            *matrix++ = panels(at->gate, narrow, wide, layer + 1, record + at->gate_offset);
            *matrix++ = panels(at->up, narrow, wide, layer + 1, record + at->up_offset);
            *matrix++ = panels(at->down, wide, narrow, layer + 1, record + at->down_offset);
        }
    }
    return SLUICE_OK;
}

static sluice_status fill(const char *dir, const sluice_container *container, sluice_source *source,
                          sluice_error *err)
{
    source->container = true;
    source->config = *sluice_container_config(container);
    source->norm_add_one = sluice_container_norm_add_one(container);
    snprintf(source->layout, sizeof source->layout, "%s", sluice_container_layout(container));
    SLUICE_TRY(open_files(dir, container, source, err));
    SLUICE_TRY(list_trunk(container, source, err));
    SLUICE_TRY(list_experts(container, source, err));
    source->holds_left_out =
        calloc((size_t)source->files->shard_count, sizeof *source->holds_left_out);
    if (!source->holds_left_out) return no_memory(dir, err);
    sluice_source_print(source);
    return SLUICE_OK;
}

/* headers_dir is of no use: nothing of a container is consumed. */
static sluice_status open_container(const char *dir, const char *headers_dir, sluice_source *source,
                                    sluice_error *err)
{
    sluice_container *container = NULL;
    (void)headers_dir;
    SLUICE_TRY(sluice_container_open(dir, &container, err));
    const sluice_status status = fill(dir, container, source, err);
    sluice_container_close(container);
    return status;
}

const sluice_source_kind sluice_source_container = {"container", sluice_container_is,
                                                    open_container};
