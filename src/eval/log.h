/* The log of an evaluation: a line of JSON about the run, then one for each item, written as it
 * comes, so that a run that was interrupted goes on where it stopped.
 *
 * A last line without its end was cut off by whatever ended the run, and is dropped. What an item
 * is, task_log.h and window_log.h know. */
#ifndef SLUICE_EVAL_LOG_H
#define SLUICE_EVAL_LOG_H

#include <jansson.h>

#include "base/status.h"

typedef struct sluice_log sluice_log;

/* Takes a line that was there; SLUICE_BAD_INPUT (naming the line) if it is none of its items. */
typedef sluice_status (*sluice_log_fn)(void *context, const char *path, json_t *item, int32_t line,
                                       sluice_error *err);

/* run: says what an item depends on; it is compared with the file's, which must be equal
 * (SLUICE_USAGE). keep gets every item of a file that exists. */
sluice_status sluice_log_open(const char *path, const json_t *run, sluice_log_fn keep,
                              void *context, sluice_log **out, sluice_error *err);
void sluice_log_close(sluice_log *log); /* NULL is allowed */
sluice_status sluice_log_add(sluice_log *log, const json_t *item, sluice_error *err);
const char *sluice_log_path(const sluice_log *log);

#endif
