/* Nobody computes while the engine waits for the disk: over a disk whose reads all take long, the
 * processor time of the whole process (workers of the pool and threads of the I/O engine among it)
 * during the waits is next to nothing. A thread that spun would take as long as the wait.
 *
 * Time on the processor does not grow with the load of the machine, so this holds on a busy one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "support/engines.h"

#define LATENCY_US 25000
#define THREADS 4
#define TOKENS 6       /* a prompt of 3, the others one by one */
#define SHARE_MAX 0.03 /* of one thread: pool workers spin 20 us of a wait before they sleep */

/* Another engine, whose completions come LATENCY_US after their submission. */
typedef struct slow_disk {
    sluice_io io; /* first: the engine's view */
    sluice_io *inner;
    uint64_t due_us[SLUICE_IO_DEPTH_MAX]; /* of reads in flight */
    sluice_io_done held[SLUICE_IO_DEPTH_MAX];
    int n; /* in flight; those of inner come first out first in, it does not matter which is which
            */
    double slept_s, busy_s; /* in waits, and of the processors during them */
    int waits;
} slow_disk;

static double process_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static sluice_status slow_add_file(sluice_io *io, const char *path, int32_t *file,
                                   sluice_error *err)
{
    sluice_io *inner = ((slow_disk *)(void *)io)->inner;
    return inner->add_file(inner, path, file, err);
}

/* Reads for real at once, and keeps what came until it is due. */
static int slow_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    slow_disk *disk = (slow_disk *)(void *)io;
    const int taken = disk->inner->submit(disk->inner, reads, n);
    for (int done = 0; done < taken;)
        done +=
            disk->inner->wait(disk->inner, disk->held + disk->n + done, taken - done, taken - done);
    for (int i = 0; i < taken; i++)
        disk->due_us[disk->n++] = sluice_clock_us() + LATENCY_US;
    return taken;
}

static void sleep_until(slow_disk *disk, uint64_t due_us)
{
    const double busy = process_seconds();
    const uint64_t start = sluice_clock_us();
    for (uint64_t now; (now = sluice_clock_us()) < due_us;) {
        const struct timespec left = {0, (long)(due_us - now) * 1000};
        nanosleep(&left, NULL);
    }
    disk->slept_s += (double)(sluice_clock_us() - start) * 1e-6;
    disk->busy_s += process_seconds() - busy;
    disk->waits++;
}

/* Oldest first, as they are due. */
static int slow_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    slow_disk *disk = (slow_disk *)(void *)io;
    int n = 0;
    while (n < max && n < disk->n) {
        if (disk->due_us[n] > sluice_clock_us()) {
            if (n >= min) break;
            sleep_until(disk, disk->due_us[n]);
        }
        done[n] = disk->held[n];
        n++;
    }
    disk->n -= n;
    memmove(disk->held, disk->held + n, (size_t)disk->n * sizeof *disk->held);
    memmove(disk->due_us, disk->due_us + n, (size_t)disk->n * sizeof *disk->due_us);
    return n;
}

static void slow_free(sluice_io *io)
{
    (void)io;
}

static sluice_status count_rows(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)input, (void)token, (void)logits;
    (*(int32_t *)context)++;
    return SLUICE_OK;
}

static void run_over(slow_disk *disk, sluice_io *inner)
{
    static const int32_t ids[TOKENS] = {8134, 324, 2831, 17, 902, 44};
    sluice_engine_options options = engines_options();
    sluice_engine *engine;
    sluice_error err = {0};
    int32_t rows = 0;
    *disk = (slow_disk){.io = {.name = inner->name,
                               .add_file = slow_add_file,
                               .submit = slow_submit,
                               .wait = slow_wait,
                               .capacity = inner->capacity,
                               .free = slow_free},
                        .inner = inner};
    options.threads = THREADS;
    options.cache_bytes = 1 << 20;
    if (sluice_engine_open_over(NULL, &options, &disk->io, &engine, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    sluice_session *session = engines_session(engine);
    for (int32_t i = 0; i < TOKENS; i += i ? 1 : 3) {
        const int32_t n = i ? 1 : 3;
        const sluice_input input = {session, ids + i, n, n - 1};
        engines_step(engine, &input, 1, count_rows, &rows);
    }
    assert_true(rows > 0);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void check(const char *name, sluice_io *inner)
{
    static slow_disk disk;
    run_over(&disk, inner);
    inner->free(inner);
    print_message("%s: %d waits of %.2f s, %.1f ms of processor in them\n", name, disk.waits,
                  disk.slept_s, disk.busy_s * 1e3);
    assert_true(disk.slept_s > 0.3);
    if (disk.busy_s > SHARE_MAX * disk.slept_s)
        fail_msg("%s: %.1f ms of processor time in %.2f s of waiting", name, disk.busy_s * 1e3,
                 disk.slept_s);
}

static void nobody_spins_beside_io_uring(void **state)
{
    sluice_io *io;
    (void)state;
    if (sluice_io_uring_new(16, &io, NULL) != SLUICE_OK) {
        print_message("*** SKIPPED: no io_uring here\n");
        skip();
    }
    check("uring", io);
}

static void nobody_spins_beside_reading_threads(void **state)
{
    sluice_io *io;
    (void)state;
    assert_int_equal(sluice_io_pread_new(16, true, &io, NULL), SLUICE_OK);
    check("pread", io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_spins_beside_io_uring),
        cmocka_unit_test(nobody_spins_beside_reading_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
