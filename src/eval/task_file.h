/* Tasks with known answers, read from JSONL.
 *
 * sluice/eval.h has the form of a line. What it does not do: ask. */
#ifndef SLUICE_EVAL_TASK_FILE_H
#define SLUICE_EVAL_TASK_FILE_H

#include "eval/ask.h"

/* out has engine and paths. SLUICE_BAD_INPUT names file and line. */
sluice_status sluice_tasks_load(sluice_tasks *out, int32_t n,
                                const sluice_eval_task_options *options, sluice_error *err);

/* A sluice_judge_fn without a context: what the model said (special tokens included) against what
 * was expected. got: a string, or [[name, arguments], ...] where a call was asked for and some were
 * made. */
sluice_status sluice_task_judge(void *context, const sluice_ask_answer *answer, bool *right,
                                json_t **got, sluice_error *err);

#endif
