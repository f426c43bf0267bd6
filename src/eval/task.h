/* Questions to a model, whatever file they are from: checked, rendered and tokenised before any is
 * asked.
 *
 * What it does not do: read files, ask, judge. */
#ifndef SLUICE_EVAL_TASK_H
#define SLUICE_EVAL_TASK_H

#include <jansson.h>

#include "sluice/eval.h"

typedef struct sluice_task {
    int32_t file, line; /* which of the files; from 1 */
    uint32_t crc;       /* of what the file says */
    sluice_ids prompt;
    bool thinking; /* the answer begins within <think> */
    json_t *item;  /* what judging needs */
} sluice_task;

typedef struct sluice_tasks {
    const sluice_engine *engine;
    const char *const *paths; /* of the files, kept by the caller */
    sluice_task *tasks;
    int32_t count, capacity;
} sluice_tasks;

/* Adds a task without a prompt and takes task->item over, also on failure. *added is valid until
 * the next one. */
sluice_status sluice_tasks_add(sluice_tasks *tasks, const sluice_task *task, sluice_task **added,
                               sluice_error *err);
void sluice_tasks_free(sluice_tasks *tasks);

/* Gives a task its prompt: one user turn of the chat template (tools may be NULL), or text that
 * goes on. Errors name file and line. SLUICE_LIMIT: it leaves no room for an answer in the
 * context. */
sluice_status sluice_task_ask(const sluice_tasks *tasks, sluice_task *task, const char *question,
                              json_t *tools, bool thinking, sluice_error *err);
sluice_status sluice_task_continue(const sluice_tasks *tasks, sluice_task *task, const char *text,
                                   size_t length, sluice_error *err);

#endif
