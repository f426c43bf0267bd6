/* The log of a run over tasks (see task_log.h). */
#include "eval/task_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "os/file.h"

#define LOG_BYTES_MAX ((size_t)1 << 30)

struct sluice_task_log {
    char *path;
    const char *const *paths;
    FILE *file;
    json_t *known; /* "file:line" -> the answer's object */
};

static sluice_status no_memory(const sluice_task_log *log, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log", log->path);
}

static char *key_of(const char *file, int32_t line)
{
    char *key;
    return asprintf(&key, "%s:%d", file, line) < 0 ? NULL : key;
}

static sluice_status check_run(const sluice_task_log *log, const json_t *run, const json_t *theirs,
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

static sluice_status keep(sluice_task_log *log, json_t *entry, int32_t line, sluice_error *err)
{
    const char *file, *crc;
    int number, right, cut;
    if (json_unpack(entry, "{s:s, s:i, s:s, s:b, s:b}", "file", &file, "line", &number, "crc", &crc,
                    "right", &right, "cut", &cut) != 0)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: not an answer", log->path, line);
    char *key = key_of(file, number);
    sluice_status status =
        key && json_object_set(log->known, key, entry) == 0 ? SLUICE_OK : no_memory(log, err);
    free(key);
    return status;
}

/* *whole is the length of what was written to its end. */
static sluice_status read_lines(sluice_task_log *log, const json_t *run, const char *text,
                                size_t bytes, size_t *whole, sluice_error *err)
{
    const char *at = text, *stop;
    for (int32_t line = 1; (stop = memchr(at, '\n', bytes - (size_t)(at - text))); line++) {
        json_error_t why;
        json_t *entry = json_loadb(at, (size_t)(stop - at), 0, &why);
        sluice_status status = SLUICE_OK;
        if (!entry)
            status =
                sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: %s", log->path, line, why.text);
        else if (line == 1)
            status = check_run(log, run, entry, err);
        else
            status = keep(log, entry, line, err);
        json_decref(entry);
        if (status != SLUICE_OK) return status;
        at = stop + 1;
    }
    *whole = (size_t)(at - text);
    return SLUICE_OK;
}

static sluice_status write_line(sluice_task_log *log, const json_t *value, sluice_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT);
    if (!text) return no_memory(log, err);
    errno = 0;
    bool good = fputs(text, log->file) >= 0 && fputc('\n', log->file) >= 0 && !fflush(log->file);
    free(text);
    return good ? SLUICE_OK
                : sluice_file_fail(err, errno ? errno : EIO, log->path, "cannot be written");
}

static sluice_status go_on(sluice_task_log *log, const json_t *run, sluice_error *err)
{
    size_t bytes = 0, whole = 0;
    if (sluice_file_exists(log->path)) {
        char *text;
        SLUICE_TRY(sluice_file_load(log->path, LOG_BYTES_MAX, &text, &bytes, err));
        sluice_status status = read_lines(log, run, text, bytes, &whole, err);
        free(text);
        if (status != SLUICE_OK) return status;
        if (whole < bytes && truncate(log->path, (off_t)whole) != 0)
            return sluice_file_fail(err, errno, log->path, "cannot be shortened");
    }
    log->file = fopen(log->path, "ab");
    if (!log->file) return sluice_file_fail(err, errno, log->path, "cannot be written");
    return whole ? SLUICE_OK : write_line(log, run, err);
}

sluice_status sluice_task_log_open(const char *path, const json_t *run, const char *const *paths,
                                   sluice_task_log **out, sluice_error *err)
{
    sluice_task_log *log = calloc(1, sizeof *log);
    if (!log) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log", path);
    log->path = strdup(path);
    log->known = json_object();
    log->paths = paths;
    sluice_status status = log->path && log->known ? go_on(log, run, err)
                                                   : sluice_fail(err, SLUICE_NO_MEMORY,
                                                                 "%s: no memory for a log", path);
    if (status != SLUICE_OK) {
        sluice_task_log_close(log);
        return status;
    }
    *out = log;
    return SLUICE_OK;
}

void sluice_task_log_close(sluice_task_log *log)
{
    if (!log) return;
    if (log->file) fclose(log->file);
    json_decref(log->known);
    free(log->path);
    free(log);
}

sluice_status sluice_task_log_find(const sluice_task_log *log, const sluice_task *task, bool *found,
                                   sluice_task_answer *answer, sluice_error *err)
{
    const char *path = log->paths[task->file];
    char *key = key_of(path, task->line), crc[16];
    if (!key) return no_memory(log, err);
    const json_t *entry = json_object_get(log->known, key);
    free(key);
    *found = entry != NULL;
    if (!entry) return SLUICE_OK;
    snprintf(crc, sizeof crc, "%08x", task->crc);
    if (strcmp(json_string_value(json_object_get(entry, "crc")), crc) != 0)
        return sluice_fail(err, SLUICE_USAGE,
                           "%s: line %d of %s has changed since it was answered: give another file",
                           log->path, task->line, path);
    answer->right = json_is_true(json_object_get(entry, "right"));
    answer->cut = json_is_true(json_object_get(entry, "cut"));
    return SLUICE_OK;
}

sluice_status sluice_task_log_add(sluice_task_log *log, const sluice_task *task,
                                  const sluice_task_answer *answer, int32_t tokens, json_t *got,
                                  sluice_error *err)
{
    char crc[16];
    snprintf(crc, sizeof crc, "%08x", task->crc);
    json_t *entry = json_pack("{s:s, s:i, s:s, s:b, s:b, s:i, s:O}", "file", log->paths[task->file],
                              "line", task->line, "crc", crc, "right", answer->right, "cut",
                              answer->cut, "tokens", tokens, "got", got);
    if (!entry) return no_memory(log, err);
    sluice_status status = write_line(log, entry, err);
    json_decref(entry);
    return status;
}
