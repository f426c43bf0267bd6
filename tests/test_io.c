/* The I/O engines: all give the same bytes in any order, report errors, and sleep while they wait.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "io/io.h"
#include "io/sim.h"
#include "os/file.h"
#include "os/folder.h"

#define BLOCK SLUICE_IO_ALIGN
#define BLOCKS 700 /* of the test file, which ends in a ragged block more */
#define TAIL 100
#define READ_MAX 40 /* blocks */
#define DEPTH_MAX 16

static const char *const engines[] = {"uring", "pread", "buffered", "mmap", "sim", "auto"};
#define N_ENGINES (sizeof engines / sizeof *engines)

static char folder[] = "/tmp/sluice-test-io-XXXXXX";
static char path[PATH_MAX];
static uint8_t *content;

static int make_file(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    size_t bytes = BLOCKS * BLOCK + TAIL;
    content = malloc(bytes);
    if (!content) return -1;
    sluice_rng rng;
    sluice_rng_seed(&rng, 7);
    for (size_t i = 0; i < bytes; i++)
        content[i] = (uint8_t)sluice_rng_next(&rng);
    return sluice_file_save(path, content, bytes, NULL) == SLUICE_OK ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    free(content);
    return sluice_folder_remove_tree(folder, NULL) == SLUICE_OK ? 0 : -1;
}

/* NULL where this machine lacks the engine (io_uring in some containers). */
static sluice_io *open_engine(const char *name, int depth, uint64_t seed)
{
    sluice_io *io;
    sluice_error err = {0};
    sluice_status status;
    if (!strcmp(name, "sim")) {
        const sluice_io_sim_options options = {
            .seed = seed, .depth = depth, .latency_max = 50, .short_permille = 200};
        status = sluice_io_sim_new(&options, &io, &err);
    } else {
        status = sluice_io_open(name, depth, path, &io, &err);
    }
    if (status == SLUICE_UNSUPPORTED && !strcmp(name, "uring")) {
        print_message("uring is not there: %s\n", err.detail);
        return NULL;
    }
    if (status != SLUICE_OK) fail_msg("%s: %s", name, err.detail);
    return io;
}

/* Random reads at random depth until total have come back; checks every byte. */
static void read_randomly(sluice_io *io, int32_t file, int total, sluice_rng *rng, char *memory)
{
    sluice_io_read reads[DEPTH_MAX];
    bool busy[DEPTH_MAX] = {false};
    int issued = 0, finished = 0, in_flight = 0;
    while (finished < total) {
        sluice_io_read batch[DEPTH_MAX];
        int n = 0, want = (int)sluice_rng_below(rng, DEPTH_MAX);
        for (int i = 0; i < io->capacity && n < want && issued + n < total; i++) {
            if (busy[i]) continue;
            size_t blocks = 1 + sluice_rng_below(rng, READ_MAX);
            reads[i] = (sluice_io_read){.file = file,
                                        .offset = sluice_rng_below(rng, BLOCKS - blocks) * BLOCK,
                                        .bytes = blocks * BLOCK,
                                        .buffer = memory + (size_t)i * READ_MAX * BLOCK,
                                        .user = (uint64_t)i,
                                        .untouched = sluice_rng_below(rng, 4) == 0};
            batch[n++] = reads[i];
        }
        int taken = io->submit(io, batch, n);
        assert_in_range(taken, in_flight == 0 && n > 0, n);
        for (int i = 0; i < taken; i++)
            busy[batch[i].user] = true;
        issued += taken;
        in_flight += taken;

        sluice_io_done done[DEPTH_MAX];
        int min = (int)sluice_rng_below(rng, (uint64_t)in_flight + 1);
        int got = io->wait(io, done, min, DEPTH_MAX);
        assert_in_range(got, min, in_flight);
        for (int i = 0; i < got; i++) {
            const sluice_io_read *read = &reads[done[i].user];
            assert_int_equal(done[i].error, 0);
            assert_true(busy[done[i].user]);
            assert_memory_equal(read->buffer, content + read->offset, read->bytes);
            busy[done[i].user] = false;
        }
        in_flight -= got;
        finished += got;
    }
    assert_int_equal(io->wait(io, &(sluice_io_done){0}, 1, 1), 0); /* nothing left to wait for */
}

