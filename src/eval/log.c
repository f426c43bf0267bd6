/* See log.h. */
#include "eval/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"

#define LOG_BYTES_MAX ((size_t)1 << 30)

struct sluice_log {
    char *path;
    FILE *file;
};

static sluice_status no_memory(const char *path, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log", path);
}

const char *sluice_log_path(const sluice_log *log)
{
    return log->path;
}

static sluice_status check_run(const sluice_log *log, const json_t *run, const json_t *theirs,
                               sluice_error *err)
{
    const char *name;
    json_t *value;
    if (!json_object_get(theirs, "evaluation"))
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line 1: not the log of an evaluation",
                           log->path);
    json_object_foreach((json_t *)run, name, value)
    {
        const json_t *other = json_object_get(theirs, name);
        if (json_equal(value, other)) continue;
        char *now = json_dumps(value, JSON_ENCODE_ANY), *then = json_dumps(other, JSON_ENCODE_ANY);
        sluice_status status =
            sluice_fail(err, SLUICE_USAGE,
                        "%s: made by another run (\"%s\" was %s and is %s): give another file",
                        log->path, name, then ? then : "absent", now ? now : "?");
        free(now);
        free(then);
        return status;
    }
    return SLUICE_OK;
}

typedef struct reader {
    const json_t *run;
    sluice_log_fn keep;
    void *context;
} reader;

/* *whole is the length of what was written to its end. */
static sluice_status read_lines(const sluice_log *log, const reader *r, const char *text,
                                size_t bytes, size_t *whole, sluice_error *err)
{
    const char *at = text, *stop;
    for (int32_t line = 1; (stop = memchr(at, '\n', bytes - (size_t)(at - text))); line++) {
        json_error_t why;
        json_t *item = json_loadb(at, (size_t)(stop - at), 0, &why);
        sluice_status status = SLUICE_OK;
        if (!item)
            status =
                sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: %s", log->path, line, why.text);
        else if (line == 1)
            status = check_run(log, r->run, item, err);
        else
            status = r->keep(r->context, log->path, item, line, err);
        json_decref(item);
        if (status != SLUICE_OK) return status;
        at = stop + 1;
    }
    *whole = (size_t)(at - text);
    return SLUICE_OK;
}

sluice_status sluice_log_add(sluice_log *log, const json_t *item, sluice_error *err)
{
    char *text = json_dumps(item, JSON_COMPACT);
    if (!text) return no_memory(log->path, err);
    errno = 0;
    bool good = fputs(text, log->file) >= 0 && fputc('\n', log->file) >= 0 && !fflush(log->file);
    free(text);
    return good ? SLUICE_OK
                : sluice_file_fail(err, errno ? errno : EIO, log->path, "cannot be written");
}

static sluice_status go_on(sluice_log *log, const reader *r, sluice_error *err)
{
    size_t bytes = 0, whole = 0;
    if (sluice_file_exists(log->path)) {
        char *text;
        SLUICE_TRY(sluice_file_load(log->path, LOG_BYTES_MAX, &text, &bytes, err));
        sluice_status status = read_lines(log, r, text, bytes, &whole, err);
        free(text);
        if (status != SLUICE_OK) return status;
        if (whole < bytes && truncate(log->path, (off_t)whole) != 0)
            return sluice_file_fail(err, errno, log->path, "cannot be shortened");
    }
    log->file = fopen(log->path, "ab");
    if (!log->file) return sluice_file_fail(err, errno, log->path, "cannot be written");
    return whole ? SLUICE_OK : sluice_log_add(log, r->run, err);
}

sluice_status sluice_log_open(const char *path, const json_t *run, sluice_log_fn keep,
                              void *context, sluice_log **out, sluice_error *err)
{
    const reader r = {run, keep, context};
    sluice_log *log = calloc(1, sizeof *log);
    if (log) log->path = strdup(path);
    sluice_status status = log && log->path ? go_on(log, &r, err) : no_memory(path, err);
    if (status == SLUICE_OK)
        *out = log;
    else
        sluice_log_close(log);
    return status;
}

void sluice_log_close(sluice_log *log)
{
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log->path);
    free(log);
}
