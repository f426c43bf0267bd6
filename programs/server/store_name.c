/* Names and bytes of files of --state; see store_name.h. */
#include "server/store_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kinds[SERVER_STORE_KINDS] = {"state", "turn", "response"};
static const char temporary_suffix[] = ".sluice-tmp"; /* also sluice_snapshot_write's */

void server_store_name(const server_store_file *file, char name[SERVER_STORE_NAME_SIZE])
{
    snprintf(name, SERVER_STORE_NAME_SIZE, "%08" PRIx32 "-%08" PRIx32 "-%016" PRIx64 ".%s",
             file->identity, file->number, file->hash, kinds[file->kind]);
}

/* Written back it must be the same: sscanf also takes what the writer never makes. */
bool server_store_name_read(const char *name, server_store_file *out)
{
    char again[SERVER_STORE_NAME_SIZE];
    *out = (server_store_file){0};
    if (sscanf(name, "%8" SCNx32 "-%8" SCNx32 "-%16" SCNx64, &out->identity, &out->number,
               &out->hash) != 3)
        return false;
    for (int kind = 0; kind < SERVER_STORE_KINDS; kind++) {
        out->kind = (server_store_kind)kind;
        server_store_name(out, again);
        if (!strcmp(again, name)) return true;
    }
    return false;
}

bool server_store_name_is_temporary(const char *name)
{
    char whole[SERVER_STORE_NAME_SIZE];
    server_store_file file;
    size_t length = strlen(name), suffix = sizeof temporary_suffix - 1;
    if (length <= suffix || length - suffix >= sizeof whole) return false;
    if (strcmp(name + length - suffix, temporary_suffix) != 0) return false;
    memcpy(whole, name, length - suffix);
    whole[length - suffix] = '\0';
    return server_store_name_read(whole, &file);
}

static sluice_status fail(sluice_error *err, const char *path)
{
    err->code = errno == ENOSPC || errno == EDQUOT ? SLUICE_NO_SPACE : SLUICE_IO;
    snprintf(err->detail, sizeof err->detail, "%s: %s", path, strerror(errno));
    return err->code;
}

static bool write_out(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t n = write(fd, bytes, count);
        if (n < 0 && errno != EINTR) return false;
        if (n <= 0) continue;
        bytes += n;
        count -= (size_t)n;
    }
    return true;
}

static sluice_status write_whole(const char *path, const void *bytes, size_t count,
                                 sluice_error *err)
{
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s%s", path, temporary_suffix);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fail(err, temporary);
    bool written = write_out(fd, bytes, count) && fsync(fd) == 0;
    if (!written) fail(err, temporary);
    if (close(fd) != 0 && written) {
        fail(err, temporary);
        written = false;
    }
    if (written && rename(temporary, path) == 0) return SLUICE_OK;
    if (written) fail(err, path);
    unlink(temporary);
    return err->code;
}

/* Bytes on their way to their file. */
typedef struct sending {
    void *bytes;
    size_t count;
} sending;

static sluice_status write_sent(void *context, const char *path, sluice_error *err)
{
    const sending *s = context;
    return write_whole(path, s->bytes, s->count, err);
}

static void sent(void *context)
{
    sending *s = context;
    free(s->bytes);
    free(s);
}

void server_store_send(server_store *store, server_store_kind kind, uint32_t number, uint64_t hash,
                       void *bytes, size_t count)
{
    sending *s = bytes ? malloc(sizeof *s) : NULL;
    if (!s) {
        free(bytes);
        return;
    }
    *s = (sending){bytes, count};
    server_store_job job = {.kind = kind,
                            .number = number,
                            .hash = hash,
                            .bytes = count,
                            .write = write_sent,
                            .done = sent,
                            .context = s};
    server_store_write(store, &job);
}

sluice_status server_store_read(const char *path, size_t bytes_max, char **bytes, size_t *count,
                                sluice_error *err)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return fail(err, path);
    bool known = fstat(fd, &found) == 0;
    size_t size = known ? (size_t)found.st_size : 0, have = 0;
    char *buffer = known && size <= bytes_max ? malloc(size + 1) : NULL;
    while (buffer && have < size) {
        ssize_t n = read(fd, buffer + have, size - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        have += (size_t)n;
    }
    close(fd);
    if (!buffer || have < size) {
        free(buffer);
        err->code = SLUICE_CORRUPT;
        snprintf(err->detail, sizeof err->detail, "%s: %zu bytes cannot be read", path, size);
        return err->code;
    }
    buffer[size] = '\0';
    *bytes = buffer;
    *count = size;
    return SLUICE_OK;
}
