/* The metadata of trunk.safetensors; see container_meta.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/container_meta.h"
#include "format/json.h"
#include "format/safetensors_writer.h"

uint64_t sluice_trunk_file_bytes(const sluice_trunk_tensor *tensor)
{
    uint64_t mask = tensor->packed ? SLUICE_CONTAINER_ALIGN - 1 : 0;
    return (tensor->bytes + mask) & ~mask;
}

sluice_dtype sluice_plain_dtype(sluice_weight_format format)
{
    if (format.kind == SLUICE_WEIGHT_F32) return SLUICE_DTYPE_F32;
    return format.kind == SLUICE_WEIGHT_F16 ? SLUICE_DTYPE_F16 : SLUICE_DTYPE_BF16;
}

static int by_name(const void *left, const void *right)
{
    const sluice_safetensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static bool shape_fits(const sluice_safetensor *stored, const sluice_trunk_tensor *tensor)
{
    if (tensor->packed)
        return stored->dtype == SLUICE_DTYPE_U8 && stored->dims == 1 &&
               stored->bytes == sluice_trunk_file_bytes(tensor) &&
               stored->offset % SLUICE_CONTAINER_ALIGN == 0;
    return stored->dtype == sluice_plain_dtype(tensor->format) && stored->bytes == tensor->bytes;
}

/* One tensor: what the metadata says of it, what the table holds, and what the config expects. */
static sluice_status read_tensor(const json_t *entry, const sluice_safetensor *stored,
                                 const sluice_catalog_entry *expected, const char *file,
                                 sluice_trunk_tensor *tensor, uint32_t *crc32c, sluice_error *err)
{
    const char *format = NULL, *checksum = NULL;
    int64_t rows = 0, cols = 0;
    char where[192];
    snprintf(where, sizeof where, "%.100s: tensor %s", file, expected->name);
    SLUICE_TRY(sluice_jansson_string(entry, "format", where, &format, err));
    SLUICE_TRY(sluice_jansson_string(entry, "crc32c", where, &checksum, err));
    SLUICE_TRY(
        sluice_jansson_int(entry, "rows", where, 1, INT32_MAX, SLUICE_JSON_REQUIRED, &rows, err));
    SLUICE_TRY(
        sluice_jansson_int(entry, "cols", where, 1, INT32_MAX, SLUICE_JSON_REQUIRED, &cols, err));
    if (rows != expected->rows || cols != expected->cols)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s is [%" PRId64 ", %" PRId64 "], config.json makes it [%d, %d]", where,
                           rows, cols, expected->rows, expected->cols);
    *tensor = (sluice_trunk_tensor){.name = expected->name,
                                    .packed = expected->kind == SLUICE_CATALOG_MATRIX,
                                    .rows = expected->rows,
                                    .cols = expected->cols,
                                    .offset = stored->offset};
    SLUICE_TRY(sluice_weight_format_parse(format, &tensor->format, err));
    if (tensor->packed) {
        SLUICE_TRY(sluice_weight_check(tensor->format, rows, cols, where, err));
        tensor->bytes = sluice_weight_bytes(tensor->format, tensor->rows, tensor->cols);
    } else if (tensor->format.kind == SLUICE_WEIGHT_AFFINE) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: a vector cannot be quantised", where);
    } else {
        tensor->bytes = (uint64_t)rows * (uint64_t)cols * (tensor->format.bits / 8u);
    }
    if (!shape_fits(stored, tensor))
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: its %llu bytes of %s at offset %llu do not fit format %s", where,
                           (unsigned long long)stored->bytes, stored->dtype_name,
                           (unsigned long long)stored->offset, format);
    int end = 0;
    if (sscanf(checksum, "%8" SCNx32 "%n", crc32c, &end) != 1 || end != 8 || checksum[8])
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"crc32c\" is not eight hexadecimal digits",
                           where);
    return SLUICE_OK;
}

