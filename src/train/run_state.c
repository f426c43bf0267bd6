/* A run's state on disk (see run_state.h). */
#include "train/run_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "format/safetensors_writer.h"
#include "os/file.h"

#define KEY_INTS 4

/* What the metadata say of a run. */
typedef struct described {
    char step[16], taken[24], crc[16];
    const char *settings;
} described;

/* Values and both moments are summed in the order of the file: a damaged file is not gone on from.
 */
typedef struct state_writer {
    sluice_safetensors_writer *file;
    uint64_t at;
    uint32_t crc;
} state_writer;

static sluice_status put(state_writer *out, const void *data, size_t bytes, sluice_error *err)
{
    SLUICE_TRY(sluice_safetensors_writer_put(out->file, out->at, data, bytes, err));
    out->at += bytes;
    return SLUICE_OK;
}

static sluice_status put_floats(void *context, float *floats, size_t count, sluice_error *err)
{
    state_writer *out = context;
    out->crc = sluice_crc32c(out->crc, floats, count * sizeof *floats);
    return put(out, floats, count * sizeof *floats, err);
}

static sluice_status write_all(state_writer *out, const sluice_adamw *adamw, const int32_t *keys,
                               const float *scales, sluice_error *err)
{
    const sluice_adapter *adapter = adamw->adapter;
    const size_t n = (size_t)adapter->n_entries;
    SLUICE_TRY(put(out, keys, n * KEY_INTS * sizeof *keys, err));
    SLUICE_TRY(put(out, scales, n * sizeof *scales, err));
    SLUICE_TRY(put_floats(out, adapter->values, adapter->count, err));
    return sluice_adamw_moments(adamw, false, put_floats, out, err);
}

static sluice_status header_of(const sluice_adapter *adapter, const described *run, char **header,
                               size_t *bytes, sluice_error *err)
{
    const int64_t n = adapter->n_entries, count = (int64_t)adapter->count;
    const sluice_safetensors_entry entries[] = {{"keys", SLUICE_DTYPE_I32, 2, {n, KEY_INTS}},
                                                {"scales", SLUICE_DTYPE_F32, 1, {n, 0}},
                                                {"values", SLUICE_DTYPE_F32, 1, {count, 0}},
                                                {"m", SLUICE_DTYPE_F32, 1, {count, 0}},
                                                {"v", SLUICE_DTYPE_F32, 1, {count, 0}}};
    const sluice_safetensors_meta meta[] = {{"crc32c", run->crc},
                                            {"settings", run->settings},
                                            {"step", run->step},
                                            {"taken", run->taken}};
    free(*header);
    *header = NULL;
    return sluice_safetensors_header(entries, 5, meta, 4, header, bytes, err);
}

/* The checksum is known when all is written, its length before. */
static sluice_status save(const char *path, const sluice_adamw *adamw, const int32_t *keys,
                          const float *scales, described *run, sluice_error *err)
{
    const sluice_adapter *adapter = adamw->adapter;
    state_writer out = {0};
    char *header = NULL;
    size_t bytes = 0;
    SLUICE_TRY(header_of(adapter, run, &header, &bytes, err));
    const uint64_t data =
        (uint64_t)adapter->n_entries * (KEY_INTS + 1) * sizeof(int32_t) + 3 * adapter->bytes;
    sluice_status status = sluice_safetensors_writer_open(path, bytes, data, &out.file, err);
    if (status == SLUICE_OK) {
        status = write_all(&out, adamw, keys, scales, err);
        snprintf(run->crc, sizeof run->crc, "%08x", out.crc);
        if (status == SLUICE_OK) status = header_of(adapter, run, &header, &bytes, err);
        if (status == SLUICE_OK)
            status = sluice_safetensors_writer_finish(out.file, header, bytes, err);
        else
            sluice_safetensors_writer_abandon(out.file);
    }
    free(header);
    return status;
}

