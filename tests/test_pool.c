/* The thread pool: every task once, results visible, no dependence on the number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pool.h"

#define TASKS_MAX 3000

typedef struct count_context {
    uint32_t round;
    int threads;
    uint32_t marks[TASKS_MAX]; /* plain: a second runner of a task, or a late one, is a data race */
    int bad_worker;
} count_context;

static void count_task(void *context, int32_t task, int worker)
{
    count_context *c = context;
    c->marks[task] += c->round;
    if (worker < 0 || worker >= c->threads) c->bad_worker = 1;
}

static void every_task_runs_once_whatever_the_threads_and_tasks(void **state)
{
    (void)state;
    static const int thread_counts[] = {1, 2, 3, 4, 9};
    static count_context c;
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        sluice_pool *pool;
        assert_int_equal(sluice_pool_new(thread_counts[t], NULL, &pool, NULL), SLUICE_OK);
        assert_int_equal(sluice_pool_threads(pool), thread_counts[t]);
        memset(&c, 0, sizeof c);
        c.threads = thread_counts[t];
        uint32_t expected[TASKS_MAX] = {0};
        for (uint32_t round = 1; round <= 2000; round++) {
            int tasks = (int)(round % 37 ? round % 23 : round % TASKS_MAX);
            c.round = round;
            sluice_pool_run(pool, count_task, &c, tasks);
            for (int i = 0; i < tasks; i++)
                expected[i] += round;
            for (int i = 0; i < tasks; i++)
                assert_int_equal(c.marks[i], expected[i]);
            if (round % 500 == 0) usleep(2000); /* lets the workers fall asleep */
        }
        assert_memory_equal(c.marks, expected, sizeof expected);
        assert_int_equal(c.bad_worker, 0);
        sluice_pool_free(pool);
    }
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle_workers_sleep(void **state)
{
    (void)state;
    static count_context c;
    sluice_pool *pool;
    assert_int_equal(sluice_pool_new(4, NULL, &pool, NULL), SLUICE_OK);
    c.threads = 4;
    c.round = 1;
    sluice_pool_run(pool, count_task, &c, 100);
    usleep(20000);
    double before = cpu_seconds();
    usleep(200000);
    assert_true(cpu_seconds() - before < 0.02);
    sluice_pool_free(pool);
}

static void slow_task(void *context, int32_t task, int worker)
{
    (void)worker;
    usleep(task == 0 ? 30000 : 100);
    ((int *)context)[task]++;
}

static void caller_sleeps_while_a_worker_finishes(void **state)
{
    (void)state;
    sluice_pool *pool;
    assert_int_equal(sluice_pool_new(3, NULL, &pool, NULL), SLUICE_OK);
    for (int i = 0; i < 5; i++) {
        int ran[8] = {0};
        sluice_pool_run(pool, slow_task, ran, 8);
        for (int task = 0; task < 8; task++)
            assert_int_equal(ran[task], 1);
    }
    sluice_pool_free(pool);
}

static void bad_arguments_are_refused_with_nothing_to_clean_up(void **state)
{
    (void)state;
    sluice_pool *pool = NULL;
    sluice_error err;
    const int nowhere[] = {0, 1023};
    assert_int_equal(sluice_pool_new(0, NULL, &pool, &err), SLUICE_USAGE);
    assert_int_equal(sluice_pool_new(100000, NULL, &pool, &err), SLUICE_USAGE);
    assert_int_equal(sluice_pool_new(2, nowhere, &pool, &err), SLUICE_USAGE);
    assert_null(pool);
    sluice_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_whatever_the_threads_and_tasks),
        cmocka_unit_test(idle_workers_sleep),
        cmocka_unit_test(caller_sleeps_while_a_worker_finishes),
        cmocka_unit_test(bad_arguments_are_refused_with_nothing_to_clean_up),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
