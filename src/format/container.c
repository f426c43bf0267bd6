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

static sluice_status read_experts(const sluice_container *container, const char *path,
                                  int32_t layer, sluice_expert_file *file, sluice_error *err)
{
    sluice_safetensors table = {0};
    sluice_status status = read_header(path, &table, err);
    if (status == SLUICE_OK)
        status = sluice_expert_meta_parse(&table, path, &container->config, layer, file, NULL, err);
    sluice_safetensors_free(&table);
    return status;
}

static bool same_format(const sluice_weight_format *a, const sluice_weight_format *b)
{
    return a->kind == b->kind && a->bits == b->bits && a->group == b->group && a->scale == b->scale;
}

static bool same_layout(const sluice_record_layout *a, const sluice_record_layout *b)
{
    return same_format(&a->gate, &b->gate) && same_format(&a->up, &b->up) &&
           same_format(&a->down, &b->down) && a->bytes == b->bytes;
}

/* path becomes a copy of file, and its own. */
static sluice_status take_copy(const sluice_container *container, char *path, int32_t layer,
                               sluice_expert_file *file, sluice_error *err)
{
    sluice_expert_file copy = {0};
    file->copies[file->n_copies++] = path;
    sluice_status status = read_experts(container, path, layer, &copy, err);
    if (status == SLUICE_OK &&
        (copy.offset != file->offset || copy.count != file->count ||
         !same_layout(&copy.layout, &file->layout) ||
         memcmp(copy.crc32c, file->crc32c, (size_t)file->count * sizeof *file->crc32c) != 0))
        status =
            sluice_fail(err, SLUICE_CORRUPT, "%s: is not the same file as %s; copies must be equal",
                        path, file->path);
    free(copy.crc32c);
    return status;
}

/* Looks for one layer's file in every folder; the first that has it is the one, the rest copies. */
static sluice_status find_experts(sluice_container *container, const char *const *folders,
                                  int32_t n_folders, int32_t layer, sluice_error *err)
{
    sluice_expert_file *file = &container->experts[layer];
    char name[32];
    sluice_container_expert_file(layer, name, sizeof name);
    for (int32_t i = -1; i < n_folders; i++) {
        char *path = sluice_file_join(i < 0 ? container->dir : folders[i], name);
        if (!path) return no_memory(container->dir, err);
        if (!sluice_file_exists(path) && (n_folders || i >= 0)) {
            free(path);
        } else if (!file->path) {
            sluice_status status = read_experts(container, path, layer, file, err);
            file->path = path; /* reading fills in all the rest */
            SLUICE_TRY(status);
        } else {
            SLUICE_TRY(take_copy(container, path, layer, file, err));
        }
    }
    if (file->path) return SLUICE_OK;
    return sluice_fail(err, SLUICE_NOT_FOUND,
                       "%s/%s: there is no such file, neither here nor in the %d folder%s given "
                       "with --experts",
                       container->dir, name, n_folders, n_folders == 1 ? "" : "s");
}

static sluice_status open_experts(sluice_container *container, const char *const *folders,
                                  int32_t n_folders, sluice_error *err)
{
    container->layers = container->config.layers + container->config.mtp_layers;
    container->experts = calloc((size_t)container->layers, sizeof *container->experts);
    if (!container->experts) return no_memory(container->dir, err);
    if (n_folders > SLUICE_EXPERT_FOLDERS_MAX)
        return sluice_fail(err, SLUICE_LIMIT, "%d folders of experts; at most %d are possible",
                           n_folders, SLUICE_EXPERT_FOLDERS_MAX);
    for (int32_t i = 0; i < container->layers; i++)
        SLUICE_TRY(find_experts(container, folders, n_folders, i, err));
    return SLUICE_OK;
}

sluice_status sluice_container_open_over(const char *dir, const char *const *folders,
                                         int32_t n_folders, sluice_container **out,
                                         sluice_error *err)
{
    sluice_container *container = calloc(1, sizeof *container);
    if (!container) return no_memory(dir, err);
    container->dir = strdup(dir);
    char *config_path = sluice_file_join(dir, "config.json");
    sluice_status status = container->dir && config_path ? SLUICE_OK : no_memory(dir, err);
    if (status == SLUICE_OK) status = sluice_config_load(config_path, &container->config, err);
    if (status == SLUICE_OK) status = open_trunk(container, err);
    if (status == SLUICE_OK) status = open_experts(container, folders, n_folders, err);
    free(config_path);
    if (status == SLUICE_OK)
        *out = container;
    else
        sluice_container_close(container);
    return status;
}

sluice_status sluice_container_open(const char *dir, sluice_container **out, sluice_error *err)
{
    return sluice_container_open_over(dir, NULL, 0, out, err);
}

void sluice_container_close(sluice_container *container)
{
    if (!container) return;
    for (int32_t i = 0; container->experts && i < container->layers; i++) {
        free(container->experts[i].path);
        for (int32_t c = 0; c < container->experts[i].n_copies; c++)
            free(container->experts[i].copies[c]);
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
