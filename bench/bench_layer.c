/* How a small model's missing experts of one layer are best read: 45 kB records of one file, all
 * wanted at once, each into a slot of its own.
 *
 * Usage: bench_layer [MISSING [SECONDS]], by default 22 of 64 as eight streams of Nano miss, and
 * 0.3. Writes 24 MB to the current folder and deletes them. Ways, in turns, each three times:
 *
 *   mixed     one read a record, in any order        ascending   in the order of the file
 *   fixed     ascending, into a registered buffer    kick        ascending, four of them told first
 *   adjacent  one vectored read for those that follow each other
 *   gap1, gap2, all   the same, read through that many records that nobody wants
 *
 * CSV: microseconds until all have arrived, until the first has, that telling the kernel took, and
 * of the processor; reads that were begun, and records that they brought. */
#include <stdio.h>

#ifdef SLUICE_HAVE_URING

#include <fcntl.h>
#include <liburing.h>
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

enum { RECORD = 45056, COUNT = 64, LAYERS = 8, SLOTS = 170, ROUNDS = 3, KICK = 4 };

typedef struct way {
    const char *name;
    int gap; /* records that are read through; -1: one read a record */
    bool mixed, fixed, kick;
} way;

static const way ways[] = {
    {"mixed", -1, true, false, false},    {"ascending", -1, false, false, false},
    {"fixed", -1, false, true, false},    {"kick", -1, false, false, true},
    {"adjacent", 0, false, false, false}, {"gap1", 1, false, false, false},
    {"gap2", 2, false, false, false},     {"all", COUNT, false, false, false},
};

typedef struct bench {
    struct io_uring ring;
    int fd;
    sluice_rng rng;
    char *slots, *rubbish;
    struct iovec parts[COUNT][2 * COUNT];
    uint64_t layers, reads, records; /* so far */
    uint64_t first_us, all_us, submit_us;
} bench;

static int die(const char *what)
{
    fprintf(stderr, "bench_layer: %s\n", what);
    return 1;
}

