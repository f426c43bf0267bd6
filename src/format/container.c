/* See container.h. */
#include "format/container.h"

#include <stdlib.h>
#include <string.h>

#include "format/container_meta.h"
#include "format/safetensors.h"
#include "os/file.h"

struct sluice_container {
    char *dir, *trunk_path;
    sluice_config config;
    sluice_trunk_meta trunk;
    const sluice_trunk_tensor **sorted; /* by name */
    sluice_expert_file *experts;
    int32_t layers;
};

static sluice_status read_header(const char *path, sluice_safetensors *table, sluice_error *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    SLUICE_TRY(sluice_file_open(path, &fd, &bytes, err));
    sluice_status status = sluice_safetensors_read(fd, path, bytes, table, NULL, NULL, err);
    sluice_file_close(fd);
    return status;
}

static sluice_status no_memory(const char *dir, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to open the container", dir);
}

static int by_name(const void *left, const void *right)
{
    const sluice_trunk_tensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static sluice_status open_trunk(sluice_container *container, sluice_error *err)
{
    container->trunk_path = sluice_file_join(container->dir, SLUICE_TRUNK_FILE);
    if (!container->trunk_path) return no_memory(container->dir, err);
    sluice_safetensors table = {0};
    SLUICE_TRY(read_header(container->trunk_path, &table, err));
    sluice_status status = sluice_trunk_meta_parse(&table, container->trunk_path,
                                                   &container->config, &container->trunk, err);
    sluice_safetensors_free(&table);
    SLUICE_TRY(status);

    int32_t count = container->trunk.count;
    container->sorted = calloc((size_t)count, sizeof *container->sorted);
    if (!container->sorted) return no_memory(container->dir, err);
    for (int32_t i = 0; i < count; i++)
        container->sorted[i] = &container->trunk.tensors[i];
    qsort(container->sorted, (size_t)count, sizeof *container->sorted, by_name);
    return SLUICE_OK;
}

static sluice_status open_experts(sluice_container *container, sluice_error *err)
{
    container->layers = container->config.layers + container->config.mtp_layers;
    container->experts = calloc((size_t)container->layers, sizeof *container->experts);
    if (!container->experts) return no_memory(container->dir, err);
    for (int32_t i = 0; i < container->layers; i++) {
        char name[32];
        sluice_expert_file *file = &container->experts[i];
        sluice_container_expert_file(i, name, sizeof name);
        char *path = sluice_file_join(container->dir, name);
        if (!path) return no_memory(container->dir, err);
        sluice_safetensors table = {0};
        sluice_status status = read_header(path, &table, err);
        if (status == SLUICE_OK)
            status = sluice_expert_meta_parse(&table, path, &container->config, i, file, NULL, err);
        sluice_safetensors_free(&table);
        file->path = path;
        SLUICE_TRY(status);
    }
    return SLUICE_OK;
}

sluice_status sluice_container_open(const char *dir, sluice_container **out, sluice_error *err)
{
    sluice_container *container = calloc(1, sizeof *container);
    if (!container) return no_memory(dir, err);
    container->dir = strdup(dir);
    char *config_path = sluice_file_join(dir, "config.json");
    sluice_status status = container->dir && config_path ? SLUICE_OK : no_memory(dir, err);
    if (status == SLUICE_OK) status = sluice_config_load(config_path, &container->config, err);
    if (status == SLUICE_OK) status = open_trunk(container, err);
    if (status == SLUICE_OK) status = open_experts(container, err);
    free(config_path);
    if (status == SLUICE_OK)
        *out = container;
    else
        sluice_container_close(container);
    return status;
}

void sluice_container_close(sluice_container *container)
{
    if (!container) return;
    for (int32_t i = 0; container->experts && i < container->layers; i++) {
        free(container->experts[i].path);
        free(container->experts[i].crc32c);
    }
    free(container->experts);
    free(container->sorted);
    sluice_trunk_meta_free(&container->trunk);
    free(container->trunk_path);
    free(container->dir);
    free(container);
}

bool sluice_container_is(const char *dir)
{
    char *path = sluice_file_join(dir, SLUICE_TRUNK_FILE);
    sluice_safetensors table = {0};
    bool is = false;
    if (path && read_header(path, &table, NULL) == SLUICE_OK) {
        const char *format = sluice_safetensors_metadata(&table, "format");
        is = format && strcmp(format, "sluice") == 0;
        sluice_safetensors_free(&table);
    }
    free(path);
    return is;
}

const sluice_config *sluice_container_config(const sluice_container *container)
{
    return &container->config;
}

const char *sluice_container_dir(const sluice_container *container)
{
    return container->dir;
}

const char *sluice_container_trunk_path(const sluice_container *container)
{
    return container->trunk_path;
}

bool sluice_container_norm_add_one(const sluice_container *container)
{
    return container->trunk.norm_add_one;
}

const char *sluice_container_layout(const sluice_container *container)
{
    return container->trunk.layout;
}

const sluice_trunk_tensor *sluice_container_trunk(const sluice_container *container, int32_t *count)
{
    *count = container->trunk.count;
    return container->trunk.tensors;
}

uint32_t sluice_container_trunk_crc32c(const sluice_container *container, int32_t tensor)
{
    return container->trunk.crc32c[tensor];
}

const sluice_trunk_tensor *sluice_container_tensor(const sluice_container *container,
                                                   const char *name)
{
    const sluice_trunk_tensor key = {.name = name}, *wanted = &key;
    const sluice_trunk_tensor *const *found =
        bsearch(&wanted, container->sorted, (size_t)container->trunk.count,
                sizeof *container->sorted, by_name);
    return found ? *found : NULL;
}

int32_t sluice_container_expert_layers(const sluice_container *container)
{
    return container->layers;
}

const sluice_expert_file *sluice_container_experts(const sluice_container *container, int32_t layer)
{
    return &container->experts[layer];
}

void sluice_record_weights(const sluice_record_layout *layout, const sluice_config *config,
                           const void *record, sluice_weight *gate, sluice_weight *up,
                           sluice_weight *down)
{
    const char *base = record;
    *gate = (sluice_weight){.format = layout->gate,
                            .rows = config->expert_width,
                            .cols = config->hidden,
                            .data = base + layout->gate_offset};
    *up = (sluice_weight){.format = layout->up,
                          .rows = config->expert_width,
                          .cols = config->hidden,
                          .data = base + layout->up_offset};
    *down = (sluice_weight){.format = layout->down,
                            .rows = config->hidden,
                            .cols = config->expert_width,
                            .data = base + layout->down_offset};
}
