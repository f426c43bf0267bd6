/* See safetensors_writer.h. The JSON is put together by hand so that keys keep their order and
 * sizes are known; jansson escapes the strings. */
#define _GNU_SOURCE
#include "format/safetensors_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/json.h"
#include "os/file.h"

struct sluice_safetensors_writer {
    char *path, *temporary;
    size_t header_bytes;
    int fd, direct_fd; /* the same file; direct_fd is -1 unless asked for and possible */
};

static bool print_string(FILE *out, const char *text)
{
    json_t *string = json_string(text);
    bool good = string && json_dumpf(string, out, JSON_ENCODE_ANY) == 0;
    json_decref(string);
    return good;
}

static bool print_table(FILE *out, const sluice_safetensors_entry *entries, size_t count,
                        const sluice_safetensors_meta *meta, size_t meta_count)
{
    bool good = fputs("{\"__metadata__\":{", out) >= 0;
    for (size_t i = 0; i < meta_count && good; i++) {
        if (i) fputc(',', out);
        good = print_string(out, meta[i].key) && fputc(':', out) >= 0 &&
               print_string(out, meta[i].value);
    }
    fputc('}', out);
    uint64_t at = 0;
    for (size_t i = 0; i < count && good; i++) {
        const sluice_safetensors_entry *entry = &entries[i];
        uint64_t bytes = sluice_dtype_bytes(entry->dtype);
        fputc(',', out);
        good = print_string(out, entry->name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", sluice_dtype_name(entry->dtype));
        for (int32_t d = 0; d < entry->dims; d++) {
            fprintf(out, "%s%lld", d ? "," : "", (long long)entry->shape[d]);
            bytes *= (uint64_t)entry->shape[d];
        }
        fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                (unsigned long long)(at + bytes));
        at += bytes;
    }
    fputc('}', out);
    return good && !ferror(out);
}

sluice_status sluice_safetensors_header(const sluice_safetensors_entry *entries, size_t count,
                                        const sluice_safetensors_meta *meta, size_t meta_count,
                                        char **header, size_t *bytes, sluice_error *err)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a safetensors header");
    fwrite("        ", 1, 8, out);
    bool good = print_table(out, entries, count, meta, meta_count);
    while (good && ftell(out) % (long)SLUICE_CONTAINER_ALIGN)
        fputc(' ', out);
    good = !ferror(out) && good;
    if (fclose(out) != 0 || !good) {
        free(text);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a safetensors header");
    }
    if (length - 8 > SLUICE_SAFETENSORS_HEADER_MAX) {
        free(text);
        return sluice_fail(err, SLUICE_LIMIT, "a safetensors header of %zu bytes is over 100 MB",
                           length);
    }
    uint64_t size = length - 8;
    for (int i = 0; i < 8; i++)
        text[i] = (char)(unsigned char)(size >> 8 * i);
    *header = text;
    *bytes = length;
    return SLUICE_OK;
}

static void writer_free(sluice_safetensors_writer *writer)
{
    if (writer->direct_fd >= 0) sluice_file_close(writer->direct_fd);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

/* An early "disk full" instead of one after an hour. File systems that cannot take space ahead are
 * used without. */
static sluice_status take_space(const sluice_safetensors_writer *writer, uint64_t bytes,
                                sluice_error *err)
{
#ifdef __linux__
    if (fallocate(writer->fd, 0, 0, (off_t)bytes) != 0 &&
        (errno == ENOSPC || errno == EFBIG || errno == EDQUOT || errno == EIO))
        return sluice_file_fail(err, errno, writer->path, "cannot be written");
#endif
    if (ftruncate(writer->fd, (off_t)bytes) != 0)
        return sluice_file_fail(err, errno, writer->path, "cannot be written");
    return SLUICE_OK;
}

sluice_status sluice_safetensors_writer_open(const char *path, size_t header_bytes,
                                             uint64_t data_bytes, sluice_safetensors_writer **out,
                                             sluice_error *err)
{
    sluice_safetensors_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    writer->fd = writer->direct_fd = -1;
    writer->header_bytes = header_bytes;
    writer->path = strdup(path);
    if (!writer->path || asprintf(&writer->temporary, "%s.tmp", path) < 0) {
        writer->temporary = NULL;
        writer_free(writer);
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    }
    sluice_status status = sluice_file_create(writer->temporary, &writer->fd, err);
    if (status == SLUICE_OK) status = take_space(writer, header_bytes + data_bytes, err);
    if (status != SLUICE_OK) {
        sluice_safetensors_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return SLUICE_OK;
}

void sluice_safetensors_writer_direct(sluice_safetensors_writer *writer)
{
#ifdef O_DIRECT
    if (writer->direct_fd < 0)
        writer->direct_fd = open(writer->temporary, O_WRONLY | O_DIRECT | O_CLOEXEC);
#else
    (void)writer;
#endif
}

static bool aligned(uint64_t offset, const void *data, size_t bytes)
{
    return !((offset | (uintptr_t)data | bytes) % SLUICE_CONTAINER_ALIGN);
}

sluice_status sluice_safetensors_writer_put(sluice_safetensors_writer *writer, uint64_t offset,
                                            const void *data, size_t bytes, sluice_error *err)
{
    uint64_t at = writer->header_bytes + offset;
    bool direct = writer->direct_fd >= 0 && aligned(at, data, bytes);
    return sluice_file_write(direct ? writer->direct_fd : writer->fd, writer->path, at, data, bytes,
                             err);
}

sluice_status sluice_safetensors_writer_finish(sluice_safetensors_writer *writer,
                                               const char *header, size_t bytes, sluice_error *err)
{
    sluice_status status = SLUICE_OK;
    if (bytes != writer->header_bytes)
        status = sluice_fail(err, SLUICE_INTERNAL, "%s: its header changed from %zu to %zu bytes",
                             writer->path, writer->header_bytes, bytes);
    if (status == SLUICE_OK)
        status = sluice_file_write(writer->fd, writer->path, 0, header, bytes, err);
    if (status != SLUICE_OK) {
        sluice_safetensors_writer_abandon(writer);
        return status;
    }
    status = sluice_file_commit(writer->fd, writer->temporary, writer->path, err);
    writer_free(writer);
    return status;
}

void sluice_safetensors_writer_abandon(sluice_safetensors_writer *writer)
{
    if (!writer) return;
    if (writer->fd >= 0) {
        sluice_file_close(writer->fd);
        unlink(writer->temporary);
    }
    writer_free(writer);
}
