/* See safetensors.h. */
#include "format/safetensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "os/file.h"

/* Every dtype whose size is known; those after F8_E4M3 are only listed. */
static const struct dtype_row {
    const char *name;
    sluice_dtype dtype;
    uint32_t bytes;
} dtypes[] = {
    {"F32", SLUICE_DTYPE_F32, 4},         {"F16", SLUICE_DTYPE_F16, 2},
    {"BF16", SLUICE_DTYPE_BF16, 2},       {"U32", SLUICE_DTYPE_U32, 4},
    {"I32", SLUICE_DTYPE_I32, 4},         {"U8", SLUICE_DTYPE_U8, 1},
    {"F8_E4M3", SLUICE_DTYPE_F8_E4M3, 1}, {"F64", SLUICE_DTYPE_OTHER, 8},
    {"I64", SLUICE_DTYPE_OTHER, 8},       {"U64", SLUICE_DTYPE_OTHER, 8},
    {"I16", SLUICE_DTYPE_OTHER, 2},       {"U16", SLUICE_DTYPE_OTHER, 2},
    {"I8", SLUICE_DTYPE_OTHER, 1},        {"BOOL", SLUICE_DTYPE_OTHER, 1},
    {"F8_E5M2", SLUICE_DTYPE_OTHER, 1},   {"F8_E8M0", SLUICE_DTYPE_OTHER, 1},
};

static const struct dtype_row *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

size_t sluice_dtype_bytes(sluice_dtype dtype)
{
    return dtype < SLUICE_DTYPE_OTHER ? dtypes[dtype].bytes : 0;
}

const char *sluice_dtype_name(sluice_dtype dtype)
{
    return dtype < SLUICE_DTYPE_OTHER ? dtypes[dtype].name : "?";
}

static sluice_status read_shape(const json_t *shape, const char *file, sluice_safetensor *tensor,
                                uint64_t *elements, sluice_error *err)
{
    if (!json_is_array(shape))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s has no \"shape\"", file,
                           tensor->name);
    size_t dims = json_array_size(shape);
    if (dims > SLUICE_SAFETENSORS_DIMS_MAX)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s has %zu dimensions, more than %d",
                           file, tensor->name, dims, SLUICE_SAFETENSORS_DIMS_MAX);
    uint64_t product = 1;
    for (size_t i = 0; i < dims; i++) {
        const json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: tensor %s: dimension %zu of its shape is not a size", file,
                               tensor->name, i);
        tensor->shape[i] = json_integer_value(size);
        if (__builtin_mul_overflow(product, (uint64_t)tensor->shape[i], &product))
            return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s: its shape overflows 64 bits",
                               file, tensor->name);
    }
    tensor->dims = (int32_t)dims;
    *elements = product;
    return SLUICE_OK;
}

static sluice_status read_range(const json_t *range, const char *file, uint64_t data_bytes,
                                sluice_safetensor *tensor, sluice_error *err)
{
    const json_t *first = json_array_get(range, 0), *second = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor %s has no \"data_offsets\" of two whole numbers", file,
                           tensor->name);
    int64_t begin = json_integer_value(first), end = json_integer_value(second);
    if (begin < 0 || end < begin)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor %s: its offsets %lld..%lld are no range", file, tensor->name,
                           (long long)begin, (long long)end);
    if ((uint64_t)end > data_bytes)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: truncated: tensor %s ends at byte %lld of the data, which has %llu",
                           file, tensor->name, (long long)end, (unsigned long long)data_bytes);
    tensor->offset = (uint64_t)begin;
    tensor->bytes = (uint64_t)(end - begin);
    return SLUICE_OK;
}

/* offset is left relative to the data. */
static sluice_status read_tensor(const json_t *entry, const char *file, uint64_t data_bytes,
                                 sluice_safetensor *tensor, sluice_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s has no \"dtype\"", file,
                           tensor->name);
    const struct dtype_row *row = find_dtype(dtype);
    tensor->dtype = row ? row->dtype : SLUICE_DTYPE_OTHER;
    size_t length = strnlen(dtype, sizeof tensor->dtype_name - 1);
    memcpy(tensor->dtype_name, dtype, length);

    uint64_t elements = 0, bytes = 0;
    SLUICE_TRY(read_shape(json_object_get(entry, "shape"), file, tensor, &elements, err));
    SLUICE_TRY(read_range(json_object_get(entry, "data_offsets"), file, data_bytes, tensor, err));
    if (row &&
        (__builtin_mul_overflow(elements, (uint64_t)row->bytes, &bytes) || bytes != tensor->bytes))
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: tensor %s: its shape says %llu elements of %s, its offsets %llu "
                           "bytes",
                           file, tensor->name, (unsigned long long)elements, dtype,
                           (unsigned long long)tensor->bytes);
    return SLUICE_OK;
}

static int by_offset(const void *left, const void *right)
{
    const sluice_safetensor *a = left, *b = right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* The tensors, in order, must cover the data exactly. */
static sluice_status check_cover(const sluice_safetensors *table, const char *file,
                                 sluice_error *err)
{
    uint64_t at = 0, data_bytes = table->file_bytes - table->data_offset;
    for (size_t i = 0; i < table->count; i++) {
        const sluice_safetensor *tensor = &table->tensors[i];
        if (tensor->offset < at)
            return sluice_fail(err, SLUICE_CORRUPT, "%s: tensors %s and %s overlap", file,
                               table->tensors[i ? i - 1 : 0].name, tensor->name);
        if (tensor->offset > at)
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: bytes %llu..%llu of the data, before tensor %s, belong to none",
                               file, (unsigned long long)at, (unsigned long long)tensor->offset,
                               tensor->name);
        at += tensor->bytes;
    }
    if (at != data_bytes)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: the last %llu bytes belong to no tensor (is the file damaged?)",
                           file, (unsigned long long)(data_bytes - at));
    return SLUICE_OK;
}

