/* Reads by io_uring: one thread, no copies, the kernel keeps depth direct reads under way.
 *
 * Files are registered (saves a reference count per read). Buffers are not: see
 * doc/measurements/io.md. Completions are left for the caller's next system call (COOP_TASKRUN), so
 * that they never interrupt a kernel on the compute threads. A ring is used by one thread at a
 * time; it need not be the one that made it. */
#include "io/io.h"

#ifdef SLUICE_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/file_table.h"
#include "io/pending.h"

typedef struct uring_io {
    sluice_io io;
    struct io_uring ring;
    sluice_file_table files;
    int32_t n_registered; /* files known to the ring; 0 after a refusal too */
    bool registering;     /* false once the kernel has refused */
    sluice_io_pending *pending;
    int32_t *unused; /* stack of free indices of pending */
    int32_t n_unused;
    int32_t queued; /* entries filled in and not yet told to the kernel */
} uring_io;

static sluice_status uring_add_file(sluice_io *io, const char *path, int32_t *file,
                                    sluice_error *err)
{
    uring_io *self = (uring_io *)io;
    return sluice_file_table_add(&self->files, path, true, file, err);
}

/* Registers the files added since the last time; only with nothing in flight. */
static void register_files(uring_io *self)
{
    if (!self->registering || self->n_registered == self->files.n) return;
    if (self->n_unused != self->io.capacity) return;
    if (self->n_registered) io_uring_unregister_files(&self->ring);
    int failed = io_uring_register_files(&self->ring, self->files.fds, (unsigned)self->files.n);
    self->n_registered = failed ? 0 : self->files.n;
    self->registering = !failed;
}

/* Fills in a ring entry for what is left of a read. There is always one: the ring has depth. */
static void prepare(uring_io *self, int32_t index)
{
    sluice_io_pending *pending = &self->pending[index];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
    int32_t file = pending->read.file;
    bool fixed = file < self->n_registered;
    io_uring_prep_read(
        sqe, fixed ? file : self->files.fds[file], (char *)pending->read.buffer + pending->done,
        (unsigned)sluice_io_pending_want(pending), pending->read.offset + pending->done);
    /* Direct reads pin their pages when they begin. Making those pages takes longer than the read,
     * so it is left to the kernel's own workers instead of the caller. */
    unsigned flags = (fixed ? IOSQE_FIXED_FILE : 0u) | (pending->read.untouched ? IOSQE_ASYNC : 0u);
    io_uring_sqe_set_flags(sqe, flags);
    io_uring_sqe_set_data64(sqe, (uint64_t)index);
    self->queued++;
}

static int uring_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    uring_io *self = (uring_io *)io;
    register_files(self);
    int taken = 0;
    for (; taken < n && self->n_unused; taken++) {
        int32_t index = self->unused[--self->n_unused];
        self->pending[index] = (sluice_io_pending){.read = reads[taken]};
        prepare(self, index);
    }
    if (self->queued) {
        int told = io_uring_submit(&self->ring);
        if (told > 0) self->queued -= told; /* what was refused for now goes with the next call */
    }
    return taken;
}

/* Takes finished reads off the ring; those with bytes left go back on it. */
static int reap(uring_io *self, sluice_io_done *done, int max)
{
    int n = 0;
    struct io_uring_cqe *cqe;
    while (n < max && io_uring_peek_cqe(&self->ring, &cqe) == 0) {
        int32_t index = (int32_t)io_uring_cqe_get_data64(cqe);
        int32_t result = cqe->res;
        io_uring_cqe_seen(&self->ring, cqe);
        sluice_io_pending *pending = &self->pending[index];
        if (!sluice_io_pending_advance(pending, result)) {
            prepare(self, index);
            continue;
        }
        done[n++] = (sluice_io_done){pending->read.user, pending->error};
        self->unused[self->n_unused++] = index;
    }
    return n;
}

/* Tells the kernel what is queued and sleeps until at least one read in the ring has ended. */
static void sleep_for_one(uring_io *self)
{
    int told = io_uring_submit_and_wait(&self->ring, 1);
    if (told >= 0) {
        self->queued -= told;
    } else if (told != -EINTR) {
        /* Refused for now, for lack of kernel memory: goes on when another read has ended. */
        struct io_uring_cqe *cqe;
        if (self->io.capacity - self->n_unused > self->queued)
            io_uring_wait_cqe(&self->ring, &cqe);
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static int uring_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    uring_io *self = (uring_io *)io;
    int in_flight = io->capacity - self->n_unused;
    if (min > max) min = max;
    if (min > in_flight) min = in_flight;
    int n = reap(self, done, max);
    while (n < min) {
        sleep_for_one(self);
        n += reap(self, done + n, max - n);
    }
    if (self->queued) {
        int told = io_uring_submit(&self->ring);
        if (told > 0) self->queued -= told;
    }
    return n;
}

static void uring_free(sluice_io *io)
{
    uring_io *self = (uring_io *)io;
    /* The kernel writes into the callers' buffers until the last read has ended. */
    sluice_io_done done;
    while (self->n_unused < io->capacity)
        uring_wait(io, &done, 1, 1);
    io_uring_queue_exit(&self->ring);
    sluice_file_table_close(&self->files);
    free(self->pending);
    free(self->unused);
    free(self);
}

sluice_status sluice_io_uring_new(int depth, sluice_io **out, sluice_error *err)
{
    if (depth < 1 || depth > SLUICE_IO_DEPTH_MAX)
        return sluice_fail(err, SLUICE_USAGE, "I/O depth %d: must be 1 to %d", depth,
                           SLUICE_IO_DEPTH_MAX);
    uring_io *self = calloc(1, sizeof *self);
    sluice_io_pending *pending = calloc((size_t)depth, sizeof *pending);
    int32_t *unused = calloc((size_t)depth, sizeof *unused);
    int error = -ENOMEM;
    if (self && pending && unused) {
        unsigned flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
        error = io_uring_queue_init((unsigned)depth, &self->ring, flags);
        if (error == -EINVAL) error = io_uring_queue_init((unsigned)depth, &self->ring, 0);
    }
    if (error) {
        free(unused);
        free(pending);
        free(self);
        return sluice_fail(err, error == -ENOMEM ? SLUICE_NO_MEMORY : SLUICE_UNSUPPORTED,
                           "io_uring cannot be used here: %s; --io pread works everywhere",
                           strerror(-error));
    }
    self->io = (sluice_io){.name = "uring",
                           .add_file = uring_add_file,
                           .submit = uring_submit,
                           .wait = uring_wait,
                           .capacity = depth,
                           .free = uring_free};
    self->registering = true;
    self->pending = pending;
    self->unused = unused;
    while (self->n_unused < depth) {
        unused[self->n_unused] = self->n_unused;
        self->n_unused++;
    }
    *out = &self->io;
    return SLUICE_OK;
}

#else

sluice_status sluice_io_uring_new(int depth, sluice_io **out, sluice_error *err)
{
    (void)depth;
    (void)out;
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "this sluice was built without liburing; --io pread works everywhere");
}

#endif
