/* See folders.h. */
#include "support/folders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void folders_make(char path[FOLDERS_PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, FOLDERS_PATH_MAX, "%s/sluice-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path)) fail_msg("%s: cannot be made", path);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

void folders_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *folders_path(const char *dir, const char *name)
{
    static char *known[4096];
    static size_t count;
    char path[FOLDERS_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= FOLDERS_PATH_MAX)
        fail_msg("%s/%s: too long", dir, name);
    for (size_t i = 0; i < count; i++)
        if (strcmp(known[i], path) == 0) return known[i];
    assert_true(count < sizeof known / sizeof *known);
    known[count] = strdup(path);
    assert_non_null(known[count]);
    return known[count++];
}

char *folders_load(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: cannot be opened", path);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, size, file), size);
    fclose(file);
    data[size] = '\0';
    if (bytes) *bytes = size;
    return data;
}

void folders_save(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: cannot be created", path);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void folders_delete(const char *path)
{
    if (unlink(path) != 0) fail_msg("%s: cannot be deleted", path);
}

int folders_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

size_t folders_file_bytes(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) fail_msg("%s: is not there", path);
    return (size_t)info.st_size;
}

/* Calls fn for the name of each regular file. */
static void each_file(const char *dir, void (*fn)(void *context, const char *name), void *context)
{
    DIR *open = opendir(dir);
    if (!open) fail_msg("%s: cannot be listed", dir);
    for (struct dirent *entry; (entry = readdir(open));) {
        struct stat info;
        if (stat(folders_path(dir, entry->d_name), &info) == 0 && S_ISREG(info.st_mode))
            fn(context, entry->d_name);
    }
    closedir(open);
}

typedef struct pair {
    const char *from, *to;
    size_t count;
} pair;

static void copy_one(void *context, const char *name)
{
    const pair *at = context;
    size_t bytes = 0;
    char *data = folders_load(folders_path(at->from, name), &bytes);
    folders_save(folders_path(at->to, name), data, bytes);
    free(data);
}

void folders_copy(const char *from, const char *to)
{
    pair at = {.from = from, .to = to};
    mkdir(to, 0777);
    each_file(from, copy_one, &at);
}

static void compare_one(void *context, const char *name)
{
    pair *at = context;
    size_t left_bytes = 0, right_bytes = 0;
    char *left = folders_load(folders_path(at->from, name), &left_bytes);
    char *right = folders_load(folders_path(at->to, name), &right_bytes);
    if (left_bytes != right_bytes || memcmp(left, right, left_bytes) != 0)
        fail_msg("%s differs between %s and %s", name, at->from, at->to);
    free(left);
    free(right);
    at->count++;
}

static void count_one(void *context, const char *name)
{
    (void)name;
    (*(size_t *)context)++;
}

void folders_assert_equal(const char *left, const char *right)
{
    pair at = {.from = left, .to = right};
    size_t count = 0;
    each_file(left, compare_one, &at);
    each_file(right, count_one, &count);
    assert_int_equal(at.count, count);
}
