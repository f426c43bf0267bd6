/* Files and folders: exact ranges, errors as sentences, files that appear whole or not at all. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/file.h"
#include "os/folder.h"

static char folder[] = "/tmp/sluice-test-file-XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[4][PATH_MAX];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

static int exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    if (sluice_folder_remove_tree(folder, NULL) != SLUICE_OK) return -1;
    return exists(folder) ? -1 : 0;
}

static void saved_file_is_read_back(void **state)
{
    (void)state;
    const char *path = in_folder("saved");
    char *text;
    size_t bytes;
    assert_int_equal(sluice_file_save(path, "first", 5, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_save(path, "second", 6, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_load(path, 6, &text, &bytes, NULL), SLUICE_OK);
    assert_int_equal(bytes, 6);
    assert_string_equal(text, "second");
    free(text);

    sluice_error err;
    assert_int_equal(sluice_file_load(path, 5, &text, &bytes, &err), SLUICE_LIMIT);
    assert_non_null(strstr(err.detail, path));
}

static void unfinished_file_never_shows_under_its_name(void **state)
{
    (void)state;
    const char *path = in_folder("output"), *temporary = in_folder("output.tmp");
    int fd;
    assert_int_equal(sluice_file_create(temporary, &fd, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_write(fd, temporary, 3, "abc", 3, NULL), SLUICE_OK);
    assert_false(exists(path));
    assert_int_equal(sluice_file_commit(fd, temporary, path, NULL), SLUICE_OK);
    assert_true(exists(path));
    assert_false(exists(temporary));
    uint64_t bytes;
    assert_int_equal(sluice_file_open(path, &fd, &bytes, NULL), SLUICE_OK);
    assert_int_equal(bytes, 6);
    sluice_file_close(fd);
}

static void free_space_is_told_in_bytes(void **state)
{
    (void)state;
    uint64_t bytes;
    sluice_error err;
    assert_int_equal(sluice_file_free_space(folder, &bytes, NULL), SLUICE_OK);
    assert_true(bytes >= 4096);
    assert_int_equal(sluice_file_free_space(in_folder("no-such"), &bytes, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "no-such"));
}

static void text_of_a_file_without_size_is_cut_at_the_capacity(void **state)
{
    (void)state;
    char text[8];
    assert_true(sluice_file_read_text("/proc/self/status", text, sizeof text));
    assert_string_equal(text, "Name:\tt");
    assert_false(sluice_file_read_text(in_folder("none"), text, sizeof text));
}

static void failed_save_keeps_the_old_file(void **state)
{
    (void)state;
    sluice_error err;
    const char *taken = in_folder("a-folder");
    assert_int_equal(mkdir(taken, 0700), 0);
    assert_int_equal(sluice_file_save(taken, "x", 1, &err), SLUICE_IO);
    assert_non_null(strstr(err.detail, taken));
    assert_int_equal(sluice_file_save(in_folder("none/file"), "x", 1, &err), SLUICE_NOT_FOUND);
    struct stat info;
    assert_int_equal(stat(taken, &info), 0);
    assert_true(S_ISDIR(info.st_mode));
}

static void full_disk_is_no_space(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0) skip();
    sluice_error err;
    assert_int_equal(sluice_file_write(fd, "/dev/full", 0, "x", 1, &err), SLUICE_NO_SPACE);
    assert_non_null(strstr(err.detail, "/dev/full"));
    close(fd);
}

static void reading_past_the_end_says_where(void **state)
{
    (void)state;
    const char *path = in_folder("short");
    char buffer[100];
    int fd;
    uint64_t bytes;
    sluice_error err;
    assert_int_equal(sluice_file_save(path, "0123456789", 10, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_open(path, &fd, &bytes, NULL), SLUICE_OK);
    assert_int_equal(bytes, 10);
    assert_int_equal(sluice_file_read(fd, path, 2, buffer, 8, &err), SLUICE_OK);
    assert_memory_equal(buffer, "23456789", 8);
    assert_int_equal(sluice_file_read(fd, path, 2, buffer, 20, &err), SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "ends at byte 10"));
    close(fd);
}

static void direct_open_reads_the_same_bytes_or_says_it_cannot(void **state)
{
    (void)state;
    enum { SIZE = 3 * 4096 };
    const char *path = in_folder("direct");
    char *data = malloc(SIZE), *buffer = aligned_alloc(4096, SIZE);
    assert_non_null(data);
    assert_non_null(buffer);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 4096);
    assert_int_equal(sluice_file_save(path, data, SIZE, NULL), SLUICE_OK);
    int fd;
    uint64_t bytes;
    sluice_status status = sluice_file_open_direct(path, &fd, &bytes, NULL);
    if (status == SLUICE_OK) {
        assert_int_equal(bytes, SIZE);
        assert_int_equal(sluice_file_read(fd, path, 4096, buffer, 8192, NULL), SLUICE_OK);
        assert_memory_equal(buffer, data + 4096, 8192);
        sluice_file_close(fd);
    } else {
        assert_int_equal(status, SLUICE_UNSUPPORTED);
    }
    free(data);
    free(buffer);
}

static void what_is_not_a_file_is_refused(void **state)
{
    (void)state;
    int fd;
    uint64_t bytes;
    sluice_error err;
    const char *fifo = in_folder("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(sluice_file_open(fifo, &fd, &bytes, &err), SLUICE_IO);
    assert_int_equal(sluice_file_open(folder, &fd, &bytes, &err), SLUICE_IO);
    assert_non_null(strstr(err.detail, "not a regular file"));
    assert_int_equal(sluice_file_open(in_folder("none"), &fd, &bytes, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "none: cannot be opened: No such file"));
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    const char *deep = in_folder("x//y/z/");
    assert_int_equal(sluice_folder_make(deep, NULL), SLUICE_OK);
    assert_int_equal(sluice_folder_make(deep, NULL), SLUICE_OK);
    assert_true(exists(in_folder("x/y/z")));
    assert_int_equal(sluice_file_save(in_folder("x/file"), "", 0, NULL), SLUICE_OK);
    sluice_error err;
    assert_int_not_equal(sluice_folder_make(in_folder("x/file/y"), &err), SLUICE_OK);
    assert_non_null(strstr(err.detail, "x/file"));
}

static void removing_a_tree_leaves_what_links_point_to(void **state)
{
    (void)state;
    const char *tree = in_folder("tree"), *outside = in_folder("outside");
    assert_int_equal(sluice_folder_make(in_folder("tree/deep"), NULL), SLUICE_OK);
    assert_int_equal(sluice_folder_make(outside, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_save(in_folder("outside/kept"), "x", 1, NULL), SLUICE_OK);
    assert_int_equal(symlink(outside, in_folder("tree/deep/link")), 0);
    assert_int_equal(sluice_folder_remove_tree(tree, NULL), SLUICE_OK);
    assert_false(exists(tree));
    assert_true(exists(in_folder("outside/kept")));
    assert_int_equal(sluice_folder_remove_tree(tree, NULL), SLUICE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_file_is_read_back),
        cmocka_unit_test(unfinished_file_never_shows_under_its_name),
        cmocka_unit_test(free_space_is_told_in_bytes),
        cmocka_unit_test(text_of_a_file_without_size_is_cut_at_the_capacity),
        cmocka_unit_test(failed_save_keeps_the_old_file),
        cmocka_unit_test(full_disk_is_no_space),
        cmocka_unit_test(reading_past_the_end_says_where),
        cmocka_unit_test(direct_open_reads_the_same_bytes_or_says_it_cannot),
        cmocka_unit_test(what_is_not_a_file_is_refused),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(removing_a_tree_leaves_what_links_point_to),
    };
    return cmocka_run_group_tests_name("file", tests, make_folder, remove_folder);
}