static void every_engine_gives_the_same_bytes(void **state)
{
    (void)state;
    void *memory;
    size_t bytes = (size_t)DEPTH_MAX * READ_MAX * BLOCK;
    assert_int_equal(sluice_memory_new(NULL, bytes, "test", &memory, NULL), SLUICE_OK);
    for (size_t e = 0; e < N_ENGINES; e++)
        for (int depth = 1; depth <= DEPTH_MAX; depth *= 4) {
            sluice_io *io = open_engine(engines[e], depth, (uint64_t)depth);
            if (!io) continue;
            int32_t other, file;
            sluice_rng rng;
            sluice_rng_seed(&rng, e);
            assert_int_equal(io->add_file(io, path, &other, NULL), SLUICE_OK);
            assert_int_equal(io->add_file(io, path, &file, NULL), SLUICE_OK);
            read_randomly(io, file, 300, &rng, memory);
            int32_t later;
            assert_int_equal(io->add_file(io, path, &later, NULL), SLUICE_OK);
            read_randomly(io, later, 50, &rng, memory);
            io->free(io);
        }
    sluice_memory_free(NULL, memory, bytes, "test");
}

static void end_of_file_inside_the_range_is_an_error_of_that_read_alone(void **state)
{
    (void)state;
    char *at = aligned_alloc(BLOCK, 16 * BLOCK);
    assert_non_null(at);
    for (size_t e = 0; e < N_ENGINES; e++) {
        sluice_io *io = open_engine(engines[e], 4, 3);
        if (!io) continue;
        int32_t file;
        assert_int_equal(io->add_file(io, path, &file, NULL), SLUICE_OK);
        const sluice_io_read reads[] = {
            {file, (BLOCKS - 2) * (uint64_t)BLOCK, 4 * BLOCK, at, 0, false},
            {file, (uint64_t)BLOCKS * BLOCK, BLOCK, at + 4 * BLOCK, 1, true}, /* the ragged block */
            {file, (uint64_t)1 << 40, BLOCK, at + 8 * BLOCK, 2, true},
            {file, 5 * BLOCK, 4 * BLOCK, at + 12 * BLOCK, 3, false},
        };
        assert_int_equal(io->submit(io, reads, 4), 4);
        for (int i = 0; i < 4; i++) {
            sluice_io_done done;
            assert_int_equal(io->wait(io, &done, 1, 1), 1);
            assert_int_equal(done.error, done.user == 3 ? 0 : EIO);
        }
        assert_memory_equal(at + 12 * BLOCK, content + 5 * BLOCK, 4 * BLOCK);
        io->free(io);
    }
    free(at);
}

static void freeing_waits_for_reads_in_flight(void **state)
{
    (void)state;
    for (size_t e = 0; e < N_ENGINES; e++) {
        sluice_io *io = open_engine(engines[e], 8, 3);
        if (!io) continue;
        int32_t file;
        void *memory;
        size_t bytes = 8 * READ_MAX * BLOCK;
        assert_int_equal(sluice_memory_new(NULL, bytes, "test", &memory, NULL), SLUICE_OK);
        assert_int_equal(io->add_file(io, path, &file, NULL), SLUICE_OK);
        for (uint64_t i = 0; i < 8; i++) {
            sluice_io_read read = {
                file, i * BLOCK, READ_MAX * BLOCK, (char *)memory + i * READ_MAX * BLOCK,
                i,    i % 2 != 0};
            assert_int_equal(io->submit(io, &read, 1), 1);
        }
        io->free(io);
        sluice_memory_free(NULL, memory, bytes, "test"); /* unmapped: a late write would crash */
    }
}

