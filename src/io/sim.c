/* The simulated disk: every read gets a finishing time by the dice; waiting moves the clock. */
#include "io/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "io/pending.h"
#include "os/file.h"

#define RUBBISH 0xdb

typedef struct sim_file {
    const char *data; /* NULL for a real file */
    uint64_t bytes;
    int fd;
} sim_file;

typedef struct sim_read {
    sluice_io_pending pending;
    uint64_t finish; /* tick of the next transfer's end; 0 while unused */
} sim_read;

typedef struct sim_io {
    sluice_io io;
    sluice_io_sim_options options;
    sluice_io_sim_counts counts;
    sluice_rng rng;
    uint64_t now;
    sim_file *files;
    int32_t n_files;
    sim_read *reads; /* [capacity] */
    int in_flight;
} sim_io;

static bool happens(sim_io *self, uint32_t permille)
{
    return permille && sluice_rng_below(&self->rng, 1000) < permille;
}

static uint64_t latency(sim_io *self)
{
    return 1 + (self->options.latency_max ? sluice_rng_below(&self->rng, self->options.latency_max)
                                          : 0);
}

static sluice_status sim_add_file(sluice_io *io, const char *path, int32_t *file, sluice_error *err)
{
    sim_io *self = (sim_io *)io;
    sim_file *files = realloc(self->files, ((size_t)self->n_files + 1) * sizeof *files);
    if (!files) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to simulate it", path);
    self->files = files;
    sim_file *added = &files[self->n_files];
    *added = (sim_file){.fd = -1};
    for (int i = 0; i < self->options.n_files && !added->data; i++) {
        const sluice_io_sim_file *known = &self->options.files[i];
        if (strcmp(known->path, path)) continue;
        added->data = known->data;
        added->bytes = known->bytes;
    }
    if (!added->data) SLUICE_TRY(sluice_file_open(path, &added->fd, &added->bytes, err));
    *file = self->n_files++;
    return SLUICE_OK;
}

bool sluice_io_sim_is_bad(const sluice_io *io, int32_t file, uint64_t offset)
{
    const sim_io *self = (const sim_io *)io;
    uint64_t mix = self->options.seed ^ offset ^ (uint64_t)file << 56;
    return self->options.bad_permille &&
           sluice_rng_splitmix(&mix) % 1000 < self->options.bad_permille;
}

static int sim_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    sim_io *self = (sim_io *)io;
    int room = io->capacity - self->in_flight;
    if (n > room) n = room;
    /* A real engine that has nothing in flight takes at least one. */
    if (n > 1 && happens(self, self->options.refuse_permille))
        n = 1 + (int)sluice_rng_below(&self->rng, (uint64_t)n - 1);
    for (int i = 0, at = 0; i < n; i++, at++) {
        while (self->reads[at].finish)
            at++;
        self->reads[at].pending = (sluice_io_pending){.read = reads[i]};
        self->reads[at].finish = self->now + latency(self);
        memset(reads[i].buffer, RUBBISH, reads[i].bytes);
    }
    self->in_flight += n;
    self->counts.reads += (uint64_t)n;
    return n;
}

static int64_t copy_bytes(const sim_file *file, void *to, uint64_t offset, size_t bytes)
{
    if (offset % SLUICE_IO_ALIGN) return -EINVAL; /* as direct reads are */
    if (!file->data) {
        ssize_t got = pread(file->fd, to, bytes, (off_t)offset);
        return got < 0 ? -errno : got;
    }
    if (offset >= file->bytes) return 0;
    if (bytes > file->bytes - offset) bytes = (size_t)(file->bytes - offset);
    memcpy(to, file->data + offset, bytes);
    return (int64_t)bytes;
}

static bool must_fail(sim_io *self, const sluice_io_read *read)
{
    uint64_t unplug = self->options.unplug_after;
    return (unplug && self->counts.reads > unplug) ||
           sluice_io_sim_is_bad(&self->io, read->file, read->offset) ||
           happens(self, self->options.error_permille);
}

