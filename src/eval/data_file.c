/* Data files (see data_file.h). */
#include "eval/data_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "os/file.h"

enum { GZIP_WINDOW = 15 + 16 }; /* the largest window; gzip's header and checksum */

typedef struct inflating {
    z_stream stream;
    char *text;
    size_t capacity;
} inflating;

/* More room behind what there is; one byte is kept for the NUL. */
static sluice_status grow(inflating *f, const char *name, sluice_error *err)
{
    if (f->capacity > SLUICE_DATA_BYTES_MAX)
        return sluice_fail(err, SLUICE_LIMIT, "%s: inflates to more than the limit of %zu bytes",
                           name, SLUICE_DATA_BYTES_MAX);
    size_t capacity = f->capacity ? 2 * f->capacity : (size_t)1 << 16;
    char *text = realloc(f->text, capacity + 1);
    if (!text)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for %zu bytes", name, capacity);
    f->stream.next_out = (Bytef *)text + f->capacity;
    f->stream.avail_out = (uInt)(capacity - f->capacity);
    f->text = text;
    f->capacity = capacity;
    return SLUICE_OK;
}

/* A file may hold several members, one after the other (RFC 1952, 2.2). */
static sluice_status inflate_all(inflating *f, const char *name, sluice_error *err)
{
    for (;;) {
        if (f->stream.avail_out == 0) SLUICE_TRY(grow(f, name, err));
        int code = inflate(&f->stream, Z_NO_FLUSH);
        if (code == Z_STREAM_END) {
            if (f->stream.avail_in == 0) return SLUICE_OK;
            if (inflateReset(&f->stream) == Z_OK) continue;
            code = Z_DATA_ERROR;
        }
        if (code == Z_MEM_ERROR)
            return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to inflate it", name);
        if (code == Z_BUF_ERROR ||
            (code == Z_OK && f->stream.avail_in == 0 && f->stream.avail_out > 0))
            return sluice_fail(err, SLUICE_BAD_INPUT,
                               "%s: the gzip file is cut off after %zu bytes", name,
                               (size_t)f->stream.total_in);
        if (code != Z_OK)
            return sluice_fail(err, SLUICE_BAD_INPUT, "%s: damaged gzip file: %s", name,
                               f->stream.msg ? f->stream.msg : "not deflated");
    }
}

sluice_status sluice_data_inflate(const char *name, const char *packed, size_t packed_bytes,
                                  char **text, size_t *bytes, sluice_error *err)
{
    inflating f = {.stream = {.next_in = (Bytef *)packed, .avail_in = (uInt)packed_bytes}};
    if (packed_bytes > SLUICE_DATA_BYTES_MAX)
        return sluice_fail(err, SLUICE_LIMIT, "%s: more than %zu bytes", name,
                           SLUICE_DATA_BYTES_MAX);
    if (inflateInit2(&f.stream, GZIP_WINDOW) != Z_OK)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to inflate it", name);
    sluice_status status = inflate_all(&f, name, err);
    size_t length = f.capacity - f.stream.avail_out;
    inflateEnd(&f.stream);
    if (status != SLUICE_OK) {
        free(f.text);
        return status;
    }
    f.text[length] = '\0';
    *text = f.text;
    *bytes = length;
    return SLUICE_OK;
}

sluice_status sluice_data_load(const char *path, char **text, size_t *bytes, sluice_error *err)
{
    char *loaded;
    size_t length;
    SLUICE_TRY(sluice_file_load(path, SLUICE_DATA_BYTES_MAX, &loaded, &length, err));
    if (length >= 2 && memcmp(loaded, "\x1f\x8b", 2) == 0) {
        char *packed = loaded;
        sluice_status status = sluice_data_inflate(path, packed, length, &loaded, &length, err);
        free(packed);
        if (status != SLUICE_OK) return status;
    }
    if (length == 0) {
        free(loaded);
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: empty", path);
    }
    *text = loaded;
    *bytes = length;
    return SLUICE_OK;
}