sluice_status sluice_run_state_save(const char *path, const sluice_adamw *adamw,
                                    const sluice_run_position *state, const char *settings,
                                    sluice_error *err)
{
    const sluice_adapter *adapter = adamw->adapter;
    const size_t n = (size_t)adapter->n_entries;
    described run = {.crc = "00000000", .settings = settings};
    int32_t *keys = calloc(n, KEY_INTS * sizeof *keys);
    float *scales = calloc(n, sizeof *scales);
    sluice_status status = SLUICE_OK;
    if (!keys || !scales) status = sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", path);
    for (size_t i = 0; status == SLUICE_OK && i < n; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        const int32_t four[] = {key->layer, (int32_t)key->module, key->expert, key->rank};
        memcpy(keys + i * KEY_INTS, four, sizeof four);
        scales[i] = key->scale;
    }
    snprintf(run.step, sizeof run.step, "%d", state->step);
    snprintf(run.taken, sizeof run.taken, "%lld", (long long)state->taken);
    if (status == SLUICE_OK) status = save(path, adamw, keys, scales, &run, err);
    free(keys);
    free(scales);
    return status;
}

typedef struct state_file {
    const char *path;
    int fd;
    sluice_safetensors table;
} state_file;

static void close_file(state_file *file)
{
    sluice_safetensors_free(&file->table);
    if (file->fd >= 0) sluice_file_close(file->fd);
}

static sluice_status open_file(const char *path, state_file *file, sluice_error *err)
{
    uint64_t bytes;
    *file = (state_file){.path = path, .fd = -1};
    SLUICE_TRY(sluice_file_open(path, &file->fd, &bytes, err));
    const sluice_status status =
        sluice_safetensors_read(file->fd, path, bytes, &file->table, NULL, NULL, err);
    if (status != SLUICE_OK) close_file(file);
    return status;
}

static sluice_status find_tensor(const state_file *file, const char *name, sluice_dtype dtype,
                                 uint64_t elements, const sluice_safetensor **tensor,
                                 sluice_error *err)
{
    *tensor = sluice_safetensors_find(&file->table, name);
    if (!*tensor || (*tensor)->dtype != dtype || (*tensor)->bytes != elements * 4)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: %s is missing or has another size", file->path,
                           name);
    return SLUICE_OK;
}

static sluice_status read_tensor(const state_file *file, const char *name, sluice_dtype dtype,
                                 uint64_t elements, void *to, sluice_error *err)
{
    const sluice_safetensor *tensor;
    SLUICE_TRY(find_tensor(file, name, dtype, elements, &tensor, err));
    return sluice_file_read(file->fd, file->path, tensor->offset, to, (size_t)tensor->bytes, err);
}

static sluice_status read_number(const state_file *file, const char *key, int64_t most,
                                 int64_t *value, sluice_error *err)
{
    const char *text = sluice_safetensors_metadata(&file->table, key);
    char *end = NULL;
    *value = text ? strtoll(text, &end, 10) : -1;
    if (!text || *end || *value < 0 || *value > most)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: %s is missing or no number", file->path, key);
    return SLUICE_OK;
}

static sluice_status read_keys(const state_file *file, sluice_adapter_key **keys, int32_t *n,
                               sluice_error *err)
{
    const sluice_safetensor *tensor = sluice_safetensors_find(&file->table, "keys");
    if (!tensor || tensor->dims != 2 || tensor->shape[1] != KEY_INTS || tensor->shape[0] < 1 ||
        tensor->shape[0] > INT32_MAX / KEY_INTS)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: keys are missing", file->path);
    const size_t count = (size_t)tensor->shape[0];
    int32_t *ints = calloc(count, KEY_INTS * sizeof *ints);
    float *scales = calloc(count, sizeof *scales);
    *keys = calloc(count, sizeof **keys);
    sluice_status status = SLUICE_OK;
    if (!ints || !scales || !*keys)
        status = sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", file->path);
    if (status == SLUICE_OK)
        status = read_tensor(file, "keys", SLUICE_DTYPE_I32, count * KEY_INTS, ints, err);
    if (status == SLUICE_OK)
        status = read_tensor(file, "scales", SLUICE_DTYPE_F32, count, scales, err);
    for (size_t i = 0; status == SLUICE_OK && i < count; i++) {
        const int32_t *four = ints + i * KEY_INTS;
        (*keys)[i] = (sluice_adapter_key){four[0], (sluice_adapter_module)four[1], four[2], four[3],
                                          scales[i]};
    }
    free(ints);
    free(scales);
    if (status != SLUICE_OK) free(*keys);
    *n = (int32_t)count;
    return status;
}