/* Ends one transfer; true when its read is finished. */
static bool transfer(sim_io *self, sluice_io_pending *pending)
{
    const sluice_io_read *read = &pending->read;
    if (must_fail(self, read)) {
        self->counts.errors++;
        return sluice_io_pending_advance(pending, -EIO);
    }
    size_t want = sluice_io_pending_want(pending);
    if (want > SLUICE_IO_ALIGN && happens(self, self->options.short_permille)) {
        self->counts.shorts++;
        want = SLUICE_IO_ALIGN + (size_t)sluice_rng_below(&self->rng, want - SLUICE_IO_ALIGN);
    }
    int64_t got = copy_bytes(&self->files[read->file], (char *)read->buffer + pending->done,
                             read->offset + pending->done, want);
    bool finished = sluice_io_pending_advance(pending, got);
    if (finished && !pending->error && happens(self, self->options.corrupt_permille)) {
        self->counts.corruptions++;
        ((unsigned char *)read->buffer)[sluice_rng_below(&self->rng, read->bytes)] ^=
            (unsigned char)(1 + sluice_rng_below(&self->rng, 255));
    }
    return finished;
}

static sim_read *earliest(sim_io *self)
{
    sim_read *first = NULL;
    for (int i = 0; i < self->io.capacity; i++) {
        sim_read *read = &self->reads[i];
        if (read->finish && (!first || read->finish < first->finish)) first = read;
    }
    return first;
}

static int sim_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    sim_io *self = (sim_io *)io;
    self->now += sluice_rng_below(&self->rng, self->options.latency_max / 4 + 2);
    if (min > max) min = max;
    int n = 0;
    sim_read *next;
    while (n < max && (next = earliest(self))) {
        if (next->finish > self->now) {
            if (n >= min) break;
            self->now = next->finish;
        }
        if (!transfer(self, &next->pending)) {
            next->finish = self->now + latency(self);
            continue;
        }
        done[n++] = (sluice_io_done){next->pending.read.user, next->pending.error};
        next->finish = 0;
        self->in_flight--;
    }
    return n;
}

static void sim_free(sluice_io *io)
{
    sim_io *self = (sim_io *)io;
    for (int32_t i = 0; i < self->n_files; i++)
        sluice_file_close(self->files[i].fd);
    free(self->files);
    free(self->reads);
    free(self);
}

void sluice_io_sim_heal(sluice_io *io)
{
    sluice_io_sim_options *options = &((sim_io *)io)->options;
    options->error_permille = options->corrupt_permille = options->bad_permille = 0;
    options->unplug_after = 0;
}

void sluice_io_sim_counts_get(const sluice_io *io, sluice_io_sim_counts *counts)
{
    *counts = ((const sim_io *)io)->counts;
}

sluice_status sluice_io_sim_new(const sluice_io_sim_options *options, sluice_io **out,
                                sluice_error *err)
{
    if (options->depth < 1 || options->depth > SLUICE_IO_DEPTH_MAX)
        return sluice_fail(err, SLUICE_USAGE, "I/O depth %d: must be 1 to %d", options->depth,
                           SLUICE_IO_DEPTH_MAX);
    sim_io *self = calloc(1, sizeof *self);
    sim_read *reads = calloc((size_t)options->depth, sizeof *reads);
    if (!self || !reads) {
        free(self);
        free(reads);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the simulated disk");
    }
    self->io = (sluice_io){.name = "sim",
                           .add_file = sim_add_file,
                           .submit = sim_submit,
                           .wait = sim_wait,
                           .capacity = options->depth,
                           .free = sim_free};
    self->options = *options;
    self->now = 1;
    self->reads = reads;
    sluice_rng_seed(&self->rng, options->seed);
    *out = &self->io;
    return SLUICE_OK;
}
