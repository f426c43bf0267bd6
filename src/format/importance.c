/* See importance.h. */
#include "format/importance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

static const char *const place_names[SLUICE_IMPORTANCE_PLACES] = {
    "mixer.in",     "mixer.out",  "moe.in",       "shared.inner",
    "experts.rows", "experts.in", "experts.inner"};

static int32_t mixer_width(const sluice_config *config, int32_t layer)
{
    return config->mixer[layer] == SLUICE_MIXER_ATTENTION ? config->heads * config->head_dim
                                                          : config->gdn_v_heads * config->gdn_v_dim;
}

static int32_t at_most(int32_t block, int32_t cols)
{
    return block < cols ? block : cols;
}

void sluice_importance_shape(const sluice_config *config, const sluice_importance_blocks *blocks,
                             int32_t layer, sluice_importance_place place, int64_t shape[2])
{
    int32_t cols = config->hidden;
    switch (place) {
    case SLUICE_IMPORTANCE_EXPERT_ROWS:
        shape[0] = config->experts;
        shape[1] = 1;
        return;
    case SLUICE_IMPORTANCE_EXPERT_IN:
        shape[0] = (int64_t)config->experts * config->hidden;
        shape[1] = at_most(blocks->expert_in, config->hidden);
        return;
    case SLUICE_IMPORTANCE_EXPERT_INNER:
        shape[0] = (int64_t)config->experts * config->expert_width;
        shape[1] = at_most(blocks->expert_block, config->expert_width);
        return;
    case SLUICE_IMPORTANCE_MIXER_OUT: cols = mixer_width(config, layer); break;
    case SLUICE_IMPORTANCE_SHARED_INNER: cols = config->shared_width; break;
    case SLUICE_IMPORTANCE_MIXER_IN:
    case SLUICE_IMPORTANCE_MOE_IN:
    case SLUICE_IMPORTANCE_HEAD_IN: break;
    }
    shape[0] = cols;
    shape[1] = at_most(blocks->block, cols);
}

void sluice_importance_name(int32_t layer, sluice_importance_place place, char *name, size_t bytes)
{
    if (place == SLUICE_IMPORTANCE_HEAD_IN)
        snprintf(name, bytes, "head.in");
    else
        snprintf(name, bytes, "layers.%d.%s", layer, place_names[place]);
}

uint64_t sluice_importance_floats(const sluice_config *config,
                                  const sluice_importance_blocks *blocks)
{
    uint64_t floats = 0;
    int64_t shape[2];
    for (int32_t layer = 0; layer < config->layers; layer++)
        for (int place = 0; place < SLUICE_IMPORTANCE_PLACES; place++) {
            sluice_importance_shape(config, blocks, layer, (sluice_importance_place)place, shape);
            floats += (uint64_t)shape[0] * (uint64_t)shape[1];
        }
    sluice_importance_shape(config, blocks, 0, SLUICE_IMPORTANCE_HEAD_IN, shape);
    return floats + (uint64_t)shape[0] * (uint64_t)shape[1];
}

static bool is_block(int32_t columns)
{
    return columns >= 128 && columns <= 65536 && columns % 128 == 0;
}

sluice_status sluice_importance_blocks_check(const sluice_importance_blocks *blocks,
                                             sluice_error *err)
{
    if (is_block(blocks->block) && is_block(blocks->expert_block) &&
        (blocks->expert_in == 1 || is_block(blocks->expert_in)))
        return SLUICE_OK;
    return sluice_fail(err, SLUICE_USAGE,
                       "blocks of %d columns, of %d within experts and %d of what enters them: "
                       "they are multiples of 128 up to 65536, and the last may be 1",
                       blocks->block, blocks->expert_block, blocks->expert_in);
}

static sluice_status check_tensor(const sluice_importance *importance, const sluice_config *config,
                                  int32_t layer, sluice_importance_place place, sluice_error *err)
{
    char name[48];
    int64_t shape[2];
    sluice_importance_name(layer, place, name, sizeof name);
    sluice_importance_shape(config, &importance->blocks, layer, place, shape);
    const sluice_safetensor *tensor = sluice_safetensors_find(&importance->table, name);
    if (!tensor)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: %s is missing", importance->path, name);
    if (tensor->dtype != SLUICE_DTYPE_F32 || tensor->dims != 2 || tensor->shape[0] != shape[0] ||
        tensor->shape[1] != shape[1])
        return sluice_fail(err, SLUICE_USAGE,
                           "%s: %s is not F32 of %lld by %lld; it was made for a model of other "
                           "sizes",
                           importance->path, name, (long long)shape[0], (long long)shape[1]);
    return SLUICE_OK;
}

