/* The log of a run over tasks: one line for each answer, written as it comes (log.h). */
#ifndef SLUICE_EVAL_TASK_LOG_H
#define SLUICE_EVAL_TASK_LOG_H

#include "eval/task.h"

typedef struct sluice_task_log sluice_task_log;

/* What was answered before. */
typedef struct sluice_task_answer {
    bool right, cut;
} sluice_task_answer;

/* run: says what an answer depends on; it is compared with the file's, which must be equal
 * (SLUICE_USAGE). paths: of the tasks' files, kept by the caller. */
sluice_status sluice_task_log_open(const char *path, const json_t *run, const char *const *paths,
                                   sluice_task_log **out, sluice_error *err);

/* false: not there. A task whose line has changed since is SLUICE_USAGE. */
sluice_status sluice_task_log_find(const sluice_task_log *log, const sluice_task *task, bool *found,
                                   sluice_task_answer *answer, sluice_error *err);

/* got is borrowed. */
sluice_status sluice_task_log_add(sluice_task_log *log, const sluice_task *task,
                                  const sluice_task_answer *answer, int32_t tokens, json_t *got,
                                  sluice_error *err);
void sluice_task_log_close(sluice_task_log *log); /* NULL is allowed */

#endif
