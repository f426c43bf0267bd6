/* The safetensors format: a table of named tensors before their bytes.
 *
 * Source: the specification in the huggingface/safetensors repository: u64 little-endian header
 * size, a JSON object name -> {dtype, shape, data_offsets}, optional "__metadata__" of strings,
 * then the data, which the tensors cover completely and without overlap. A header is at most 100
 * MB.
 *
 * Everything that a header says is checked before anybody sees it: a table that was returned has
 * unique names, sizes that follow from shapes, and ranges inside the file. Reading only; writing is
 * safetensors_writer.h. */
#ifndef SLUICE_FORMAT_SAFETENSORS_H
#define SLUICE_FORMAT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_SAFETENSORS_HEADER_MAX ((uint64_t)100000000)
#define SLUICE_SAFETENSORS_DIMS_MAX 8

typedef enum sluice_dtype {
    SLUICE_DTYPE_F32,
    SLUICE_DTYPE_F16,
    SLUICE_DTYPE_BF16,
    SLUICE_DTYPE_U32,
    SLUICE_DTYPE_I32,
    SLUICE_DTYPE_U8,
    SLUICE_DTYPE_F8_E4M3,
    SLUICE_DTYPE_OTHER /* listed, never read; dtype_name says which */
} sluice_dtype;

typedef struct sluice_safetensor {
    const char *name; /* owned by the table */
    sluice_dtype dtype;
    char dtype_name[12]; /* as in the file, cut at its size */
    int32_t dims;
    int64_t shape[SLUICE_SAFETENSORS_DIMS_MAX];
    uint64_t offset, bytes; /* in the file */
} sluice_safetensor;

typedef struct sluice_safetensors {
    sluice_safetensor *tensors; /* in order of offset */
    size_t count;
    uint64_t data_offset, file_bytes;
    struct sluice_safetensors_pair {
        char *key, *value;
    } * metadata; /* in order of key */
    size_t metadata_count;
    char *names;
} sluice_safetensors;

/* Bytes of one element, 0 for SLUICE_DTYPE_OTHER. */
size_t sluice_dtype_bytes(sluice_dtype dtype);
const char *sluice_dtype_name(sluice_dtype dtype);

/* Parses a header that is already in memory: json is header_bytes long and stands at byte 8 of a
 * file of file_bytes. name is used in messages. */
sluice_status sluice_safetensors_parse(const char *json, size_t header_bytes, uint64_t file_bytes,
                                       const char *name, sluice_safetensors *table,
                                       sluice_error *err);

/* Reads the header from an open file. If json is not NULL it receives the header's text (to be
 * freed) and header_bytes its length. */
sluice_status sluice_safetensors_read(int fd, const char *path, uint64_t file_bytes,
                                      sluice_safetensors *table, char **json, size_t *header_bytes,
                                      sluice_error *err);
void sluice_safetensors_free(sluice_safetensors *table);

/* NULL if there is no such key. */
const char *sluice_safetensors_metadata(const sluice_safetensors *table, const char *key);
/* NULL if there is no such tensor; linear. */
const sluice_safetensor *sluice_safetensors_find(const sluice_safetensors *table, const char *name);

#endif
