/* A folder of safetensors files: one model.safetensors, or shards and their index.
 *
 * Opening reads all headers, and checks that every shard which the index names is there and whole.
 * The files stay open until close. Reads are counted, so that "each byte is read once" can be
 * tested. */
#ifndef SLUICE_FORMAT_CHECKPOINT_H
#define SLUICE_FORMAT_CHECKPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "format/safetensors.h"

#define SLUICE_CHECKPOINT_SHARDS_MAX 4096

typedef struct sluice_shard {
    char *name, *path;
    int fd; /* -1: consumed by an interrupted conversion; only its header is known */
    uint64_t bytes;
    int64_t modified_ns;
    char *header; /* its JSON */
    size_t header_bytes;
    sluice_safetensors table;
} sluice_shard;

typedef struct sluice_checkpoint {
    char *dir;
    sluice_shard *shards;
    int32_t shard_count;
    atomic_ullong bytes_read; /* of data, headers not counted */
} sluice_checkpoint;

/* headers_dir, if not NULL, may hold headers (written by sluice_checkpoint_save_header) of shards
 * that are no longer in dir. */
sluice_status sluice_checkpoint_open(const char *dir, const char *headers_dir,
                                     sluice_checkpoint **out, sluice_error *err);
void sluice_checkpoint_close(sluice_checkpoint *checkpoint);

/* The same from these files of dir. */
sluice_status sluice_checkpoint_open_files(const char *dir, const char *const *names, size_t count,
                                           const char *headers_dir, sluice_checkpoint **out,
                                           sluice_error *err);

/* Thread-safe. */
sluice_status sluice_checkpoint_read(sluice_checkpoint *checkpoint, int32_t shard, uint64_t offset,
                                     void *buffer, size_t bytes, sluice_error *err);

/* Keeps all that is needed of a shard once it is deleted. */
sluice_status sluice_checkpoint_save_header(const sluice_checkpoint *checkpoint, int32_t shard,
                                            const char *headers_dir, sluice_error *err);

/* True if dir has a file that open would start from. */
bool sluice_checkpoint_is(const char *dir);

#endif
