/* Writing a safetensors file as a stream, all or nothing.
 *
 * The table of tensors is fixed at opening; the data is written in any order at offsets into the
 * data section, which begins at a multiple of 4096 (the header is padded with spaces, as the format
 * allows). Metadata may change until finish as long as no value changes its length, so that
 * checksums of the data can stand in the header. The file has the suffix ".tmp" until finish, which
 * syncs and renames it. The same input gives the same bytes. */
#ifndef SLUICE_FORMAT_SAFETENSORS_WRITER_H
#define SLUICE_FORMAT_SAFETENSORS_WRITER_H

#include "format/safetensors.h"

#define SLUICE_CONTAINER_ALIGN ((uint64_t)4096)

typedef struct sluice_safetensors_entry {
    const char *name;
    sluice_dtype dtype;
    int32_t dims;
    int64_t shape[2];
} sluice_safetensors_entry;

typedef struct sluice_safetensors_meta {
    const char *key, *value;
} sluice_safetensors_meta;

/* The eight bytes of the size, the JSON and the padding, to be freed; *bytes is a multiple of
 * SLUICE_CONTAINER_ALIGN. Tensors lie one after the other in the order given. */
sluice_status sluice_safetensors_header(const sluice_safetensors_entry *entries, size_t count,
                                        const sluice_safetensors_meta *meta, size_t meta_count,
                                        char **header, size_t *bytes, sluice_error *err);

typedef struct sluice_safetensors_writer sluice_safetensors_writer;

/* Creates "path.tmp" and takes the disk space of header_bytes + data_bytes at once where the file
 * system can. Writes nothing yet. */
sluice_status sluice_safetensors_writer_open(const char *path, size_t header_bytes,
                                             uint64_t data_bytes, sluice_safetensors_writer **out,
                                             sluice_error *err);

/* From now on puts whose offset, size and address are multiples of 4096 go past the page cache,
 * where the file system can: for large files that nobody reads soon. */
void sluice_safetensors_writer_direct(sluice_safetensors_writer *writer);

/* Thread-safe. */
sluice_status sluice_safetensors_writer_put(sluice_safetensors_writer *writer, uint64_t offset,
                                            const void *data, size_t bytes, sluice_error *err);

/* Writes the header (of the size that was announced), makes all durable under its name, and frees
 * the writer, also on failure. */
sluice_status sluice_safetensors_writer_finish(sluice_safetensors_writer *writer,
                                               const char *header, size_t bytes, sluice_error *err);

/* Removes the unfinished file and frees the writer; NULL is fine. */
void sluice_safetensors_writer_abandon(sluice_safetensors_writer *writer);

#endif
