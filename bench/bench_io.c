/* How fast expert records come off a disk: engine × page size of the buffers × depth × record size.
 *
 * Usage: bench_io [FILE [SECONDS]]. FILE should be larger than memory or at least not in the page
 * cache; without one, 4 GiB are written to the current folder, dropped from the page cache,
 * measured and deleted. Each line of CSV is one measurement of about SECONDS (0.4); every
 * combination is measured three times, interleaved, and the median and the spread are what to
 * quote. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "io/io.h"
#include "os/file.h"

#define MIB ((size_t)1 << 20)
#define BUFFERS_BYTES (512 * MIB)
#define FILE_BYTES (4096 * MIB)
#define ROUNDS 3

static const char *const engines[] = {"uring", "pread", "buffered", "mmap"};
static const size_t record_bytes[] = {64 * 1024, 2 * MIB, 7077888, 12 * MIB};
static const int depths[] = {1, 2, 4, 8, 16, 64};

typedef struct result {
    double gb_s, cpu_s_per_gb;
} result;

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

static int die(const char *what, const char *detail)
{
    fprintf(stderr, "bench_io: %s: %s\n", what, detail);
    return 1;
}

/* Random bytes, so that no disk compresses them away. */
static sluice_status write_file(const char *path, sluice_error *err)
{
    int fd;
    SLUICE_TRY(sluice_file_create(path, &fd, err));
    uint64_t *block = malloc(8 * MIB);
    sluice_status status = block ? SLUICE_OK : SLUICE_NO_MEMORY;
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    for (uint64_t at = 0; at < FILE_BYTES && status == SLUICE_OK; at += 8 * MIB) {
        for (size_t i = 0; i < 8 * MIB / sizeof *block; i++)
            block[i] = sluice_rng_next(&rng);
        status = sluice_file_write(fd, path, at, block, 8 * MIB, err);
    }
    free(block);
    if (status == SLUICE_OK && fsync(fd)) status = sluice_file_fail(err, errno, path, "fsync");
    sluice_file_close(fd);
    return status;
}

static void drop_cached(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* Reads random records into buffers taken in turn, like slots, until time is up. */
static int measure(sluice_io *io, int32_t file, uint64_t file_bytes, size_t bytes, char *buffers,
                   double seconds, uint64_t seed, result *out)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    uint64_t stride = (bytes + 4095) / 4096 * 4096, records = file_bytes / stride;
    uint64_t slots = BUFFERS_BYTES / stride, issued = 0, finished = 0;
    double cpu = cpu_seconds();
    uint64_t start = sluice_clock_us(), end = start + (uint64_t)(seconds * 1e6);
    sluice_io_done done[SLUICE_IO_DEPTH_MAX];
    bool more = true;
    while (more || finished < issued) {
        more = sluice_clock_us() < end;
        while (more && issued - finished < (uint64_t)io->capacity) {
            sluice_io_read read = {file,   sluice_rng_below(&rng, records) * stride,
                                   stride, buffers + issued % slots * stride,
                                   0,      false};
            issued += (uint64_t)io->submit(io, &read, 1);
        }
        int n = io->wait(io, done, 1, SLUICE_IO_DEPTH_MAX);
        for (int i = 0; i < n; i++)
            if (done[i].error) return done[i].error;
        finished += (uint64_t)n;
    }
    double gb = (double)(finished * stride) * 1e-9;
    out->gb_s = gb / ((double)(sluice_clock_us() - start) * 1e-6);
    out->cpu_s_per_gb = (cpu_seconds() - cpu) / gb;
    return 0;
}

static char *take_buffers(bool huge)
{
    char *buffers = mmap(NULL, BUFFERS_BYTES + 2 * MIB, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffers == MAP_FAILED) return NULL;
    buffers += (2 * MIB - (uintptr_t)buffers % (2 * MIB)) % (2 * MIB);
    madvise(buffers, BUFFERS_BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(buffers, 1, BUFFERS_BYTES);
    return buffers;
}

/* The whole grid for the direct engines, one line of it for those that copy. */
static bool worth_measuring(const char *engine, int depth, bool huge)
{
    if (!strcmp(engine, "mmap")) return depth == 1 && huge;
    if (!strcmp(engine, "buffered")) return depth <= 8 && huge;
    return true;
}

static int measure_all(const char *path, uint64_t file_bytes, double seconds, const char *only,
                       char *const pages[2])
{
    printf("round,engine,pages,record_bytes,depth,gb_s,cpu_s_per_gb\n");
    for (int round = 0; round < ROUNDS; round++)
        for (size_t e = 0; e < sizeof engines / sizeof *engines; e++)
            for (size_t r = 0; r < sizeof record_bytes / sizeof *record_bytes; r++)
                for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
                    for (int huge = 0; huge < 2; huge++) {
                        sluice_io *io;
                        sluice_error err;
                        int32_t file;
                        result got;
                        if (only && strcmp(only, engines[e])) continue;
                        if (!worth_measuring(engines[e], depths[d], huge)) continue;
                        if (sluice_io_open(engines[e], depths[d], path, &io, &err)) continue;
                        if (io->add_file(io, path, &file, &err)) return die(path, err.detail);
                        drop_cached(path);
                        int error = measure(io, file, file_bytes, record_bytes[r], pages[huge],
                                            seconds, (uint64_t)round, &got);
                        io->free(io);
                        if (error) return die(path, strerror(error));
                        printf("%d,%s,%s,%zu,%d,%.3f,%.4f\n", round, engines[e],
                               huge ? "huge" : "4k", record_bytes[r], depths[d], got.gb_s,
                               got.cpu_s_per_gb);
                        fflush(stdout);
                    }
    return 0;
}

int main(int argc, char **argv)
{
    sluice_error err;
    char own[64];
    const char *path = argc > 1 ? argv[1] : own;
    snprintf(own, sizeof own, "bench_io.%ld.tmp", (long)getpid());
    if (path == own && write_file(path, &err)) {
        unlink(own);
        return die(own, err.detail);
    }
    int fd;
    uint64_t bytes;
    int status = 1;
    if (sluice_file_open(path, &fd, &bytes, &err)) {
        die(path, err.detail);
    } else {
        sluice_file_close(fd);
        drop_cached(path);
        char *const pages[2] = {take_buffers(false), take_buffers(true)};
        if (bytes < 64 * MIB)
            die(path, "too small to measure");
        else if (!pages[0] || !pages[1])
            die("buffers", "no memory");
        else
            status = measure_all(path, bytes, argc > 2 ? atof(argv[2]) : 0.4,
                                 argc > 3 ? argv[3] : NULL, pages);
    }
    if (path == own) unlink(own);
    return status;
}
