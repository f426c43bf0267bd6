/* What this machine can do at most, measured in the same run as the kernels: the clock, reads from
 * memory, multiply-adds and int8 dots a cycle. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "checker/checker.h"
#include "os/cpu.h"

#define READ_BYTES ((size_t)256 << 20)

double check_seconds(void)
{
    return (double)sluice_clock_ns() * 1e-9;
}

/* Threads that run rounds together until the time is over. */
typedef struct round_crew {
    void (*fn)(void *context, int worker);
    void *context;
    double seconds;
    pthread_barrier_t barrier;
    int stop;
    double best;
} round_crew;

typedef struct crew_member {
    round_crew *crew;
    int worker;
} crew_member;

static void *run_rounds(void *argument)
{
    crew_member *member = argument;
    round_crew *crew = member->crew;
    const double begin = check_seconds();
    for (int round = 0; !crew->stop; round++) {
        pthread_barrier_wait(&crew->barrier);
        double start = check_seconds();
        crew->fn(crew->context, member->worker);
        pthread_barrier_wait(&crew->barrier);
        if (member->worker == 0 && round >= 1) { /* round 0 warms up */
            double now = check_seconds();
            if (now - start < crew->best) crew->best = now - start;
            crew->stop = now - begin >= crew->seconds;
        }
        pthread_barrier_wait(&crew->barrier);
    }
    return NULL;
}

double check_time(int threads, double seconds, void (*fn)(void *context, int worker), void *context)
{
    round_crew crew = {.fn = fn, .context = context, .seconds = seconds, .best = 1e9};
    pthread_t others[64];
    crew_member members[64];
    pthread_barrier_init(&crew.barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++)
        members[i] = (crew_member){&crew, i};
    for (int i = 1; i < threads; i++)
        pthread_create(&others[i], NULL, run_rounds, &members[i]);
    run_rounds(&members[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(others[i], NULL);
    pthread_barrier_destroy(&crew.barrier);
    return crew.best;
}

typedef struct reader {
    const uint64_t *words;
    size_t per_thread;
    uint64_t sums[64];
} reader;

static void read_words(void *context, int worker)
{
    reader *r = context;
    const uint64_t *at = r->words + (size_t)worker * r->per_thread;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 8 <= r->per_thread; i += 8) {
        __builtin_prefetch(at + i + 512);
        for (int j = 0; j < 8; j++)
            sum[j] += at[i + (size_t)j];
    }
    for (int j = 0; j < 8; j++)
        r->sums[worker] += sum[j];
}

double check_limit_read(int threads)
{
    void *memory = NULL;
    if (posix_memalign(&memory, (size_t)2 << 20, READ_BYTES)) return 0;
    madvise(memory, READ_BYTES, MADV_HUGEPAGE);
    memset(memory, 1, READ_BYTES);
    reader r = {.words = memory, .per_thread = READ_BYTES / 8 / (size_t)threads};
    double seconds = check_time(threads, 0.5, read_words, &r);
    volatile uint64_t keep = r.sums[0];
    (void)keep;
    free(memory);
    return (double)READ_BYTES / seconds;
}

/* A chain of multiplications takes three cycles each on every processor that this was tried on
 * (additions of constants are no measure: some processors do several at once when renaming). */
double check_limit_clock(void)
{
    const long steps = 1000 * 1000;
    double best = 1e9;
    for (int round = 0; round < 50; round++) {
        uint64_t x = 3;
        double start = check_seconds();
        for (long i = 0; i < steps; i++) {
            x *= x;
            __asm__ volatile("" : "+r"(x));
        }
        double seconds = check_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    return 3.0 * (double)steps / best;
}

#if defined(__x86_64__)
/* Twelve independent instructions, over and over; register contents do not matter. */
#define STREAM(name, instruction, r)                                                               \
    static void name(long rounds)                                                                  \
    {                                                                                              \
        for (long i = 0; i < rounds; i++)                                                          \
            __asm__ volatile(                                                                      \
                instruction                                                                        \
                " %%" r "14,%%" r "15,%%" r "0\n" instruction " %%" r "14,%%" r "15,%%" r          \
                "1\n" instruction " %%" r "14,%%" r "15,%%" r "2\n" instruction " %%" r "14,%%" r  \
                "15,%%" r "3\n" instruction " %%" r "14,%%" r "15,%%" r "4\n" instruction " %%" r  \
                "14,%%" r "15,%%" r "5\n" instruction " %%" r "14,%%" r "15,%%" r                  \
                "6\n" instruction " %%" r "14,%%" r "15,%%" r "7\n" instruction " %%" r "14,%%" r  \
                "15,%%" r "8\n" instruction " %%" r "14,%%" r "15,%%" r "9\n" instruction " %%" r  \
                "14,%%" r "15,%%" r "10\n" instruction " %%" r "14,%%" r "15,%%" r "11\n" ::       \
                    : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",      \
                      "xmm9", "xmm10", "xmm11");                                                   \
    }

STREAM(fma_256, "vfmadd231ps", "ymm")
STREAM(fma_512, "vfmadd231ps", "zmm")
STREAM(dot_maddubs, "vpmaddubsw", "ymm")
STREAM(dot_256, "%{vex%} vpdpbusd", "ymm")
STREAM(dot_512, "vpdpbusd", "zmm")

static double per_cycle(void (*stream)(long rounds), int products)
{
    const long rounds = 200 * 1000;
    double clock = check_limit_clock(), best = 1e9;
    for (int round = 0; round < 50; round++) {
        double start = check_seconds();
        stream(rounds);
        double seconds = check_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    return 12.0 * (double)rounds * products / (best * clock);
}

double check_limit_fma(uint32_t flags)
{
    if (flags & SLUICE_CPU_AVX512) return per_cycle(fma_512, 16);
    if (flags & SLUICE_CPU_AVX2) return per_cycle(fma_256, 8);
    return 0;
}

double check_limit_dot(uint32_t flags)
{
    if (flags & SLUICE_CPU_AVX512VNNI) return per_cycle(dot_512, 64);
    if (flags & SLUICE_CPU_AVXVNNI) return per_cycle(dot_256, 32);
    if (flags & SLUICE_CPU_AVX2) return per_cycle(dot_maddubs, 32);
    return 0;
}
#else
double check_limit_fma(uint32_t flags)
{
    (void)flags;
    return 0;
}

double check_limit_dot(uint32_t flags)
{
    (void)flags;
    return 0;
}
#endif
