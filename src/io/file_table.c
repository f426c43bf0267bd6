/* Opening files for readers: direct where the filesystem really can, else buffered without fuss. */
#include "io/file_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/io.h"
#include "os/file.h"

/* Some filesystems take the flag and refuse the reads; a file shorter than the read is fine. */
static bool direct_read_works(int fd)
{
    void *buffer = aligned_alloc(SLUICE_IO_ALIGN, SLUICE_IO_ALIGN);
    if (!buffer) return false;
    ssize_t got;
    do
        got = pread(fd, buffer, SLUICE_IO_ALIGN, 0);
    while (got < 0 && errno == EINTR);
    int error = errno;
    free(buffer);
    return got >= 0 || error == EIO; /* a bad disk is reported by the reads, not worked around */
}

static sluice_status open_file(const char *path, bool *direct, int *fd, uint64_t *bytes,
                               sluice_error *err)
{
    if (*direct && sluice_file_open_direct(path, fd, bytes, NULL) == SLUICE_OK) {
        if (direct_read_works(*fd)) return SLUICE_OK;
        sluice_file_close(*fd);
    }
    *direct = false;
    return sluice_file_open(path, fd, bytes, err);
}

static bool grow(sluice_file_table *table)
{
    int32_t capacity = table->capacity ? 2 * table->capacity : 64;
    int *fds = realloc(table->fds, (size_t)capacity * sizeof *fds);
    if (fds) table->fds = fds;
    uint64_t *bytes = realloc(table->bytes, (size_t)capacity * sizeof *bytes);
    if (bytes) table->bytes = bytes;
    if (!fds || !bytes) return false;
    table->capacity = capacity;
    return true;
}

sluice_status sluice_file_table_add(sluice_file_table *table, const char *path, bool direct,
                                    int32_t *file, sluice_error *err)
{
    if (table->n == table->capacity && !grow(table))
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to open one more file", path);
    SLUICE_TRY(open_file(path, &direct, &table->fds[table->n], &table->bytes[table->n], err));
    table->n_direct += direct;
    *file = table->n++;
    return SLUICE_OK;
}

void sluice_file_table_close(sluice_file_table *table)
{
    for (int32_t i = 0; i < table->n; i++)
        sluice_file_close(table->fds[i]);
    free(table->fds);
    free(table->bytes);
    *table = (sluice_file_table){0};
}
