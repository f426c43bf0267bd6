/* Choosing the engine: by name, or by trying on a real file what works here. */
#include "io/io.h"

#include <string.h>

#include "io/file_table.h"

sluice_status sluice_io_open(const char *name, int depth, const char *probe_path, sluice_io **out,
                             sluice_error *err)
{
    if (!strcmp(name, "uring")) return sluice_io_uring_new(depth, out, err);
    if (!strcmp(name, "pread")) return sluice_io_pread_new(depth, true, out, err);
    if (!strcmp(name, "buffered")) return sluice_io_pread_new(depth, false, out, err);
    if (!strcmp(name, "mmap")) return sluice_io_mmap_new(depth, out, err);
    if (strcmp(name, "auto"))
        return sluice_fail(err, SLUICE_USAGE,
                           "I/O engine \"%s\": must be auto, uring, pread, buffered or mmap", name);

    sluice_file_table table = {0};
    int32_t file;
    sluice_status status = sluice_file_table_add(&table, probe_path, true, &file, err);
    bool direct = table.n_direct > 0;
    sluice_file_table_close(&table);
    if (status != SLUICE_OK) return status;
    if (!direct) return sluice_io_pread_new(depth, false, out, err);
    if (sluice_io_uring_new(depth, out, NULL) == SLUICE_OK) return SLUICE_OK;
    return sluice_io_pread_new(depth, true, out, err);
}
