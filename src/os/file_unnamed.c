/* Files without a name, for what does not fit into memory and nobody wants afterwards. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/file.h"

#ifndef O_DIRECT
#define O_DIRECT 0
#endif

#define FLAGS (O_RDWR | O_CLOEXEC)

/* O_TMPFILE where the file system has it; else a name that is removed at once. */
static int open_any(const char *dir, int flags)
{
#ifdef O_TMPFILE
    int fd = open(dir, O_TMPFILE | FLAGS | flags, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return fd;
#endif
    char *name = sluice_file_join(dir, ".sluice-XXXXXX");
    if (!name) {
        errno = ENOMEM;
        return -1;
    }
    int made = mkostemp(name, FLAGS | flags);
    if (made >= 0) unlink(name);
    free(name);
    return made;
}

sluice_status sluice_file_open_unnamed(const char *dir, uint64_t bytes, int *fd, sluice_error *err)
{
    int file = open_any(dir, O_DIRECT);
    if (file < 0 && errno == EINVAL) file = open_any(dir, 0);
    if (file < 0) return sluice_file_fail(err, errno, dir, "no scratch file can be made here");
    int code = posix_fallocate(file, 0, (off_t)bytes);
    if (code) {
        close(file);
        return sluice_file_fail(err, code, dir, "no room for a scratch file");
    }
    *fd = file;
    return SLUICE_OK;
}
