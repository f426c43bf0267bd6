/* See file.h. */
#define _GNU_SOURCE
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 30) /* Linux moves at most 2^31 - 4096 in one call */

sluice_status sluice_file_status(int code)
{
    switch (code) {
    case ENOENT: return SLUICE_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return SLUICE_NO_SPACE;
    case ENOMEM: return SLUICE_NO_MEMORY;
    default: return SLUICE_IO;
    }
}

sluice_status sluice_file_fail(sluice_error *err, int code, const char *path, const char *what)
{
    return sluice_fail(err, sluice_file_status(code), "%s: %s: %s", path, what, strerror(code));
}

bool sluice_file_read_text(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t done = 0;
    ssize_t n = 1;
    while (n > 0 && done + 1 < bytes) {
        n = read(fd, text + done, bytes - 1 - done);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            done += (size_t)n;
    }
    close(fd);
    text[done] = '\0';
    return n >= 0;
}

static sluice_status open_regular(const char *path, int flags, int *out, uint64_t *bytes,
                                  sluice_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
    if (fd < 0) {
        if (errno == EINVAL && flags)
            return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: this file system has no direct reads",
                               path);
        return sluice_file_fail(err, errno, path, "cannot be opened");
    }
    struct stat info;
    if (fstat(fd, &info) != 0) {
        int code = errno;
        close(fd);
        return sluice_file_fail(err, code, path, "cannot be examined");
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return sluice_fail(err, SLUICE_IO, "%s: not a regular file", path);
    }
    if (bytes) *bytes = (uint64_t)info.st_size;
    *out = fd;
    return SLUICE_OK;
}

sluice_status sluice_file_open(const char *path, int *fd, uint64_t *bytes, sluice_error *err)
{
    return open_regular(path, 0, fd, bytes, err);
}

sluice_status sluice_file_open_direct(const char *path, int *fd, uint64_t *bytes, sluice_error *err)
{
#ifdef O_DIRECT
    return open_regular(path, O_DIRECT, fd, bytes, err);
#else
    (void)fd;
    (void)bytes;
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: this system has no direct reads", path);
#endif
}

void sluice_file_close(int fd)
{
    if (fd >= 0) close(fd);
}

sluice_status sluice_file_read(int fd, const char *path, uint64_t offset, void *buffer,
                               size_t bytes, sluice_error *err)
{
    char *at = buffer;
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
        ssize_t n = pread(fd, at + done, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return sluice_file_fail(err, errno, path, "cannot be read");
        if (n == 0)
            return sluice_fail(err, SLUICE_CORRUPT, "%s: truncated: it ends at byte %llu", path,
                               (unsigned long long)(offset + done));
        done += (size_t)n;
    }
    return SLUICE_OK;
}

sluice_status sluice_file_write(int fd, const char *path, uint64_t offset, const void *data,
                                size_t bytes, sluice_error *err)
{
    const char *at = data;
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
        ssize_t n = pwrite(fd, at + done, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return sluice_file_fail(err, n < 0 ? errno : EIO, path, "cannot be written");
        done += (size_t)n;
    }
    return SLUICE_OK;
}

sluice_status sluice_file_load(const char *path, size_t bytes_max, char **text, size_t *bytes,
                               sluice_error *err)
{
    int fd = -1;
    uint64_t size = 0;
    SLUICE_TRY(sluice_file_open(path, &fd, &size, err));
    sluice_status status = SLUICE_OK;
    char *buffer = NULL;
    if (size > bytes_max) {
        status = sluice_fail(err, SLUICE_LIMIT, "%s: %llu bytes are more than the limit of %llu",
                             path, (unsigned long long)size, (unsigned long long)bytes_max);
    } else if (!(buffer = malloc((size_t)size + 1))) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its %llu bytes", path,
                             (unsigned long long)size);
    } else {
        status = sluice_file_read(fd, path, 0, buffer, (size_t)size, err);
    }
    close(fd);
    if (status != SLUICE_OK) {
        free(buffer);
        return status;
    }
    buffer[size] = '\0';
    *text = buffer;
    *bytes = (size_t)size;
    return SLUICE_OK;
}