static void memory_filesystems_are_read_without_fuss(void **state)
{
    (void)state;
    char shm[] = "/dev/shm/sluice-test-XXXXXX";
    int fd = mkstemp(shm);
    if (fd < 0) skip();
    assert_int_equal(sluice_file_write(fd, shm, 0, content, BLOCKS * BLOCK, NULL), SLUICE_OK);
    sluice_file_close(fd);
    void *memory;
    size_t bytes = (size_t)DEPTH_MAX * READ_MAX * BLOCK;
    assert_int_equal(sluice_memory_new(NULL, bytes, "test", &memory, NULL), SLUICE_OK);
    for (size_t e = 0; e < N_ENGINES; e++) {
        sluice_io *io = open_engine(engines[e], 4, 3);
        if (!io) continue;
        int32_t file;
        sluice_rng rng;
        sluice_rng_seed(&rng, e);
        assert_int_equal(io->add_file(io, shm, &file, NULL), SLUICE_OK);
        read_randomly(io, file, 50, &rng, memory);
        io->free(io);
    }
    sluice_memory_free(NULL, memory, bytes, "test");
    unlink(shm);
}

static void bad_arguments_and_files_are_named(void **state)
{
    (void)state;
    sluice_io *io = NULL;
    sluice_error err;
    assert_int_equal(sluice_io_open("floppy", 4, path, &io, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "floppy"));
    assert_int_equal(sluice_io_open("auto", 4, "/no/such/file", &io, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/no/such/file"));
    assert_int_equal(sluice_io_open("pread", 0, path, &io, &err), SLUICE_USAGE);
    assert_int_equal(sluice_io_open("pread", 100000, path, &io, &err), SLUICE_USAGE);
    assert_null(io);
    for (size_t e = 0; e < N_ENGINES; e++) {
        int32_t file;
        io = open_engine(engines[e], 4, 3);
        if (!io) continue;
        assert_int_equal(io->add_file(io, "/no/such/file", &file, &err), SLUICE_NOT_FOUND);
        assert_int_equal(io->add_file(io, path, &file, &err), SLUICE_OK);
        io->free(io);
    }
}

static void simulated_disk_repeats_itself_by_seed(void **state)
{
    (void)state;
    const sluice_io_sim_file files[] = {{"in-memory", content, BLOCKS * BLOCK}};
    sluice_io_done orders[3][64];
    static char memory[64][BLOCK * 2];
    for (int run = 0; run < 3; run++) {
        const sluice_io_sim_options options = {.seed = run == 2 ? 6 : 5,
                                               .depth = 64,
                                               .files = files,
                                               .n_files = 1,
                                               .latency_max = 100,
                                               .short_permille = 300,
                                               .error_permille = 100,
                                               .corrupt_permille = 100,
                                               .bad_permille = 100};
        sluice_io *io;
        int32_t file;
        assert_int_equal(sluice_io_sim_new(&options, &io, NULL), SLUICE_OK);
        assert_int_equal(io->add_file(io, "in-memory", &file, NULL), SLUICE_OK);
        for (uint64_t i = 0; i < 64; i++)
            io->submit(io, &(sluice_io_read){file, i * BLOCK, 2 * BLOCK, memory[i], i, false}, 1);
        memset(orders[run], 0, sizeof orders[run]);
        assert_int_equal(io->wait(io, orders[run], 64, 64), 64);

        sluice_io_sim_counts counts;
        sluice_io_sim_counts_get(io, &counts);
        uint64_t errors = 0, wrong = 0;
        for (int i = 0; i < 64; i++) {
            uint64_t user = orders[run][i].user;
            errors += orders[run][i].error != 0;
            if (sluice_io_sim_is_bad(io, file, user * BLOCK)) assert_true(orders[run][i].error);
            if (!orders[run][i].error)
                wrong += memcmp(memory[user], content + user * BLOCK, 2 * BLOCK) != 0;
        }
        assert_int_equal(errors, counts.errors);
        assert_int_equal(wrong, counts.corruptions);
        assert_true(errors && wrong && counts.shorts);
        io->free(io);
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[0], orders[2], sizeof orders[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_gives_the_same_bytes),
        cmocka_unit_test(end_of_file_inside_the_range_is_an_error_of_that_read_alone),
        cmocka_unit_test(freeing_waits_for_reads_in_flight),
        cmocka_unit_test(memory_filesystems_are_read_without_fuss),
        cmocka_unit_test(bad_arguments_and_files_are_named),
        cmocka_unit_test(simulated_disk_repeats_itself_by_seed),
    };
    return cmocka_run_group_tests_name("io", tests, make_file, remove_file);
}
