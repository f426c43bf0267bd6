/* The speed of memory when all threads stream (sluice/machine.h): what decoding with everything
 * resident is bounded by. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/status.h"
#include "os/memory_limit.h"
#include "os/topology.h"
#include "sluice/machine.h"

#define TAG "memory probe"
#define BUFFER_BYTES ((size_t)256 << 20) /* many times any last-level cache of a client machine */
#define CACHES 4 /* what is read, in caches of a server: of some virtual machines 300 MB */
#define TASK_BYTES ((size_t)1 << 20)

/* 64 bytes: one register of the widest machines, several of the others. */
typedef uint64_t line __attribute__((vector_size(64)));

typedef struct streaming {
    const unsigned char *buffer;
    size_t bytes;
    line sums[SLUICE_PROCESSORS_MAX]; /* so that nothing can be left out */
} streaming;

/* Four independent sums, of several registers each, hide the latency of the additions. */
static void read_task(void *context, int32_t task, int worker)
{
    streaming *work = context;
    const line *at = (const line *)(const void *)(work->buffer + (size_t)task * TASK_BYTES);
    const line *end = at + TASK_BYTES / sizeof *at;
    line a = {0}, b = {0}, c = {0}, d = {0};
    for (; at < end; at += 4) {
        a += at[0];
        b += at[1];
        c += at[2];
        d += at[3];
    }
    work->sums[worker] += a + b + c + d;
}

/* The fastest of the passes: what else runs on the machine only ever makes it slower. */
static double stream(sluice_pool *pool, streaming *work, double seconds)
{
    uint64_t start = sluice_clock_ns(), now = start, best_ns = UINT64_MAX;
    do {
        uint64_t begin = now;
        sluice_pool_run(pool, read_task, work, (int32_t)(work->bytes / TASK_BYTES));
        now = sluice_clock_ns();
        if (now - begin < best_ns) best_ns = now - begin;
    } while ((double)(now - start) * 1e-9 < seconds);
    return (double)work->bytes / ((double)best_ns * 1e-9);
}

/* A cache that holds much of the buffer would be measured instead of memory. */
static size_t choose_bytes(const sluice_topology *topology)
{
    sluice_memory_limit limit;
    uint64_t bytes = CACHES * topology->cache_bytes / TASK_BYTES * TASK_BYTES;
    if (sluice_memory_limit_get("", &limit, NULL) != SLUICE_OK) return BUFFER_BYTES;
    const uint64_t room = limit.usable_bytes / 2 / TASK_BYTES * TASK_BYTES;
    if (bytes > room) bytes = room;
    return bytes > BUFFER_BYTES ? (size_t)bytes : BUFFER_BYTES;
}

sluice_status sluice_measure_memory(int threads, double seconds, double *bytes_per_second,
                                    sluice_error *err)
{
    sluice_pool *pool;
    void *memory;
    sluice_topology topology;
    sluice_topology_get("", &topology);
    if (threads <= 0) threads = topology.threads;
    if (threads > SLUICE_PROCESSORS_MAX) threads = SLUICE_PROCESSORS_MAX;
    streaming *work = aligned_alloc(_Alignof(streaming), sizeof *work);
    if (!work) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the memory probe");
    memset(work, 0, sizeof *work);
    work->bytes = choose_bytes(&topology);
    sluice_status status = sluice_pool_new(threads, NULL, &pool, err);
    if (status == SLUICE_OK) {
        status = sluice_memory_new(NULL, work->bytes, TAG, &memory, err);
        if (status == SLUICE_OK) {
            memset(memory, 1, work->bytes);
            work->buffer = memory;
            *bytes_per_second = stream(pool, work, seconds);
            sluice_memory_free(NULL, memory, work->bytes, TAG);
        }
        sluice_pool_free(pool);
    }
    free(work);
    return status;
}