static int by_key(const void *left, const void *right)
{
    const struct sluice_safetensors_pair *a = left, *b = right;
    return strcmp(a->key, b->key);
}

static sluice_status read_metadata(const json_t *metadata, const char *file,
                                   sluice_safetensors *table, sluice_error *err)
{
    if (!json_is_object(metadata))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"__metadata__\" is not an object", file);
    table->metadata = calloc(json_object_size(metadata) + 1, sizeof *table->metadata);
    if (!table->metadata)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its metadata", file);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return sluice_fail(err, SLUICE_CORRUPT, "%s: \"__metadata__\".\"%s\" is not a string",
                               file, key);
        struct sluice_safetensors_pair *pair = &table->metadata[table->metadata_count++];
        pair->key = strdup(key);
        pair->value = strdup(json_string_value(value));
        if (!pair->key || !pair->value)
            return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its metadata", file);
    }
    qsort(table->metadata, table->metadata_count, sizeof *table->metadata, by_key);
    return SLUICE_OK;
}

static sluice_status read_table(json_t *root, const char *file, sluice_safetensors *table,
                                sluice_error *err)
{
    const char *key;
    json_t *entry;
    size_t names_bytes = 1;
    json_object_foreach(root, key, entry) names_bytes += strlen(key) + 1;
    table->names = malloc(names_bytes);
    table->tensors = calloc(json_object_size(root) + 1, sizeof *table->tensors);
    if (!table->names || !table->tensors)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its header", file);

    char *name = table->names;
    uint64_t data_bytes = table->file_bytes - table->data_offset;
    json_object_foreach(root, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            SLUICE_TRY(read_metadata(entry, file, table, err));
            continue;
        }
        size_t length = strlen(key) + 1;
        sluice_safetensor *tensor = &table->tensors[table->count++];
        tensor->name = memcpy(name, key, length);
        name += length;
        SLUICE_TRY(read_tensor(entry, file, data_bytes, tensor, err));
    }
    qsort(table->tensors, table->count, sizeof *table->tensors, by_offset);
    SLUICE_TRY(check_cover(table, file, err));
    for (size_t i = 0; i < table->count; i++)
        table->tensors[i].offset += table->data_offset;
    return SLUICE_OK;
}

sluice_status sluice_safetensors_parse(const char *json, size_t header_bytes, uint64_t file_bytes,
                                       const char *name, sluice_safetensors *table,
                                       sluice_error *err)
{
    if (file_bytes < 8 || header_bytes > file_bytes - 8)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: truncated: the header goes past its end",
                           name);
    json_t *root = NULL;
    SLUICE_TRY(sluice_jansson_parse(json, header_bytes, name, &root, err));
    sluice_safetensors read = {.data_offset = 8 + (uint64_t)header_bytes, .file_bytes = file_bytes};
    sluice_status status = read_table(root, name, &read, err);
    json_decref(root);
    if (status == SLUICE_OK)
        *table = read;
    else
        sluice_safetensors_free(&read);
    return status;
}

sluice_status sluice_safetensors_read(int fd, const char *path, uint64_t file_bytes,
                                      sluice_safetensors *table, char **json, size_t *header_bytes,
                                      sluice_error *err)
{
    unsigned char prefix[8];
    if (file_bytes < sizeof prefix)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: truncated: %llu bytes are no safetensors file",
                           path, (unsigned long long)file_bytes);
    SLUICE_TRY(sluice_file_read(fd, path, 0, prefix, sizeof prefix, err));
    uint64_t bytes = 0;
    for (int i = 7; i >= 0; i--)
        bytes = bytes << 8 | prefix[i];
    if (bytes > SLUICE_SAFETENSORS_HEADER_MAX)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: a header of %llu bytes is more than the 100 MB that the format "
                           "allows (is this a safetensors file?)",
                           path, (unsigned long long)bytes);
    if (bytes > file_bytes - sizeof prefix)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: truncated: its header of %llu bytes goes past its end (%llu bytes)",
                           path, (unsigned long long)bytes, (unsigned long long)file_bytes);
    char *text = malloc((size_t)bytes + 1);
    if (!text)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its header of %llu bytes",
                           path, (unsigned long long)bytes);
    sluice_status status = sluice_file_read(fd, path, sizeof prefix, text, (size_t)bytes, err);
    if (status == SLUICE_OK)
        status = sluice_safetensors_parse(text, (size_t)bytes, file_bytes, path, table, err);
    if (status == SLUICE_OK && json) {
        text[bytes] = '\0';
        *json = text;
        *header_bytes = (size_t)bytes;
    } else {
        free(text);
    }
    return status;
}

void sluice_safetensors_free(sluice_safetensors *table)
{
    for (size_t i = 0; i < table->metadata_count; i++) {
        free(table->metadata[i].key);
        free(table->metadata[i].value);
    }
    free(table->metadata);
    free(table->tensors);
    free(table->names);
    *table = (sluice_safetensors){0};
}

const char *sluice_safetensors_metadata(const sluice_safetensors *table, const char *key)
{
    for (size_t i = 0; i < table->metadata_count; i++)
        if (strcmp(table->metadata[i].key, key) == 0) return table->metadata[i].value;
    return NULL;
}

const sluice_safetensor *sluice_safetensors_find(const sluice_safetensors *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->tensors[i].name, name) == 0) return &table->tensors[i];
    return NULL;
}
