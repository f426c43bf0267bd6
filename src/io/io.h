/* Reading expert records: asynchronous reads of whole aligned ranges, behind one table.
 *
 * What: a reader owns a set of open files and completes reads in any order. Engines: io_uring, a
 * pread thread pool (both O_DIRECT), buffered, mmap (for comparison), and a simulated disk with
 * seeds and faults for tests. Every engine gives the same bytes.
 *
 * Rules: offset, bytes and buffer are multiples of SLUICE_IO_ALIGN. Short reads are continued
 * inside the engine; an error is reported in the completion, never retried here. submit and wait
 * are called by one thread (the engine's); nothing allocates after opening.
 *
 * What it does not do: know experts, caches or checksums. */
#ifndef SLUICE_IO_IO_H
#define SLUICE_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_IO_ALIGN 4096
#define SLUICE_IO_DEPTH_MAX 256

typedef struct sluice_io sluice_io;

typedef struct sluice_io_read {
    int32_t file; /* index given by add_file */
    uint64_t offset;
    size_t bytes;
    void *buffer;
    uint64_t user;  /* given back in the completion */
    bool untouched; /* the buffer has no pages yet: beginning the read takes long */
} sluice_io_read;

typedef struct sluice_io_done {
    uint64_t user;
    int error; /* 0 or an errno; EIO for an end of file inside the range */
} sluice_io_done;

struct sluice_io {
    const char *name;
    /* Opens path for reading; only while nothing is in flight. A direct engine reads files of a
     * filesystem that refuses direct reads through the page cache. */
    sluice_status (*add_file)(sluice_io *io, const char *path, int32_t *file, sluice_error *err);
    /* Queues n reads, in order of urgency; at most capacity in flight. Returns how many were taken.
     */
    int (*submit)(sluice_io *io, const sluice_io_read *reads, int n);
    /* Takes up to max completions; waits (without spinning) for at least min of those in flight. */
    int (*wait)(sluice_io *io, sluice_io_done *done, int min, int max);
    int capacity;
    /* Waits for what is in flight: until then its buffers are written to. */
    void (*free)(sluice_io *io);
};

/* depth: reads in flight at most, 1 to SLUICE_IO_DEPTH_MAX. SLUICE_UNSUPPORTED from uring where the
 * kernel or a sandbox refuses it. */
sluice_status sluice_io_pread_new(int depth, bool direct, sluice_io **out, sluice_error *err);
sluice_status sluice_io_uring_new(int depth, sluice_io **out, sluice_error *err);
sluice_status sluice_io_mmap_new(int depth, sluice_io **out, sluice_error *err);

/* "auto", "uring", "pread", "buffered" or "mmap". auto makes one real direct read of path and takes
 * the best engine that works. */
sluice_status sluice_io_open(const char *name, int depth, const char *probe_path, sluice_io **out,
                             sluice_error *err);

#endif
