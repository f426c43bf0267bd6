/* The open files of a reader. Files are added while nothing is in flight; the table then stays as
 * it is until the reader is freed. */
#ifndef SLUICE_IO_FILE_TABLE_H
#define SLUICE_IO_FILE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sluice_file_table {
    int *fds;
    uint64_t *bytes;
    int32_t n, capacity;
    int32_t n_direct; /* of them opened past the page cache */
} sluice_file_table;

/* Opens path; with direct, past the page cache where a real aligned read works so, else buffered.
 * Returns its index in *file. */
sluice_status sluice_file_table_add(sluice_file_table *table, const char *path, bool direct,
                                    int32_t *file, sluice_error *err);
void sluice_file_table_close(sluice_file_table *table);

#endif
