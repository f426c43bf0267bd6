/* See tensor_names.h. */
#include "format/tensor_names.h"

#include <stdlib.h>
#include <string.h>

/* What is skipped of a name that begins with `prefix`; the first that fits. Hugging Face's full and
 * text-only models, and mlx-lm's. */
static const struct {
    const char *prefix;
    size_t skip;
} prefixes[] = {
    {"model.language_model.", sizeof "model.language_model." - 1},
    {"language_model.model.", sizeof "language_model.model." - 1},
    {"language_model.lm_head.", sizeof "language_model." - 1},
    {"language_model.mtp.", sizeof "language_model." - 1},
    {"model.", sizeof "model." - 1},
};

static const char *canonical(const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return name + prefixes[i].skip;
    return name;
}

static bool is_vision(const char *name)
{
    return strncmp(name, "visual.", 7) == 0 || strstr(name, ".visual.") ||
           strncmp(name, "vision_tower.", 13) == 0 || strstr(name, ".vision_tower.");
}

static int by_name(const void *left, const void *right)
{
    const sluice_tensor_name *a = left, *b = right;
    return strcmp(a->name, b->name);
}

sluice_status sluice_tensor_names_new(const sluice_checkpoint *files, sluice_tensor_names *names,
                                      sluice_error *err)
{
    size_t count = 0;
    for (int32_t i = 0; i < files->shard_count; i++)
        count += files->shards[i].table.count;
    sluice_tensor_names list = {calloc(count + 1, sizeof *list.names), 0};
    if (!list.names)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tensors", files->dir);
    for (int32_t i = 0; i < files->shard_count; i++) {
        const sluice_safetensors *table = &files->shards[i].table;
        for (size_t t = 0; t < table->count; t++) {
            const sluice_safetensor *tensor = &table->tensors[t];
            bool vision = is_vision(tensor->name);
            list.names[list.count++] =
                (sluice_tensor_name){.name = vision ? tensor->name : canonical(tensor->name),
                                     .tensor = tensor,
                                     .shard = i,
                                     .left_out = vision};
        }
    }
    qsort(list.names, list.count, sizeof *list.names, by_name);
    for (size_t i = 1; i < list.count; i++) {
        const sluice_tensor_name *a = &list.names[i - 1], *b = &list.names[i];
        if (strcmp(a->name, b->name) != 0) continue;
        sluice_status status =
            sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is also there as %s in %s",
                        files->shards[b->shard].path, b->tensor->name, a->tensor->name,
                        files->shards[a->shard].name);
        free(list.names);
        return status;
    }
    *names = list;
    return SLUICE_OK;
}

void sluice_tensor_names_free(sluice_tensor_names *names)
{
    free(names->names);
    *names = (sluice_tensor_names){0};
}

sluice_tensor_name *sluice_tensor_names_find(const sluice_tensor_names *names, const char *name)
{
    const sluice_tensor_name key = {.name = name};
    return bsearch(&key, names->names, names->count, sizeof key, by_name);
}

bool sluice_tensor_names_any(const sluice_tensor_names *names, const char *prefix)
{
    for (size_t i = 0; i < names->count; i++)
        if (strncmp(names->names[i].name, prefix, strlen(prefix)) == 0) return true;
    return false;
}

sluice_status sluice_tensor_names_check_used(const sluice_tensor_names *names,
                                             const sluice_checkpoint *files, sluice_error *err)
{
    size_t unexpected = 0;
    const sluice_tensor_name *first = NULL;
    for (size_t i = 0; i < names->count; i++) {
        if (names->names[i].used || names->names[i].left_out) continue;
        if (!unexpected++) first = &names->names[i];
    }
    if (!unexpected) return SLUICE_OK;
    return sluice_fail(err, SLUICE_CORRUPT,
                       "%s: tensor %s does not belong to the model that config.json describes (nor "
                       "do %zu others)",
                       files->shards[first->shard].path, first->tensor->name, unexpected - 1);
}
