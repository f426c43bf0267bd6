/* A pool of worker threads with cheap barriers.
 *
 * A parallel operation is a number of tasks that does not depend on the number of threads; workers
 * and the caller take tasks from a counter until none is left. What a task computes is fixed by its
 * index alone, so results never depend on the thread count. Workers spin for a few microseconds
 * after an operation and then sleep on a futex: nobody spins while the engine waits for the disk.
 *
 * One thread at a time may call run. */
#ifndef SLUICE_BASE_POOL_H
#define SLUICE_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sluice_pool sluice_pool;

/* threads >= 1 counts the caller. cpus, if not NULL, has one processor number per thread to pin to
 * (the caller's own affinity is left alone). */
sluice_status sluice_pool_new(int threads, const int *cpus, sluice_pool **out, sluice_error *err);
void sluice_pool_free(sluice_pool *pool);
int sluice_pool_threads(const sluice_pool *pool);

/* Calls fn(context, task, worker) for every task in [0, tasks), worker in [0, threads), and returns
 * when all are done; everything written by the tasks is then visible to the caller. */
typedef void (*sluice_pool_fn)(void *context, int32_t task, int worker);
void sluice_pool_run(sluice_pool *pool, sluice_pool_fn fn, void *context, int32_t tasks);

#endif