static sluice_status read_block(const sluice_importance *importance, const char *key,
                                int32_t *block, sluice_error *err)
{
    const char *text = sluice_safetensors_metadata(&importance->table, key);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : 0;
    if (!text || *end || value < 1 || value > 65536)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is not a number of columns",
                           importance->path, key);
    *block = (int32_t)value;
    return SLUICE_OK;
}

static sluice_status check(sluice_importance *importance, const sluice_config *config,
                           sluice_error *err)
{
    const sluice_safetensors *table = &importance->table;
    const char *format = sluice_safetensors_metadata(table, "format");
    const char *version = sluice_safetensors_metadata(table, "format_version");
    const char *id = sluice_safetensors_metadata(table, "id");
    if (!format || strcmp(format, "sluice importance") != 0)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: not a file of importances (see \"sluice "
                           "importance\")",
                           importance->path);
    if (!version || strcmp(version, SLUICE_IMPORTANCE_VERSION) != 0)
        return sluice_fail(
            err, SLUICE_UNSUPPORTED,
            "%s: version %.20s; this program reads version " SLUICE_IMPORTANCE_VERSION,
            importance->path, version ? version : "none");
    if (!id || strlen(id) >= sizeof importance->id)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"id\" is missing or too long",
                           importance->path);
    memcpy(importance->id, id, strlen(id) + 1);
    SLUICE_TRY(read_block(importance, "block", &importance->blocks.block, err));
    SLUICE_TRY(read_block(importance, "expert_block", &importance->blocks.expert_block, err));
    SLUICE_TRY(read_block(importance, "expert_in_block", &importance->blocks.expert_in, err));
    sluice_error inner = {0};
    if (sluice_importance_blocks_check(&importance->blocks, &inner) != SLUICE_OK)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: %.300s", importance->path, inner.detail);
    importance->hidden = config->hidden;
    importance->width = config->expert_width;
    for (int32_t layer = 0; layer < config->layers; layer++)
        for (int place = 0; place < SLUICE_IMPORTANCE_PLACES; place++)
            SLUICE_TRY(
                check_tensor(importance, config, layer, (sluice_importance_place)place, err));
    return check_tensor(importance, config, 0, SLUICE_IMPORTANCE_HEAD_IN, err);
}

sluice_status sluice_importance_open(const char *path, const sluice_config *config,
                                     sluice_importance **out, sluice_error *err)
{
    uint64_t bytes = 0;
    sluice_importance *importance = calloc(1, sizeof *importance);
    if (importance) importance->fd = -1;
    if (importance) importance->path = strdup(path);
    sluice_status status = importance && importance->path
                               ? sluice_file_open(path, &importance->fd, &bytes, err)
                               : sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for it", path);
    if (status == SLUICE_OK)
        status = sluice_safetensors_read(importance->fd, path, bytes, &importance->table, NULL,
                                         NULL, err);
    if (status == SLUICE_OK) status = check(importance, config, err);
    if (status == SLUICE_OK)
        *out = importance;
    else
        sluice_importance_close(importance);
    return status;
}

void sluice_importance_close(sluice_importance *importance)
{
    if (!importance) return;
    if (importance->fd >= 0) sluice_file_close(importance->fd);
    sluice_safetensors_free(&importance->table);
    free(importance->path);
    free(importance);
}

sluice_status sluice_importance_read(const sluice_importance *importance, int32_t layer,
                                     sluice_importance_place place, int64_t first, int64_t count,
                                     float *out, sluice_error *err)
{
    char name[48];
    sluice_importance_name(layer, place, name, sizeof name);
    const sluice_safetensor *tensor = sluice_safetensors_find(&importance->table, name);
    if (!tensor || first < 0 || count < 0 || count > tensor->shape[0] - first)
        return sluice_fail(err, SLUICE_INTERNAL, "%s: rows %lld and on of %s are not there",
                           importance->path, (long long)first, name);
    int64_t width = tensor->shape[1];
    SLUICE_TRY(sluice_file_read(importance->fd, importance->path,
                                tensor->offset + (uint64_t)(first * width) * sizeof *out, out,
                                (size_t)(count * width) * sizeof *out, err));
    int64_t unit = place == SLUICE_IMPORTANCE_EXPERT_IN      ? importance->hidden
                   : place == SLUICE_IMPORTANCE_EXPERT_INNER ? importance->width
                                                             : tensor->shape[0];
    for (int64_t row = 0; row < count; row++)
        for (int64_t col = 0; col < width; col++) {
            float value = out[row * width + col];
            bool square = col == (first + row) % unit % width;
            if (!isfinite(value) || (square && value < 0.0f))
                return sluice_fail(
                    err, SLUICE_CORRUPT, "%s: %s[%lld, %lld] is not a mean of squares or products",
                    importance->path, name, (long long)(first + row), (long long)col);
        }
    return SLUICE_OK;
}
