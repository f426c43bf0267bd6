/* Nothing allocates after opening: every call of malloc and its kin is counted, on all threads,
 * while experts are requested, guessed, evicted, retried and abandoned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "experts/experts.h"
#include "experts/policy.h"
#include "io/sim.h"
#include "os/file.h"

#define BLOCK 4096
#define COUNT 40

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTED 0
#endif
#endif
#ifndef COUNTED
#ifdef __GLIBC__
#define COUNTED 1
#else
#define COUNTED 0
#endif
#endif

static atomic_long allocations;

#if COUNTED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    allocations++;
    return __libc_calloc(n, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocations++;
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    allocations++;
    return __libc_memalign(alignment, bytes);
}
#endif

/* A hundred layers' worth of everything that an engine does; errors are part of it. */
static void work(sluice_experts *experts, sluice_rng *rng)
{
    for (int step = 0; step < 100; step++) {
        int32_t ids[12], guesses[4], id;
        const void *record;
        int32_t first = (int32_t)sluice_rng_below(rng, COUNT);
        for (int32_t i = 0; i < 12; i++)
            ids[i] = (first + i * 3) % COUNT;
        for (int32_t i = 0; i < 4; i++)
            guesses[i] = (first + i * 5) % COUNT;
        sluice_experts_request(experts, 0, ids, 12, SLUICE_EXPERTS_DEMAND);
        sluice_experts_request(experts, 1, guesses, 4, SLUICE_EXPERTS_LOOKAHEAD);
        sluice_error err;
        while (sluice_experts_next(experts, &id, &record, &err) == SLUICE_OK && id >= 0) {
            sluice_experts_release(experts, 0, id);
            if (sluice_rng_below(rng, 50) == 0) sluice_experts_abandon(experts);
        }
    }
    sluice_experts_settle(experts);
}

static void open_and_work(const sluice_experts_layer *layers, const char *engine, sluice_io *io,
                          const char *policy)
{
    const sluice_experts_options options = {.layers = layers,
                                            .n_layers = 2,
                                            .cache_bytes = 16 * BLOCK,
                                            .slots_min = 4,
                                            .io = engine,
                                            .io_engine = io,
                                            .policy = policy};
    sluice_experts *experts;
    if (sluice_experts_open(&options, &experts, NULL) != SLUICE_OK) return; /* no io_uring here */
    sluice_rng rng;
    sluice_rng_seed(&rng, 3);
    long before = allocations;
    work(experts, &rng);
    assert_int_equal(allocations - before, 0);
    sluice_experts_stats stats;
    sluice_experts_stats_get(experts, &stats);
    assert_true(stats.hits && stats.misses && stats.evictions && stats.lookahead_reads);
    sluice_experts_close(experts);
}

static void nothing_allocates_after_opening(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-test-allocation-XXXXXX";
    static char content[COUNT * BLOCK];
    long before = allocations;
    void *volatile probe = malloc(1);
    free(probe);
    assert_true(allocations > before); /* the counter works */
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(sluice_file_write(fd, path, 0, content, sizeof content, NULL), SLUICE_OK);
    sluice_file_close(fd);
    const sluice_experts_layer layer = {path, 0, BLOCK, BLOCK, COUNT, NULL, NULL, 0};
    const sluice_experts_layer layers[2] = {layer, layer};

    static const char *const engines[] = {"uring", "pread", "buffered", "mmap"};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        open_and_work(layers, engines[i], NULL, NULL);
    for (const char *const *policy = sluice_cache_policy_names(); *policy; policy++) {
        sluice_io *io;
        const sluice_io_sim_options disk = {
            .seed = 1, .depth = 6, .latency_max = 30, .error_permille = 50, .bad_permille = 20};
        assert_int_equal(sluice_io_sim_new(&disk, &io, NULL), SLUICE_OK);
        open_and_work(layers, NULL, io, *policy);
        io->free(io);
    }
    unlink(path);
}

int main(void)
{
#if !COUNTED
    print_message("skipped: allocations cannot be counted under sanitizers\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_allocates_after_opening),
    };
    return cmocka_run_group_tests_name("experts_allocation", tests, NULL, NULL);
}