/* Names the first of the settings, "one, two, ...", that are not the same. */
static sluice_status other_settings(const char *path, const char *made, const char *settings,
                                    sluice_error *err)
{
    size_t same = 0;
    for (size_t i = 0; made[i] && made[i] == settings[i]; i++)
        if (made[i] == ' ' && i && made[i - 1] == ',') same = i + 1;
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: the run there had other settings: %.*s, not %.*s; give it the same, or "
                       "begin anew without --resume",
                       path, (int)strcspn(made + same, ","), made + same,
                       (int)strcspn(settings + same, ","), settings + same);
}

sluice_status sluice_run_state_open(const char *path, const char *settings,
                                    sluice_run_position *state, sluice_adapter_key **keys,
                                    int32_t *n, sluice_error *err)
{
    state_file file;
    int64_t step;
    SLUICE_TRY(open_file(path, &file, err));
    const char *made = sluice_safetensors_metadata(&file.table, "settings");
    sluice_status status = SLUICE_OK;
    if (!made)
        status = sluice_fail(err, SLUICE_CORRUPT, "%s: settings are missing", path);
    else if (strcmp(made, settings) != 0)
        status = other_settings(path, made, settings, err);
    if (status == SLUICE_OK) status = read_number(&file, "step", INT32_MAX, &step, err);
    if (status == SLUICE_OK) status = read_number(&file, "taken", INT64_MAX, &state->taken, err);
    if (status == SLUICE_OK) status = read_keys(&file, keys, n, err);
    if (status == SLUICE_OK) state->step = (int32_t)step;
    close_file(&file);
    return status;
}

/* Floats from places one after the other, and their sum. */
typedef struct state_reader {
    const state_file *file;
    uint64_t at;
    uint32_t crc;
} state_reader;

static sluice_status take_floats(void *context, float *floats, size_t count, sluice_error *err)
{
    state_reader *in = context;
    const size_t bytes = count * sizeof *floats;
    SLUICE_TRY(sluice_file_read(in->file->fd, in->file->path, in->at, floats, bytes, err));
    in->at += bytes;
    in->crc = sluice_crc32c(in->crc, floats, bytes);
    return SLUICE_OK;
}

/* v is behind m in the file as in its table. */
static sluice_status take_all(state_reader *in, sluice_adamw *adamw, sluice_error *err)
{
    sluice_adapter *adapter = adamw->adapter;
    const sluice_safetensor *values, *m, *v;
    SLUICE_TRY(find_tensor(in->file, "values", SLUICE_DTYPE_F32, adapter->count, &values, err));
    SLUICE_TRY(find_tensor(in->file, "m", SLUICE_DTYPE_F32, adapter->count, &m, err));
    SLUICE_TRY(find_tensor(in->file, "v", SLUICE_DTYPE_F32, adapter->count, &v, err));
    if (v->offset != m->offset + m->bytes)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: v does not follow m", in->file->path);
    in->at = values->offset;
    SLUICE_TRY(take_floats(in, adapter->values, adapter->count, err));
    in->at = m->offset;
    return sluice_adamw_moments(adamw, true, take_floats, in, err);
}

sluice_status sluice_run_state_fill(const char *path, sluice_adamw *adamw, sluice_error *err)
{
    state_file file;
    SLUICE_TRY(open_file(path, &file, err));
    state_reader in = {.file = &file};
    sluice_status status = take_all(&in, adamw, err);
    char crc[16];
    snprintf(crc, sizeof crc, "%08x", in.crc);
    const char *made = sluice_safetensors_metadata(&file.table, "crc32c");
    if (status == SLUICE_OK && (!made || strcmp(made, crc) != 0))
        status = sluice_fail(err, SLUICE_CORRUPT, "%s: its checksum is %s, its bytes give %s", path,
                             made ? made : "missing", crc);
    close_file(&file);
    return status;
}
