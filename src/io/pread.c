/* Reads by a pool of threads that each sit in pread: works on every system, direct or buffered.
 *
 * One lock guards two queues of indices, waiting and finished; both are rings of depth entries,
 * which can never overflow because at most depth reads are in flight. Threads and caller sleep on
 * condition variables. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file_table.h"
#include "io/pending.h"

#define STACK_BYTES (128 * 1024)
#define THREADS_MAX 64 /* further reads wait for one of them */

typedef struct index_ring {
    int32_t *at;
    int32_t first, n;
} index_ring;

typedef struct pread_io {
    sluice_io io;
    sluice_file_table files;
    bool direct;
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    bool stop;
    index_ring waiting, done, unused;
    int32_t in_flight; /* submitted and not yet taken by wait */
    sluice_io_pending *pending;
    pthread_t *threads;
    int n_threads;
} pread_io;

static void ring_push(index_ring *ring, int32_t capacity, int32_t index)
{
    ring->at[(ring->first + ring->n++) % capacity] = index;
}

static int32_t ring_pop(index_ring *ring, int32_t capacity)
{
    int32_t index = ring->at[ring->first];
    ring->first = (ring->first + 1) % capacity;
    ring->n--;
    return index;
}

/* Reads the whole range, in as many calls as it takes. */
static void read_range(sluice_io_pending *pending, int fd)
{
    for (;;) {
        ssize_t got =
            pread(fd, (char *)pending->read.buffer + pending->done, sluice_io_pending_want(pending),
                  (off_t)(pending->read.offset + pending->done));
        if (sluice_io_pending_advance(pending, got < 0 ? -errno : got)) return;
    }
}

static void *thread_main(void *argument)
{
    pread_io *self = argument;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (!self->waiting.n && !self->stop)
            pthread_cond_wait(&self->work, &self->lock);
        if (!self->waiting.n) break; /* stopping, and nothing left that a caller waits for */
        int32_t index = ring_pop(&self->waiting, self->io.capacity);
        int fd = self->files.fds[self->pending[index].read.file];
        pthread_mutex_unlock(&self->lock);
        read_range(&self->pending[index], fd);
        pthread_mutex_lock(&self->lock);
        ring_push(&self->done, self->io.capacity, index);
        pthread_cond_signal(&self->finished);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static sluice_status pread_add_file(sluice_io *io, const char *path, int32_t *file,
                                    sluice_error *err)
{
    pread_io *self = (pread_io *)io;
    pthread_mutex_lock(&self->lock);
    sluice_status status = sluice_file_table_add(&self->files, path, self->direct, file, err);
    pthread_mutex_unlock(&self->lock);
    return status;
}

static int pread_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    pread_io *self = (pread_io *)io;
    pthread_mutex_lock(&self->lock);
    int taken = 0;
    for (; taken < n && self->unused.n; taken++) {
        int32_t index = ring_pop(&self->unused, io->capacity);
        self->pending[index] = (sluice_io_pending){.read = reads[taken]};
        ring_push(&self->waiting, io->capacity, index);
        pthread_cond_signal(&self->work);
    }
    self->in_flight += taken;
    pthread_mutex_unlock(&self->lock);
    return taken;
}

static int pread_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    pread_io *self = (pread_io *)io;
    pthread_mutex_lock(&self->lock);
    if (min > max) min = max;
    if (min > self->in_flight) min = self->in_flight;
    while (self->done.n < min)
        pthread_cond_wait(&self->finished, &self->lock);
    int n = 0;
    for (; n < max && self->done.n; n++) {
        int32_t index = ring_pop(&self->done, io->capacity);
        done[n] = (sluice_io_done){self->pending[index].read.user, self->pending[index].error};
        ring_push(&self->unused, io->capacity, index);
    }
    self->in_flight -= n;
    pthread_mutex_unlock(&self->lock);
    return n;
}

static void pread_free(sluice_io *io)
{
    pread_io *self = (pread_io *)io;
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_cond_broadcast(&self->work);
    pthread_mutex_unlock(&self->lock);
    for (int i = 0; i < self->n_threads; i++)
        pthread_join(self->threads[i], NULL);
    sluice_file_table_close(&self->files);
    pthread_cond_destroy(&self->finished);
    pthread_cond_destroy(&self->work);
    pthread_mutex_destroy(&self->lock);
    free(self->unused.at);
    free(self->done.at);
    free(self->waiting.at);
    free(self->pending);
    free(self->threads);
    free(self);
}

static int start_threads(pread_io *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's threads */
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = 0;
    int most = self->io.capacity < THREADS_MAX ? self->io.capacity : THREADS_MAX;
    while (self->n_threads < most && !error) {
        error = pthread_create(&self->threads[self->n_threads], &attributes, thread_main, self);
        self->n_threads += !error;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->n_threads ? 0 : error; /* fewer threads than wished are slower, not wrong */
}

sluice_status sluice_io_pread_new(int depth, bool direct, sluice_io **out, sluice_error *err)
{
    if (depth < 1 || depth > SLUICE_IO_DEPTH_MAX)
        return sluice_fail(err, SLUICE_USAGE, "I/O depth %d: must be 1 to %d", depth,
                           SLUICE_IO_DEPTH_MAX);
    pread_io *self = calloc(1, sizeof *self);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the pread engine");
    self->io = (sluice_io){.name = direct ? "pread" : "buffered",
                           .add_file = pread_add_file,
                           .submit = pread_submit,
                           .wait = pread_wait,
                           .capacity = depth,
                           .free = pread_free};
    self->direct = direct;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->finished, NULL);
    size_t n = (size_t)depth;
    self->pending = calloc(n, sizeof *self->pending);
    self->threads = calloc(n, sizeof *self->threads);
    self->waiting.at = calloc(n, sizeof(int32_t));
    self->done.at = calloc(n, sizeof(int32_t));
    self->unused.at = calloc(n, sizeof(int32_t));
    int error = ENOMEM;
    if (self->pending && self->threads && self->waiting.at && self->done.at && self->unused.at) {
        for (int32_t i = 0; i < depth; i++)
            ring_push(&self->unused, depth, i);
        error = start_threads(self);
    }
    if (error) {
        pread_free(&self->io);
        return sluice_fail(err, SLUICE_NO_MEMORY, "the pread engine could not be started: %s",
                           strerror(error));
    }
    *out = &self->io;
    return SLUICE_OK;
}
