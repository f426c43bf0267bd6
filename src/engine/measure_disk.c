/* The speed of a disk as the expert cache sees it (sluice/machine.h). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/status.h"
#include "experts/experts.h"
#include "format/container.h"
#include "io/io.h"
#include "os/file.h"
#include "sluice/machine.h"

#define TAG "disk probe"
#define SCRATCH_BYTES ((uint64_t)1 << 30)
#define SCRATCH_PIECE ((size_t)8 << 20)
#define READ_BYTES_DEFAULT ((uint64_t)8 << 20)
#define READ_BYTES_MAX ((uint64_t)1 << 30)
#define READS_MIN 8

/* A file with records to read. */
typedef struct probe_file {
    int32_t file; /* of the reader */
    uint64_t offset, bytes;
} probe_file;

typedef struct probe {
    sluice_io *io;
    probe_file *files;
    int32_t n_files;
    size_t read_bytes;
    unsigned char *buffers; /* [depth], one read each */
    int32_t depth;
    uint64_t stop_us;
    sluice_rng rng;
} probe;

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + SLUICE_IO_ALIGN - 1) & ~(uint64_t)(SLUICE_IO_ALIGN - 1);
}

/* As many as the cache has in flight (experts/open.c). */
static int32_t choose_depth(uint64_t read_bytes)
{
    uint64_t depth = SLUICE_EXPERTS_BYTES_IN_FLIGHT / read_bytes;
    if (depth < SLUICE_EXPERTS_DEPTH_MIN) return SLUICE_EXPERTS_DEPTH_MIN;
    return depth > SLUICE_EXPERTS_DEPTH_MAX ? SLUICE_EXPERTS_DEPTH_MAX : (int32_t)depth;
}

/* A random record of a random file into buffer slot. */
static sluice_io_read next_read(probe *p, int32_t slot)
{
    const probe_file *file = &p->files[sluice_rng_below(&p->rng, (uint64_t)p->n_files)];
    uint64_t records = file->bytes / p->read_bytes;
    return (sluice_io_read){.file = file->file,
                            .offset =
                                file->offset + sluice_rng_below(&p->rng, records) * p->read_bytes,
                            .bytes = p->read_bytes,
                            .buffer = p->buffers + (size_t)slot * p->read_bytes,
                            .user = (uint64_t)slot};
}

/* Reads until the time is up and at least a few have come; a slot that comes back goes out again.
 */
static sluice_status read_on(probe *p, uint64_t us, double *bytes_per_second, sluice_error *err)
{
    uint64_t reads = 0, start = sluice_clock_us(), now = start;
    int32_t flying = 0;
    sluice_io_done done[SLUICE_EXPERTS_DEPTH_MAX];
    for (; flying < p->depth; flying++) {
        sluice_io_read read = next_read(p, flying);
        if (p->io->submit(p->io, &read, 1) != 1) break;
    }
    while (flying) {
        int n = p->io->wait(p->io, done, 1, SLUICE_EXPERTS_DEPTH_MAX);
        now = sluice_clock_us();
        for (int i = 0; i < n; i++) {
            flying--;
            if (done[i].error)
                return sluice_file_fail(err, done[i].error, "the disk probe", "cannot read");
            reads++;
            if (now - start >= us && reads >= READS_MIN) continue;
            sluice_io_read read = next_read(p, (int32_t)done[i].user);
            flying += p->io->submit(p->io, &read, 1);
        }
    }
    *bytes_per_second = (double)(reads * p->read_bytes) / ((double)(now - start + 1) * 1e-6);
    return SLUICE_OK;
}

static sluice_status add_file(probe *p, const char *path, uint64_t offset, uint64_t bytes,
                              sluice_error *err)
{
    probe_file *file = &p->files[p->n_files];
    if (bytes < p->read_bytes)
        return sluice_fail(err, SLUICE_USAGE, "%s is smaller than a read of %zu bytes", path,
                           p->read_bytes);
    *file = (probe_file){.offset = offset, .bytes = bytes};
    SLUICE_TRY(p->io->add_file(p->io, path, &file->file, err));
    p->n_files++;
    return SLUICE_OK;
}

static sluice_status open_reader(probe *p, const char *io, const char *path, int32_t files,
                                 sluice_error *err)
{
    void *memory;
    p->depth = choose_depth(p->read_bytes);
    p->files = calloc((size_t)files, sizeof *p->files);
    if (!p->files) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the disk probe");
    SLUICE_TRY(sluice_io_open(io ? io : "auto", p->depth, path, &p->io, err));
    size_t bytes = (size_t)p->depth * p->read_bytes;
    SLUICE_TRY(sluice_memory_new(NULL, bytes, TAG, &memory, err));
    memset(memory, 1, bytes); /* pages are there before the clock runs */
    p->buffers = memory;
    sluice_rng_seed(&p->rng, sluice_clock_ns()); /* other records than the last time */
    return SLUICE_OK;
}

