/* A data set's file in memory: as it is, or inflated where it is gzip. */
#ifndef SLUICE_EVAL_DATA_FILE_H
#define SLUICE_EVAL_DATA_FILE_H

#include <stddef.h>

#include "base/status.h"

#define SLUICE_DATA_BYTES_MAX ((size_t)1 << 30)

/* The file's bytes (a gzip file's contents, by its first two bytes, whatever its name), followed by
 * a NUL that is not counted; freed with free(). SLUICE_BAD_INPUT: empty, or a gzip file that is
 * damaged or cut off. SLUICE_LIMIT: over 1 GiB. */
sluice_status sluice_data_load(const char *path, char **text, size_t *bytes, sluice_error *err);

/* What a gzip file holds; name stands for the file in errors. */
sluice_status sluice_data_inflate(const char *name, const char *packed, size_t packed_bytes,
                                  char **text, size_t *bytes, sluice_error *err);

#endif