sluice_status sluice_file_create(const char *path, int *fd, sluice_error *err)
{
    int opened = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (opened < 0) return sluice_file_fail(err, errno, path, "cannot be created");
    *fd = opened;
    return SLUICE_OK;
}

sluice_status sluice_file_reopen(const char *path, int *fd, uint64_t *bytes, sluice_error *err)
{
    struct stat info;
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (opened < 0) return sluice_file_fail(err, errno, path, "cannot be created");
    if (fstat(opened, &info) != 0) {
        sluice_status status = sluice_file_fail(err, errno, path, "cannot be read");
        close(opened);
        return status;
    }
    *bytes = (uint64_t)info.st_size;
    *fd = opened;
    return SLUICE_OK;
}

sluice_status sluice_file_clear(int fd, const char *path, uint64_t bytes, sluice_error *err)
{
    if (ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)bytes) == 0) return SLUICE_OK;
    return sluice_file_fail(err, errno, path, "cannot be made as long as it will be");
}

sluice_status sluice_file_commit(int fd, const char *temporary, const char *path, sluice_error *err)
{
    sluice_status status = SLUICE_OK;
    if (fsync(fd) != 0) status = sluice_file_fail(err, errno, temporary, "cannot be flushed");
    if (close(fd) != 0 && status == SLUICE_OK)
        status = sluice_file_fail(err, errno, temporary, "cannot be closed");
    if (status == SLUICE_OK && rename(temporary, path) != 0)
        status = sluice_file_fail(err, errno, path, "cannot be put in place");
    if (status != SLUICE_OK) {
        unlink(temporary);
        return status;
    }
    return sluice_file_sync_parent(path, err);
}

sluice_status sluice_file_save(const char *path, const void *data, size_t bytes, sluice_error *err)
{
    size_t length = strlen(path);
    char *temporary = malloc(length + sizeof ".tmp");
    if (!temporary) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".tmp", sizeof ".tmp");

    int fd = -1;
    sluice_status status = sluice_file_create(temporary, &fd, err);
    if (status == SLUICE_OK) {
        status = sluice_file_write(fd, temporary, 0, data, bytes, err);
        if (status == SLUICE_OK) {
            status = sluice_file_commit(fd, temporary, path, err);
        } else {
            close(fd);
            unlink(temporary);
        }
    }
    free(temporary);
    return status;
}

sluice_status sluice_file_sync_dir(const char *dir, sluice_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return sluice_file_fail(err, errno, dir, "cannot be opened");
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    /* Some file systems cannot sync a directory; on those a rename is as durable as it gets. */
    if (failed && failed != EINVAL && failed != ENOTSUP)
        return sluice_file_fail(err, failed, dir, "cannot be flushed");
    return SLUICE_OK;
}

sluice_status sluice_file_sync_parent(const char *path, sluice_error *err)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (!length) return sluice_file_sync_dir(".", err);
    char *dir = strndup(path, length);
    if (!dir) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to flush it", path);
    sluice_status status = sluice_file_sync_dir(dir, err);
    free(dir);
    return status;
}

sluice_status sluice_file_free_space(const char *path, uint64_t *bytes, sluice_error *err)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return sluice_file_fail(err, errno, path, "its file system cannot be examined");
    *bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return SLUICE_OK;
}

bool sluice_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool sluice_file_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *sluice_file_join(const char *dir, const char *name)
{
    size_t length = strlen(dir), tail = strlen(name);
    bool slash = length && dir[length - 1] != '/';
    char *path = malloc(length + tail + 2);
    if (!path) return NULL;
    memcpy(path, dir, length);
    if (slash) path[length++] = '/';
    memcpy(path + length, name, tail + 1);
    return path;
}
