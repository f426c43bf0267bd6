/* Worker threads that share out numbered tasks.
 *
 * The operation under way is one 64-bit word: its number of tasks above the next task. A task is
 * taken by adding one to that word, which never fails, however many threads do it at once; what the
 * word was before says at the same moment which task that is and whether there is one. Function and
 * context are written before the word and stay until every task has been reported, so who got a
 * task reads its own operation's, and a worker that wakes late gets one of the operation that is
 * under way by then, or none. Hence run need not wait for sleeping workers, only for tasks.
 *
 * Workers that sleep are woken as a tree, each by another worker while there are tasks left, so the
 * caller pays for one wake-up and not for dozens.
 *
 * It does not steal, nest or queue operations: one run at a time, from one thread. */
#include "base/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/* Long enough to bridge the serial stretch between two operations of a layer (a few microseconds),
 * short enough to be nothing beside a disk read (a millisecond). */
#define SPIN_US 20
#define THREADS_MAX 1024
#define WOKEN_AT_ONCE 2

typedef struct pool_worker {
    sluice_pool *pool;
    pthread_t thread;
    int index;
} pool_worker;

struct sluice_pool {
    /* Written by the caller before state announces them. */
    _Alignas(64) _Atomic(sluice_pool_fn) fn;
    _Atomic(void *) context;
    _Alignas(64) _Atomic uint64_t state; /* tasks << 32 | next task */
    _Alignas(64) atomic_uint done;       /* finished tasks; the caller sleeps on it */
    atomic_bool caller_sleeps;
    _Alignas(64) atomic_uint wake; /* counts operations; workers sleep on it */
    atomic_int sleepers;
    atomic_bool stop;
    int threads;
    pool_worker *workers; /* [threads]; entry 0 is the caller, without a thread */
};

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool has_tasks(uint64_t state)
{
    return (uint32_t)state < (uint32_t)(state >> 32);
}

/* Takes and runs tasks of the operation under way until none is left; then reports those that it
 * finished. The last report wakes the caller if it went to sleep. */
static void work(sluice_pool *pool, int worker)
{
    unsigned ran = 0, tasks = 0;
    /* A look first: who comes too late leaves the word to those who still work. */
    while (has_tasks(atomic_load_explicit(&pool->state, memory_order_relaxed))) {
        uint64_t state = atomic_fetch_add_explicit(&pool->state, 1, memory_order_acq_rel);
        if (!has_tasks(state)) break;
        sluice_pool_fn fn = atomic_load_explicit(&pool->fn, memory_order_relaxed);
        void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
        fn(context, (int32_t)(uint32_t)state, worker);
        tasks = (unsigned)(state >> 32);
        ran++;
    }
    if (!ran) return;
    unsigned before = atomic_fetch_add(&pool->done, ran);
    if (before + ran == tasks && atomic_load(&pool->caller_sleeps)) futex_wake(&pool->done, 1);
}

/* Wakes some of those that sleep, if there are any and there is something to do. */
static void wake_some(sluice_pool *pool)
{
    if (atomic_load(&pool->sleepers) > 0 && has_tasks(atomic_load(&pool->state)))
        futex_wake(&pool->wake, WOKEN_AT_ONCE);
}

/* Spins until the word differs from value, at most SPIN_US. */
static bool spin_until_changed(atomic_uint *word, unsigned value)
{
    uint64_t end = 0;
    for (int i = 1;; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value) return true;
        relax();
        if (i % 16) continue;
        uint64_t now = sluice_clock_us();
        if (!end) end = now + SPIN_US;
        if (now >= end) return false;
    }
}

static void *worker_main(void *argument)
{
    pool_worker *self = argument;
    sluice_pool *pool = self->pool;
    for (;;) {
        unsigned seen = atomic_load(&pool->wake);
        if (atomic_load(&pool->stop)) return NULL;
        work(pool, self->index);
        if (spin_until_changed(&pool->wake, seen)) continue;
        atomic_fetch_add(&pool->sleepers, 1);
        futex_wait(&pool->wake, seen); /* returns at once if wake has changed meanwhile */
        atomic_fetch_sub(&pool->sleepers, 1);
        wake_some(pool);
    }
}

static int start_worker(pool_worker *worker, const int *cpus)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (cpus && cpus[worker->index] >= 0 && cpus[worker->index] < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpus[worker->index], &set);
        pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    }
    int error = pthread_create(&worker->thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    return error;
}

sluice_status sluice_pool_new(int threads, const int *cpus, sluice_pool **out, sluice_error *err)
{
    if (threads < 1 || threads > THREADS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d threads: must be 1 to %d", threads, THREADS_MAX);
    sluice_pool *pool = aligned_alloc(64, sizeof *pool);
    pool_worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a pool of %d threads", threads);
    }
    memset(pool, 0, sizeof *pool);
    pool->workers = workers;
    pool->threads = 1;

    /* Signals are for the caller's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    for (; pool->threads < threads && !error; pool->threads += !error) {
        workers[pool->threads].pool = pool;
        workers[pool->threads].index = pool->threads;
        error = start_worker(&workers[pool->threads], cpus);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        int got = pool->threads;
        sluice_pool_free(pool);
        return sluice_fail(err, error == EINVAL ? SLUICE_USAGE : SLUICE_NO_MEMORY,
                           "thread %d of %d could not be started: %s", got + 1, threads,
                           strerror(error));
    }
    *out = pool;
    return SLUICE_OK;
}

void sluice_pool_free(sluice_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->wake, 1);
    futex_wake(&pool->wake, INT_MAX);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

int sluice_pool_threads(const sluice_pool *pool)
{
    return pool->threads;
}

/* Waits until all tasks have been reported, spinning first. */
static void wait_for_tasks(sluice_pool *pool, unsigned tasks)
{
    for (;;) {
        unsigned done = atomic_load_explicit(&pool->done, memory_order_acquire);
        if (done == tasks) return;
        if (spin_until_changed(&pool->done, done)) continue;
        atomic_store(&pool->caller_sleeps, true);
        if (atomic_load(&pool->done) == done) futex_wait(&pool->done, done);
        atomic_store(&pool->caller_sleeps, false);
    }
}

void sluice_pool_run(sluice_pool *pool, sluice_pool_fn fn, void *context, int32_t tasks)
{
    if (pool->threads == 1 || tasks <= 1) {
        for (int32_t task = 0; task < tasks; task++)
            fn(context, task, 0);
        return;
    }
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store(&pool->state, (uint64_t)tasks << 32);
    atomic_fetch_add(&pool->wake, 1);
    wake_some(pool);
    work(pool, 0);
    wait_for_tasks(pool, (unsigned)tasks);
}
