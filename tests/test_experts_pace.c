/* How many guesses are under way at once, by the pace of the disk: on one that brings what it was
 * asked for one by one, and on one that brings it all together, as hypervisors do that raise one
 * interrupt for a queue of reads.
 *
 * The disk takes READ_US for each read, by sleeping. A machine that others use makes pauses longer,
 * never a read shorter: the bounds hold as long as a pause of nothing takes less than half of the
 * time that the guesses would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "experts/experts.h"

#define BLOCK SLUICE_IO_ALIGN
#define LAYERS 6
#define COUNT 16
#define WANTED 4
#define GUESSED 12
#define READ_US 4000

typedef struct steady_disk {
    sluice_io io; /* first: the cache's view */
    bool together;
    uint64_t users[SLUICE_IO_DEPTH_MAX];
    int n;            /* in flight, oldest first */
    uint64_t busy_us; /* until when it is at work on the first of them, or on all if together */
} steady_disk;

static sluice_status disk_add_file(sluice_io *io, const char *path, int32_t *file,
                                   sluice_error *err)
{
    (void)io, (void)path, (void)err;
    *file = 0;
    return SLUICE_OK;
}

static int disk_submit(sluice_io *io, const sluice_io_read *reads, int n)
{
    steady_disk *disk = (steady_disk *)(void *)io;
    if (!disk->n) disk->busy_us = sluice_clock_us() + (disk->together ? 0 : READ_US);
    for (int i = 0; i < n; i++) {
        memset(reads[i].buffer, 1, reads[i].bytes);
        disk->users[disk->n++] = reads[i].user;
        if (disk->together) disk->busy_us += READ_US;
    }
    return n;
}

static void sleep_until(uint64_t us)
{
    for (uint64_t now; (now = sluice_clock_us()) < us;)
        nanosleep(&(struct timespec){.tv_nsec = (long)(us - now) * 1000}, NULL);
}

static int disk_wait(sluice_io *io, sluice_io_done *done, int min, int max)
{
    steady_disk *disk = (steady_disk *)(void *)io;
    int n = 0;
    while (disk->n && n < max && (n < min || sluice_clock_us() >= disk->busy_us)) {
        sleep_until(disk->busy_us);
        const int brought = disk->together && disk->n < max ? disk->n : 1;
        for (int i = 0; i < brought; i++)
            done[n++] = (sluice_io_done){.user = disk->users[i]};
        disk->n -= brought;
        memmove(disk->users, disk->users + brought, (size_t)disk->n * sizeof *disk->users);
        disk->busy_us += READ_US;
    }
    return n;
}

static void take_all(sluice_experts *experts, int32_t layer)
{
    static const int32_t wanted[WANTED] = {0, 1, 2, 3};
    int32_t id;
    const void *record;
    sluice_experts_request(experts, layer, wanted, WANTED, SLUICE_EXPERTS_DEMAND);
    while (sluice_experts_next(experts, &id, &record, NULL) == SLUICE_OK && id >= 0)
        sluice_experts_release(experts, layer, id);
}

/* Guesses that are begun at once when a layer follows the one before without a pause. */
static uint64_t guesses_begun(bool together)
{
    steady_disk disk = {.io = {.name = "steady",
                               .add_file = disk_add_file,
                               .submit = disk_submit,
                               .wait = disk_wait,
                               .capacity = 32},
                        .together = together};
    sluice_experts_layer layers[LAYERS];
    for (int i = 0; i < LAYERS; i++)
        layers[i] =
            (sluice_experts_layer){.path = "file", .stride = BLOCK, .bytes = BLOCK, .count = COUNT};
    const sluice_experts_options options = {.layers = layers,
                                            .n_layers = LAYERS,
                                            .cache_bytes = LAYERS * COUNT * BLOCK,
                                            .slots_min = WANTED,
                                            .io_engine = &disk.io};
    sluice_experts *experts;
    assert_int_equal(sluice_experts_open(&options, &experts, NULL), SLUICE_OK);
    for (int32_t layer = 0; layer + 1 < LAYERS; layer++)
        take_all(experts, layer);
    int32_t guessed[GUESSED];
    for (int i = 0; i < GUESSED; i++)
        guessed[i] = i;
    sluice_experts_request(experts, LAYERS - 1, guessed, GUESSED, SLUICE_EXPERTS_LOOKAHEAD);
    sluice_experts_stats stats;
    sluice_experts_stats_get(experts, &stats);
    sluice_experts_close(experts);
    return stats.lookahead_reads;
}

static void no_more_guesses_are_begun_than_the_pause_between_layers_has_time_for(void **state)
{
    (void)state;
    assert_in_range(guesses_begun(false), 0, GUESSED / 2);
}

static void reads_that_arrive_all_at_once_took_their_time_too(void **state)
{
    (void)state;
    assert_in_range(guesses_begun(true), 0, GUESSED / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_guesses_are_begun_than_the_pause_between_layers_has_time_for),
        cmocka_unit_test(reads_that_arrive_all_at_once_took_their_time_too),
    };
    return cmocka_run_group_tests_name("experts_pace", tests, NULL, NULL);
}