static uint64_t processor_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static char *map_pages(size_t bytes, bool huge)
{
    const size_t page = SLUICE_MEMORY_HUGE_PAGE;
    char *base =
        mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    base += (page - (uintptr_t)base % page) % page;
    madvise(base, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(base, 1, bytes);
    return base;
}

/* Which records are missing, in the order of their reads. */
static void draw(bench *b, const way *w, int missing, int *ids)
{
    for (int i = 0; i < COUNT; i++)
        ids[i] = i;
    for (int i = 0; i < missing; i++) {
        int j = i + (int)sluice_rng_below(&b->rng, (uint64_t)(COUNT - i)), id = ids[i];
        ids[i] = ids[j];
        ids[j] = id;
    }
    for (int i = 1; i < missing && !w->mixed; i++)
        for (int j = i; j > 0 && ids[j] < ids[j - 1]; j--) {
            int id = ids[j];
            ids[j] = ids[j - 1];
            ids[j - 1] = id;
        }
}

static struct iovec slot_of(bench *b)
{
    return (struct iovec){b->slots + sluice_rng_below(&b->rng, SLOTS) * RECORD, RECORD};
}

/* Queues one read that begins with the first of n ids; returns how many it serves. */
static int prepare(bench *b, const way *w, const int *ids, int n, struct iovec *parts)
{
    int served = 1, count = 0;
    parts[count++] = slot_of(b);
    for (; w->gap >= 0 && served < n; served++) {
        const int between = ids[served] - ids[served - 1] - 1;
        if (between > w->gap) break;
        if (between) parts[count++] = (struct iovec){b->rubbish, (size_t)between * RECORD};
        b->records += (uint64_t)between;
        parts[count++] = slot_of(b);
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
    const uint64_t at = ((b->layers % LAYERS) * COUNT + (uint64_t)ids[0]) * RECORD;
    if (w->fixed)
        io_uring_prep_read_fixed(sqe, 0, parts->iov_base, RECORD, at, 0);
    else if (count == 1)
        io_uring_prep_read(sqe, 0, parts->iov_base, RECORD, at);
    else
        io_uring_prep_readv(sqe, 0, parts, (unsigned)count, at);
    io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    b->records += (uint64_t)served;
    return served;
}

static bool read_layer(bench *b, const way *w, int missing)
{
    int ids[COUNT], reads = 0;
    draw(b, w, missing, ids);
    const uint64_t start = sluice_clock_us();
    for (int i = 0; i < missing; reads++) {
        i += prepare(b, w, ids + i, missing - i, b->parts[reads]);
        if (w->kick && i == KICK) io_uring_submit(&b->ring);
    }
    io_uring_submit(&b->ring);
    b->submit_us += sluice_clock_us() - start;
    for (int done = 0; done < reads;) {
        struct io_uring_cqe *cqe;
        if (io_uring_submit_and_wait(&b->ring, 1) < 0) return false;
        if (!done) b->first_us += sluice_clock_us() - start;
        for (; io_uring_peek_cqe(&b->ring, &cqe) == 0; done++) {
            if (cqe->res < RECORD) return false;
            io_uring_cqe_seen(&b->ring, cqe);
        }
    }
    b->all_us += sluice_clock_us() - start;
    b->reads += (uint64_t)reads;
    b->layers++;
    return true;
}

static bool measure(bench *b, const way *w, int missing, double seconds, const char *pages,
                    int round)
{
    b->layers = b->reads = b->records = b->first_us = b->all_us = b->submit_us = 0;
    const uint64_t cpu = processor_us(), end = sluice_clock_us() + (uint64_t)(seconds * 1e6);
    while (sluice_clock_us() < end)
        if (!read_layer(b, w, missing)) return false;
    const double n = (double)b->layers;
    printf("%d,%s,%s,%d,%.0f,%.0f,%.0f,%.0f,%.1f,%.1f\n", round, pages, w->name, missing,
           (double)b->all_us / n, (double)b->first_us / n, (double)b->submit_us / n,
           (double)(processor_us() - cpu) / n, (double)b->reads / n, (double)b->records / n);
    fflush(stdout);
    return true;
}

static int measure_all(bench *b, char *const slots[2], int missing, double seconds)
{
    const struct iovec registered[1] = {{slots[1], (size_t)SLOTS * RECORD}};
    if (io_uring_register_buffers(&b->ring, registered, 1)) return die("no registered buffers");
    printf("round,pages,way,missing,all_us,first_us,submit_us,cpu_us,reads,records\n");
    for (int round = 0; round < ROUNDS; round++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
            for (int huge = 0; huge < 2; huge++) {
                if (ways[w].fixed && !huge) continue;
                b->slots = slots[huge];
                if (!measure(b, &ways[w], missing, seconds, huge ? "huge" : "4k", round))
                    return die("a read failed");
            }
    return 0;
}

static bool write_file(const char *path)
{
    const size_t bytes = (size_t)LAYERS * COUNT * RECORD;
    uint64_t *content = malloc(bytes);
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    for (size_t i = 0; content && i < bytes / sizeof *content; i++)
        content[i] = sluice_rng_next(&rng);
    const bool ok = content && sluice_file_save(path, content, bytes, NULL) == SLUICE_OK;
    free(content);
    return ok;
}

int main(int argc, char **argv)
{
    static bench b;
    char path[64];
    const int missing = argc > 1 ? atoi(argv[1]) : 22;
    if (missing < 1 || missing > COUNT) return die("MISSING: 1 to 64");
    char *const slots[2] = {map_pages((size_t)SLOTS * RECORD, false),
                            map_pages((size_t)SLOTS * RECORD, true)};
    b.rubbish = map_pages((size_t)COUNT * RECORD, true);
    if (!slots[0] || !slots[1] || !b.rubbish) return die("no memory");
    if (io_uring_queue_init(COUNT, &b.ring, IORING_SETUP_COOP_TASKRUN)) return die("no io_uring");
    snprintf(path, sizeof path, "bench_layer.%ld.tmp", (long)getpid());
    if (!write_file(path)) return die("the file cannot be written");
    b.fd = open(path, O_RDONLY | O_DIRECT);
    unlink(path);
    if (b.fd < 0 || io_uring_register_files(&b.ring, &b.fd, 1)) return die("no direct reads here");
    sluice_rng_seed(&b.rng, 2);
    return measure_all(&b, slots, missing, argc > 2 ? atof(argv[2]) : 0.3);
}

#else

int main(void)
{
    fprintf(stderr, "bench_layer: built without io_uring\n");
    return 1;
}

#endif
