/* See importance_file.h. */
#include "eval/importance_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "format/safetensors_writer.h"

static int32_t tensor_count(const sluice_config *config)
{
    return config->layers * SLUICE_IMPORTANCE_PLACES + 1;
}

static void tensor_at(const sluice_importance_sums *sums, int32_t index, int32_t *layer,
                      sluice_importance_place *place)
{
    bool head = index == sums->config->layers * SLUICE_IMPORTANCE_PLACES;
    *layer = head ? 0 : index / SLUICE_IMPORTANCE_PLACES;
    *place = head ? SLUICE_IMPORTANCE_HEAD_IN
                  : (sluice_importance_place)(index % SLUICE_IMPORTANCE_PLACES);
}

sluice_status sluice_importance_sums_new(const sluice_config *config,
                                         const sluice_importance_blocks *blocks,
                                         sluice_importance_sums *out, sluice_error *err)
{
    sluice_importance_sums sums = {.config = config, .blocks = *blocks};
    int32_t count = tensor_count(config);
    void *values = NULL;
    sums.offsets = calloc((size_t)count + 1, sizeof *sums.offsets);
    if (!sums.offsets) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for importances");
    for (int32_t i = 0; i < count; i++) {
        int32_t layer;
        int64_t shape[2];
        sluice_importance_place place;
        tensor_at(&sums, i, &layer, &place);
        sluice_importance_shape(config, blocks, layer, place, shape);
        sums.offsets[i + 1] = sums.offsets[i] + (uint64_t)shape[0] * (uint64_t)shape[1];
    }
    sums.floats = sums.offsets[count];
    sluice_status status =
        sluice_memory_new(NULL, (size_t)sums.floats * sizeof(float), "importances", &values, err);
    sums.values = values;
    if (status != SLUICE_OK)
        free(sums.offsets);
    else
        *out = sums;
    return status;
}

void sluice_importance_sums_free(sluice_importance_sums *sums)
{
    if (sums->values)
        sluice_memory_free(NULL, sums->values, (size_t)sums->floats * sizeof(float), "importances");
    free(sums->offsets);
    *sums = (sluice_importance_sums){0};
}

float *sluice_importance_sum(const sluice_importance_sums *sums, int32_t layer,
                             sluice_importance_place place)
{
    int32_t index = place == SLUICE_IMPORTANCE_HEAD_IN
                        ? sums->config->layers * SLUICE_IMPORTANCE_PLACES
                        : layer * SLUICE_IMPORTANCE_PLACES + (int32_t)place;
    return sums->values + sums->offsets[index];
}

static sluice_status make_header(const sluice_importance_sums *sums, const char *model,
                                 int64_t tokens, char **header, size_t *bytes, sluice_error *err)
{
    size_t count = (size_t)tensor_count(sums->config);
    char id[9], block[16], expert_block[16], expert_in[16], seen[24];
    char(*names)[48] = calloc(count, sizeof *names);
    sluice_safetensors_entry *entries = calloc(count, sizeof *entries);
    sluice_status status = SLUICE_OK;
    if (!names || !entries)
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a list of importances");
    for (size_t i = 0; i < count && status == SLUICE_OK; i++) {
        int32_t layer;
        sluice_importance_place place;
        tensor_at(sums, (int32_t)i, &layer, &place);
        sluice_importance_name(layer, place, names[i], sizeof names[i]);
        entries[i] =
            (sluice_safetensors_entry){.name = names[i], .dtype = SLUICE_DTYPE_F32, .dims = 2};
        sluice_importance_shape(sums->config, &sums->blocks, layer, place, entries[i].shape);
    }
    snprintf(id, sizeof id, "%08x",
             sluice_crc32c(0, sums->values, (size_t)sums->floats * sizeof(float)));
    snprintf(block, sizeof block, "%d", sums->blocks.block);
    snprintf(expert_block, sizeof expert_block, "%d", sums->blocks.expert_block);
    snprintf(expert_in, sizeof expert_in, "%d", sums->blocks.expert_in);
    snprintf(seen, sizeof seen, "%lld", (long long)tokens);
    const sluice_safetensors_meta meta[] = {
        {"format", "sluice importance"},
        {"format_version", SLUICE_IMPORTANCE_VERSION},
        {"block", block},
        {"expert_block", expert_block},
        {"expert_in_block", expert_in},
        {"id", id},
        {"model", model},
        {"tokens", seen},
    };
    if (status == SLUICE_OK)
        status = sluice_safetensors_header(entries, count, meta, sizeof meta / sizeof *meta, header,
                                           bytes, err);
    free(names);
    free(entries);
    return status;
}

sluice_status sluice_importance_save(const sluice_importance_sums *sums, const char *model,
                                     int64_t tokens, const char *path, sluice_error *err)
{
    char *header = NULL;
    size_t bytes = 0, data = (size_t)sums->floats * sizeof(float);
    sluice_safetensors_writer *writer = NULL;
    SLUICE_TRY(make_header(sums, model, tokens, &header, &bytes, err));
    sluice_status status = sluice_safetensors_writer_open(path, bytes, data, &writer, err);
    if (status == SLUICE_OK) {
        status = sluice_safetensors_writer_put(writer, 0, sums->values, data, err);
        if (status == SLUICE_OK)
            status = sluice_safetensors_writer_finish(writer, header, bytes, err);
        else
            sluice_safetensors_writer_abandon(writer);
    }
    free(header);
    return status;
}