static sluice_status read_tensors(const sluice_safetensors *table, const char *file,
                                  const sluice_config *config, sluice_trunk_meta *meta,
                                  const json_t *list, sluice_error *err)
{
    SLUICE_TRY(sluice_catalog_new(config, &meta->catalog, &meta->count, err));
    size_t count = (size_t)meta->count;
    const sluice_safetensor **sorted = calloc(table->count + 1, sizeof *sorted);
    meta->tensors = calloc(count, sizeof *meta->tensors);
    meta->crc32c = calloc(count, sizeof *meta->crc32c);
    if (!sorted || !meta->tensors || !meta->crc32c) {
        free(sorted);
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tensors", file);
    }
    for (size_t i = 0; i < table->count; i++)
        sorted[i] = &table->tensors[i];
    qsort(sorted, table->count, sizeof *sorted, by_name);

    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < count && status == SLUICE_OK; i++) {
        const sluice_safetensor key = {.name = meta->catalog[i].name}, *wanted = &key;
        const sluice_safetensor *const *found =
            bsearch(&wanted, sorted, table->count, sizeof *sorted, by_name);
        const json_t *entry = json_object_get(list, key.name);
        if (!found || !entry)
            status = sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is missing", file, key.name);
        else
            status = read_tensor(entry, *found, &meta->catalog[i], file, &meta->tensors[i],
                                 &meta->crc32c[i], err);
    }
    if (status == SLUICE_OK && table->count != count)
        status = sluice_fail(err, SLUICE_CORRUPT, "%s: %zu tensors, but config.json makes it %zu",
                             file, table->count, count);
    free(sorted);
    return status;
}

static sluice_status read_head(const sluice_safetensors *table, const char *file,
                               sluice_config *config, sluice_trunk_meta *meta, sluice_error *err)
{
    const char *format = sluice_safetensors_metadata(table, "format");
    const char *version = sluice_safetensors_metadata(table, "format_version");
    if (!format || strcmp(format, "sluice") != 0 || !version)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: not the trunk of a sluice container", file);
    if (strcmp(version, SLUICE_CONTAINER_VERSION) != 0)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: container format version %.20s; this sluice reads version "
                           "%s: convert again",
                           file, version, SLUICE_CONTAINER_VERSION);
    const char *add = sluice_safetensors_metadata(table, "norm_add_one");
    const char *mtp = sluice_safetensors_metadata(table, "mtp_layers");
    if (!add || (strcmp(add, "true") != 0 && strcmp(add, "false") != 0))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"norm_add_one\" is neither true nor false",
                           file);
    if (!mtp || mtp[0] < '0' || mtp[0] > '0' + SLUICE_MTP_LAYERS_MAX || mtp[1])
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"mtp_layers\" is not a number up to %d", file,
                           SLUICE_MTP_LAYERS_MAX);
    meta->norm_add_one = strcmp(add, "true") == 0;
    meta->mtp_layers = mtp[0] - '0';
    config->mtp_layers = meta->mtp_layers;
    const char *layout = sluice_safetensors_metadata(table, "source_layout");
    const char *fingerprint = sluice_safetensors_metadata(table, "fingerprint");
    snprintf(meta->layout, sizeof meta->layout, "%s", layout ? layout : "");
    snprintf(meta->fingerprint, sizeof meta->fingerprint, "%s", fingerprint ? fingerprint : "");
    return SLUICE_OK;
}

sluice_status sluice_trunk_meta_parse(const sluice_safetensors *table, const char *file,
                                      sluice_config *config, sluice_trunk_meta *meta,
                                      sluice_error *err)
{
    sluice_trunk_meta read = {0};
    SLUICE_TRY(read_head(table, file, config, &read, err));
    const char *text = sluice_safetensors_metadata(table, "tensors");
    if (!text) return sluice_fail(err, SLUICE_CORRUPT, "%s: \"tensors\" is missing", file);
    json_t *list = NULL;
    SLUICE_TRY(sluice_jansson_parse(text, strlen(text), file, &list, err));
    sluice_status status = read_tensors(table, file, config, &read, list, err);
    json_decref(list);
    if (status == SLUICE_OK)
        *meta = read;
    else
        sluice_trunk_meta_free(&read);
    return status;
}

void sluice_trunk_meta_free(sluice_trunk_meta *meta)
{
    free(meta->catalog);
    free(meta->tensors);
    free(meta->crc32c);
    *meta = (sluice_trunk_meta){0};
}

sluice_status sluice_trunk_meta_print(const sluice_trunk_tensor *tensors, const uint32_t *crc32c,
                                      int32_t count, char **text, sluice_error *err)
{
    size_t length = 0;
    FILE *out = open_memstream(text, &length);
    if (!out) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the trunk's metadata");
    for (int32_t i = 0; i < count; i++) {
        char format[24];
        sluice_weight_format_name(tensors[i].format, format);
        /* Names are canonical and need no escapes. */
        fprintf(out, "%s\"%s\":{\"format\":\"%s\",\"rows\":%d,\"cols\":%d,\"crc32c\":\"%08x\"}",
                i ? "," : "{", tensors[i].name, format, tensors[i].rows, tensors[i].cols,
                (unsigned)crc32c[i]);
    }
    fputc('}', out);
    bool good = !ferror(out);
    if (fclose(out) != 0 || !good) {
        free(*text);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the trunk's metadata");
    }
    return SLUICE_OK;
}
