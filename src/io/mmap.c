/* Reads by copying from a memory mapping: there to be compared with, as most engines read this way.
 *
 * The copy happens in wait, on the caller's thread, so nothing overlaps. Pages are first brought in
 * by MADV_POPULATE_READ (Linux 5.14), which reports a bad disk or a truncated file as an errno
 * where touching the page would be a SIGBUS. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "io/file_table.h"
#include "io/io.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

typedef struct mapping {
    char *base;
    uint64_t bytes;
} mapping;

typedef struct mmap_io {
    sluice_io io;
    sluice_file_table files;
    mapping *mappings; /* [files.n] */
    sluice_io_read *queue;
    int first, n; /* ring of capacity entries */
} mmap_io;

static sluice_status mmap_add_file(sluice_io *io, const char *path, int32_t *file,
                                   sluice_error *err)
{
    mmap_io *self = (mmap_io *)io;
    mapping *mappings = realloc(self->mappings, ((size_t)self->files.n + 1) * sizeof *mappings);
    if (!mappings) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to map it", path);
    self->mappings = mappings;
    int32_t added;
    SLUICE_TRY(sluice_file_table_add(&self->files, path, false, &added, err));
    mapping *map = &mappings[added];
    *map = (mapping){.bytes = self->files.bytes[added]};
    if (map->bytes) {
        map->base = mmap(NULL, map->bytes, PROT_READ, MAP_SHARED, self->files.fds[added], 0);
        if (map->base == MAP_FAILED) {
            int error = errno;
            *map = (mapping){0}; /* the table keeps the file until free; reads of it end in EIO */
            return sluice_fail(err, SLUICE_NO_MEMORY, "%s: cannot be mapped: %s", path,
                               strerror(error));
        }
    }
    *file = added;
    return SLUICE_OK;
}

static int mmap_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    mmap_io *self = (mmap_io *)io;
    int taken = 0;
    for (; taken < n && self->n < io->capacity; taken++)
        self->queue[(self->first + self->n++) % io->capacity] = reads[taken];
    return taken;
}

static int copy_out(const mmap_io *self, const sluice_io_read *read)
{
    const mapping *map = &self->mappings[read->file];
    struct stat info;
    if (fstat(self->files.fds[read->file], &info)) return errno;
    uint64_t bytes = (uint64_t)info.st_size < map->bytes ? (uint64_t)info.st_size : map->bytes;
    if (read->offset > bytes || read->bytes > bytes - read->offset) return EIO;
    char *from = map->base + read->offset;
    /* EINVAL: an older kernel, which only has the signal. */
    if (madvise(from, read->bytes, MADV_POPULATE_READ) && errno != EINVAL)
        return errno == EFAULT ? EIO : errno;
    memcpy(read->buffer, from, read->bytes);
    return 0;
}

static int mmap_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    mmap_io *self = (mmap_io *)io;
    int n = 0;
    for (; n < min && n < max && self->n; n++) {
        const sluice_io_read *read = &self->queue[self->first];
        done[n] = (sluice_io_done){read->user, copy_out(self, read)};
        self->first = (self->first + 1) % io->capacity;
        self->n--;
    }
    return n;
}

static void mmap_free(sluice_io *io)
{
    mmap_io *self = (mmap_io *)io;
    for (int32_t i = 0; i < self->files.n; i++)
        if (self->mappings[i].base) munmap(self->mappings[i].base, self->mappings[i].bytes);
    sluice_file_table_close(&self->files);
    free(self->mappings);
    free(self->queue);
    free(self);
}

sluice_status sluice_io_mmap_new(int depth, sluice_io **out, sluice_error *err)
{
    if (depth < 1 || depth > SLUICE_IO_DEPTH_MAX)
        return sluice_fail(err, SLUICE_USAGE, "I/O depth %d: must be 1 to %d", depth,
                           SLUICE_IO_DEPTH_MAX);
    mmap_io *self = calloc(1, sizeof *self);
    sluice_io_read *queue = calloc((size_t)depth, sizeof *queue);
    if (!self || !queue) {
        free(self);
        free(queue);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the mmap engine");
    }
    self->io = (sluice_io){.name = "mmap",
                           .add_file = mmap_add_file,
                           .submit = mmap_submit,
                           .wait = mmap_wait,
                           .capacity = depth,
                           .free = mmap_free};
    self->queue = queue;
    *out = &self->io;
    return SLUICE_OK;
}
