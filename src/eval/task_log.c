/* The log of a run over tasks (see task_log.h). */
#include "eval/task_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/log.h"

struct sluice_task_log {
    sluice_log *log;
    const char *const *paths;
    json_t *known; /* "file:line" -> the answer's object */
};

static sluice_status no_memory(const char *path, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log", path);
}

static char *key_of(const char *file, int32_t line)
{
    char *key;
    return asprintf(&key, "%s:%d", file, line) < 0 ? NULL : key;
}

static sluice_status keep(void *context, const char *path, json_t *entry, int32_t line,
                          sluice_error *err)
{
    const sluice_task_log *log = context;
    const char *file, *crc;
    int number, right, cut;
    if (json_unpack(entry, "{s:s, s:i, s:s, s:b, s:b}", "file", &file, "line", &number, "crc", &crc,
                    "right", &right, "cut", &cut) != 0)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: not an answer", path, line);
    char *key = key_of(file, number);
    sluice_status status =
        key && json_object_set(log->known, key, entry) == 0 ? SLUICE_OK : no_memory(path, err);
    free(key);
    return status;
}

sluice_status sluice_task_log_open(const char *path, const json_t *run, const char *const *paths,
                                   sluice_task_log **out, sluice_error *err)
{
    sluice_task_log *log = calloc(1, sizeof *log);
    if (!log) return no_memory(path, err);
    log->known = json_object();
    log->paths = paths;
    sluice_status status =
        log->known ? sluice_log_open(path, run, keep, log, &log->log, err) : no_memory(path, err);
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
    sluice_log_close(log->log);
    json_decref(log->known);
    free(log);
}

sluice_status sluice_task_log_find(const sluice_task_log *log, const sluice_task *task, bool *found,
                                   sluice_task_answer *answer, sluice_error *err)
{
    const char *path = log->paths[task->file];
    char *key = key_of(path, task->line), crc[16];
    if (!key) return no_memory(sluice_log_path(log->log), err);
    const json_t *entry = json_object_get(log->known, key);
    free(key);
    *found = entry != NULL;
    if (!entry) return SLUICE_OK;
    snprintf(crc, sizeof crc, "%08x", task->crc);
    if (strcmp(json_string_value(json_object_get(entry, "crc")), crc) != 0)
        return sluice_fail(err, SLUICE_USAGE,
                           "%s: line %d of %s has changed since it was answered: give another file",
                           sluice_log_path(log->log), task->line, path);
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
    if (!entry) return no_memory(sluice_log_path(log->log), err);
    sluice_status status = sluice_log_add(log->log, entry, err);
    json_decref(entry);
    return status;
}
