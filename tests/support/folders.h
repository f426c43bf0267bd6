/* Temporary folders and whole files for tests: every failure fails the test with its reason. */
#ifndef SLUICE_TESTS_SUPPORT_FOLDERS_H
#define SLUICE_TESTS_SUPPORT_FOLDERS_H

#include <stddef.h>

#define FOLDERS_PATH_MAX 512

/* A new empty folder; and its end, with everything in it. */
void folders_make(char path[FOLDERS_PATH_MAX]);
void folders_remove(const char *path);

/* dir/name; stays valid to the end of the program. */
const char *folders_path(const char *dir, const char *name);

/* The regular files of a folder into another, which is made if need be. */
void folders_copy(const char *from, const char *to);
/* Both have the same regular files with the same bytes. */
void folders_assert_equal(const char *left, const char *right);

char *folders_load(const char *path, size_t *bytes); /* NUL after the end; free() */
void folders_save(const char *path, const void *data, size_t bytes);
void folders_delete(const char *path);
int folders_exists(const char *path);
size_t folders_file_bytes(const char *path);

#endif