static void close_reader(probe *p)
{
    if (p->io) p->io->free(p->io);
    if (p->buffers) sluice_memory_free(NULL, p->buffers, (size_t)p->depth * p->read_bytes, TAG);
    free(p->files);
}

static sluice_status open_container(probe *p, const char *dir, const sluice_disk_options *options,
                                    sluice_error *err)
{
    sluice_container *container;
    SLUICE_TRY(sluice_container_open(dir, &container, err));
    int32_t layers = sluice_container_config(container)->layers;
    const sluice_expert_file *first = sluice_container_experts(container, 0);
    if (!p->read_bytes) p->read_bytes = (size_t)first->layout.bytes;
    sluice_status status = open_reader(p, options->io, first->path, layers, err);
    for (int32_t i = 0; i < layers && status == SLUICE_OK; i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        status =
            add_file(p, file->path, file->offset, file->layout.bytes * (uint64_t)file->count, err);
    }
    sluice_container_close(container);
    return status;
}

/* Random bytes, written past the page cache where that is possible and dropped from it where not.
 */
static sluice_status write_scratch(int fd, const char *path, uint64_t bytes, sluice_error *err)
{
    void *memory;
    SLUICE_TRY(sluice_memory_new(NULL, SCRATCH_PIECE, TAG, &memory, err));
    uint64_t *words = memory;
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    for (size_t i = 0; i < SCRATCH_PIECE / sizeof *words; i++)
        words[i] = sluice_rng_next(&rng);
    int direct = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    sluice_status status = SLUICE_OK;
    for (uint64_t at = 0; at < bytes && status == SLUICE_OK; at += SCRATCH_PIECE) {
        words[0] = at;
        status = sluice_file_write(direct >= 0 ? direct : fd, path, at, words, SCRATCH_PIECE, err);
    }
    sluice_file_close(direct);
    sluice_memory_free(NULL, memory, SCRATCH_PIECE, TAG);
    if (status == SLUICE_OK) {
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    return status;
}

static sluice_status open_folder(probe *p, const char *dir, const sluice_disk_options *options,
                                 char **scratch, sluice_error *err)
{
    uint64_t bytes = SCRATCH_BYTES, available;
    if (!sluice_file_is_dir(dir))
        return sluice_fail(err, SLUICE_NOT_FOUND, "%s: there is no such folder", dir);
    if (!p->read_bytes) p->read_bytes = READ_BYTES_DEFAULT;
    SLUICE_TRY(sluice_file_free_space(dir, &available, err));
    if (available < 2 * SCRATCH_BYTES)
        return sluice_fail(err, SLUICE_NO_SPACE,
                           "%s: measuring the disk needs 2 GiB of free space, there are %.1f GB",
                           dir, (double)available * 1e-9);
    char name[64];
    int fd;
    snprintf(name, sizeof name, ".sluice-probe-%ld", (long)getpid());
    *scratch = sluice_file_join(dir, name);
    if (!*scratch) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    SLUICE_TRY(sluice_file_create(*scratch, &fd, err));
    sluice_status status = write_scratch(fd, *scratch, bytes, err);
    sluice_file_close(fd);
    SLUICE_TRY(status);
    SLUICE_TRY(open_reader(p, options->io, *scratch, 1, err));
    return add_file(p, *scratch, 0, bytes, err);
}

sluice_status sluice_measure_disk(const char *path, const sluice_disk_options *options,
                                  sluice_disk_speed *speed, sluice_error *err)
{
    static const sluice_disk_options defaults;
    if (!options) options = &defaults;
    if (options->read_bytes > READ_BYTES_MAX)
        return sluice_fail(err, SLUICE_USAGE, "reads of %llu bytes are longer than 1 GiB",
                           (unsigned long long)options->read_bytes);
    probe p = {.read_bytes = (size_t)page_up(options->read_bytes)};
    double seconds = options->seconds > 0 ? options->seconds : 1, rate = 0;
    char *scratch = NULL;
    sluice_status status = sluice_container_is(path)
                               ? open_container(&p, path, options, err)
                               : open_folder(&p, path, options, &scratch, err);
    if (status == SLUICE_OK) status = read_on(&p, (uint64_t)(seconds * 1e6), &rate, err);
    if (status == SLUICE_OK) {
        *speed = (sluice_disk_speed){
            .bytes_per_second = rate, .read_bytes = p.read_bytes, .depth = p.depth};
        snprintf(speed->io, sizeof speed->io, "%s", p.io->name);
    }
    close_reader(&p);
    if (scratch) unlink(scratch);
    free(scratch);
    return status;
}
