/* Tasks with known answers: read from JSONL, checked, rendered and tokenised before any is asked.
 *
 * sluice/eval.h has the form of a line. What it does not do: ask. */
#ifndef SLUICE_EVAL_TASK_FILE_H
#define SLUICE_EVAL_TASK_FILE_H

#include <jansson.h>

#include "sluice/eval.h"

typedef struct sluice_task {
    int32_t file, line; /* which of the files; from 1 */
    uint32_t crc;       /* of the line's bytes */
    sluice_ids prompt;
    bool thinking; /* the answer begins within <think> */
    json_t *item;  /* the line */
} sluice_task;

typedef struct sluice_tasks {
    sluice_task *tasks;
    int32_t count, capacity;
} sluice_tasks;

/* SLUICE_BAD_INPUT names file and line. SLUICE_LIMIT: a question leaves no room in the context. */
sluice_status sluice_tasks_load(const sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_tasks *out,
                                sluice_error *err);
void sluice_tasks_free(sluice_tasks *tasks);

/* What the model's answer (text, special tokens included) is worth. *got is what it said: a string,
 * or [[name, arguments], ...] where a call was asked for and some were made; json_decref it. */
sluice_status sluice_task_judge(const sluice_task *task, const char *text, size_t length,
                                bool *right, json_t **got, sluice_error *err);

#endif
