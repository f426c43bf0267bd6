/* What decoding asks of a mixer's memory: a row of attention over a long cache, and a step of the
 * delta rule over many heads' states, each worker with its own, out of memory.
 *
 * Usage: bench_mixers [THREADS]. Sizes are those of the 397B: a group of 16 query heads of 256 over
 * 32768 positions, and states of 128 x 128. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "kernels/cpu_backend.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "os/cpu.h"
#include "os/topology.h"

enum { POSITIONS = 32768, CHUNK = 1024, GROUP = 16, HEAD = 256 };
enum { STATES = 768, STATE = 128, REPETITIONS = 5 };

typedef struct mixers {
    const sluice_ops *ops;
    sluice_kernels kernels;
    sluice_kv_type kv;
    unsigned char *memory; /* [threads], of `each` bytes */
    size_t each;
    float *scratch; /* [threads], of SCRATCH floats */
} mixers;

/* int8's codes take no more than the wide keys of f16. */
enum { SCRATCH = GROUP * (2 * HEAD + 64 + 2) + 64 * HEAD + 4 * STATE };

static void attention_task(void *context, int32_t task, int worker)
{
    const mixers *m = context;
    float *at = m->scratch + (size_t)task * SCRATCH;
    const unsigned char *k = m->memory + (size_t)task * m->each;
    const size_t bytes = POSITIONS * sluice_kv_bytes(m->kv, HEAD);
    (void)worker;
    sluice_attention_tile tile = {.rows = 1,
                                  .group = GROUP,
                                  .head_dim = HEAD,
                                  .limit = POSITIONS,
                                  .kv = m->kv,
                                  .k = k,
                                  .v = k + bytes,
                                  .q = at,
                                  .sums.acc = at + GROUP * HEAD,
                                  .scores = at + 2 * GROUP * HEAD,
                                  .wide = at + 2 * GROUP * HEAD + GROUP * 64,
                                  .codes = at + 2 * GROUP * HEAD + GROUP * 64};
    tile.sums.max = tile.wide + 64 * HEAD;
    tile.sums.sum = tile.sums.max + GROUP;
    for (tile.begin = 0; tile.begin < POSITIONS; tile.begin += CHUNK) {
        tile.end = tile.begin + CHUNK;
        if (m->kv == SLUICE_KV_INT8)
            m->kernels.attention_q8(&tile);
        else
            m->ops->attention(&tile);
    }
}

static void delta_task(void *context, int32_t task, int worker)
{
    const mixers *m = context;
    float *at = m->scratch + (size_t)task * SCRATCH, gate = -0.01f, beta = 0.5f;
    float *states = (float *)(void *)(m->memory + (size_t)task * m->each);
    (void)worker;
    for (int i = 0; i < STATES; i++) {
        float *s = states + (size_t)i * STATE * STATE;
        const sluice_gdn_head head = {.rows = 1,
                                      .k_dim = STATE,
                                      .v_dim = STATE,
                                      .q = at,
                                      .k = at + STATE,
                                      .v = at + 2 * STATE,
                                      .o = at + 3 * STATE,
                                      .g = &gate,
                                      .beta = &beta,
                                      .s = s,
                                      .ahead = i + 1 < STATES ? s + STATE * STATE : NULL};
        m->ops->gdn_step(&head);
    }
}

static int die(const char *detail)
{
    fprintf(stderr, "bench_mixers: %s\n", detail);
    exit(1);
}

/* bytes and products of one task; the quickest repetition after one that does not count. */
static void measure(sluice_pool *pool, sluice_pool_fn task, mixers *m, const char *what,
                    double bytes, double products)
{
    const int threads = sluice_pool_threads(pool);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i <= REPETITIONS; i++) {
        const uint64_t start = sluice_clock_ns();
        sluice_pool_run(pool, task, m, threads);
        const uint64_t took = sluice_clock_ns() - start;
        if (i && took < best) best = took;
    }
    printf("%s,%d,%.3f,%.1f,%.1f\n", what, threads, (double)best * 1e-6,
           bytes * threads / (double)best, products * threads / (double)best);
}

/* Codes of all kinds, and scales that keep scores small. */
static void fill_int8(mixers *m, int threads)
{
    m->kv = SLUICE_KV_INT8;
    const size_t block = SLUICE_KV_BLOCK * sluice_kv_bytes(m->kv, HEAD);
    for (int t = 0; t < threads; t++) {
        for (size_t i = 0; i < (size_t)2 * POSITIONS / SLUICE_KV_BLOCK; i++) {
            unsigned char *at = m->memory + (size_t)t * m->each + i * block;
            const size_t codes = (size_t)SLUICE_KV_BLOCK * HEAD;
            for (size_t j = 0; j < codes; j++)
                at[j] = (unsigned char)(1 + (i * 7 + j * 11) % 255);
            for (int j = 0; j < SLUICE_KV_BLOCK; j++) {
                const float scale = 1e-3f * (float)(1 + j);
                memcpy(at + codes + (size_t)j * sizeof scale, &scale, sizeof scale);
            }
        }
    }
}

int main(int argc, char **argv)
{
    sluice_topology topology;
    sluice_error err = {0};
    sluice_pool *pool;
    void *memory, *scratch;
    uint32_t flags;
    sluice_topology_get("", &topology);
    const int threads = argc > 1 ? atoi(argv[1]) : topology.threads;
    mixers m = {.each = (size_t)2 * POSITIONS * HEAD * sizeof(float)};
    const size_t floats = (size_t)threads * SCRATCH;
    if (sluice_cpu_flags_parse("auto", &flags, &err) ||
        sluice_pool_new(threads, NULL, &pool, &err) ||
        sluice_memory_new(NULL, m.each * (size_t)threads, "mixers", &memory, &err) ||
        sluice_memory_new(NULL, floats * sizeof(float), "scratch", &scratch, &err))
        return die(err.detail);
    m.ops = sluice_ops_choose(flags);
    sluice_kernels_select(flags, &m.kernels);
    m.memory = memory;
    m.scratch = scratch;
    for (size_t i = 0; i < floats; i++)
        m.scratch[i] = (float)(i % 100) * 1e-4f;
    float *values = memory;
    for (size_t i = 0; i < m.each * (size_t)threads / sizeof *values; i++)
        values[i] = (float)(i % 1000) * 1e-4f;
    const double elements = 2.0 * POSITIONS * HEAD, states = (double)STATES * STATE * STATE;
    puts("what,threads,ms,gb_s,billion_products_s");
    measure(pool, attention_task, &m, "attention f32", elements * 4, elements * GROUP);
    measure(pool, delta_task, &m, "delta rule (state read and written)", states * 8, states * 3);
    uint16_t *halves = memory;
    for (size_t i = 0; i < m.each * (size_t)threads / sizeof *halves; i++)
        halves[i] = (uint16_t)(0x2000 + i % 2000);
    m.kv = SLUICE_KV_F16;
    measure(pool, attention_task, &m, "attention f16", elements * 2, elements * GROUP);
    fill_int8(&m, threads);
    measure(pool, attention_task, &m, "attention int8",
            2.0 * POSITIONS * (double)sluice_kv_bytes(m.kv, HEAD), elements * GROUP);
    sluice_memory_free(NULL, memory, m.each * (size_t)threads, "mixers");
    sluice_memory_free(NULL, scratch, floats * sizeof(float), "scratch");
    sluice_pool_free(pool);
    return 0;
}
