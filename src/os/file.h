/* Files: whole reads and writes at 64-bit offsets, direct reads, and writing that is all or
 * nothing.
 *
 * What: the handful of operations that the rest needs, each of which retries EINTR, continues short
 * transfers and turns errno into one sentence with the file's name. What it does not do: buffering,
 * asynchronous reads (io/), knowing formats. Thread-safe: no state. */
#ifndef SLUICE_OS_FILE_H
#define SLUICE_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Fails with "path: what: strerror(code)" and the status that belongs to the errno code: ENOENT is
 * SLUICE_NOT_FOUND, ENOSPC, EDQUOT and EFBIG are SLUICE_NO_SPACE, ENOMEM is SLUICE_NO_MEMORY, all
 * others SLUICE_IO. */
sluice_status sluice_file_fail(sluice_error *err, int code, const char *path, const char *what);

/* The status that belongs to an errno code, as above. */
sluice_status sluice_file_status(int code);

/* A small text file (as in /proc) into text, cut at its size and NUL-terminated; false if it cannot
 * be read. */
bool sluice_file_read_text(const char *path, char *text, size_t bytes);

/* A regular file for reading (anything else is refused). bytes, if not NULL, is its size. */
sluice_status sluice_file_open(const char *path, int *fd, uint64_t *bytes, sluice_error *err);

/* The same past the page cache (O_DIRECT): offsets, sizes and buffers must then be multiples of
 * 4096. SLUICE_UNSUPPORTED where the file system cannot. */
sluice_status sluice_file_open_direct(const char *path, int *fd, uint64_t *bytes,
                                      sluice_error *err);

void sluice_file_close(int fd);

/* Exactly bytes at offset; the end of the file inside the range is SLUICE_CORRUPT ("truncated"). */
sluice_status sluice_file_read(int fd, const char *path, uint64_t offset, void *buffer,
                               size_t bytes, sluice_error *err);
sluice_status sluice_file_write(int fd, const char *path, uint64_t offset, const void *data,
                                size_t bytes, sluice_error *err);

/* The whole file, followed by a NUL that is not counted; *text is released with free(). A file of
 * more than bytes_max is SLUICE_LIMIT. */
sluice_status sluice_file_load(const char *path, size_t bytes_max, char **text, size_t *bytes,
                               sluice_error *err);

/* Creates or truncates path for writing (mode 0666 less the umask). */
sluice_status sluice_file_create(const char *path, int *fd, sluice_error *err);

/* The same, but what path holds stays; *bytes is how much that is. */
sluice_status sluice_file_reopen(const char *path, int *fd, uint64_t *bytes, sluice_error *err);

/* Makes it zeros, bytes of them; they take no space yet. */
sluice_status sluice_file_clear(int fd, const char *path, uint64_t bytes, sluice_error *err);

/* A file of bytes in dir for reading and writing that never has a name, or loses it at once: it
 * goes when it is closed, however the program ends. Past the page cache if the file system can, so
 * offsets, sizes and buffers must be multiples of 4096. Its space is taken: SLUICE_NO_SPACE. */
sluice_status sluice_file_open_unnamed(const char *dir, uint64_t bytes, int *fd, sluice_error *err);

/* Makes what was written durable, closes fd (also on failure), renames temporary to path and makes
 * the new name durable. On failure the temporary file is removed. */
sluice_status sluice_file_commit(int fd, const char *temporary, const char *path,
                                 sluice_error *err);

/* All or nothing: path holds either its old content or all of data. */
sluice_status sluice_file_save(const char *path, const void *data, size_t bytes, sluice_error *err);

/* Makes the names in a directory durable. */
sluice_status sluice_file_sync_dir(const char *dir, sluice_error *err);

/* Makes a renamed or removed entry durable: syncs the directory that path lies in. */
sluice_status sluice_file_sync_parent(const char *path, sluice_error *err);

/* Bytes that an unprivileged user may still write on the file system of path. */
sluice_status sluice_file_free_space(const char *path, uint64_t *bytes, sluice_error *err);

bool sluice_file_exists(const char *path);
bool sluice_file_is_dir(const char *path);

/* dir + "/" + name, to be freed; NULL if there is no memory. */
char *sluice_file_join(const char *dir, const char *name);

#endif
