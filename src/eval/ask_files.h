/* Evaluations of questions in files that each have a score of their own. */
#ifndef SLUICE_EVAL_ASK_FILES_H
#define SLUICE_EVAL_ASK_FILES_H

#include "eval/ask.h"

typedef struct sluice_ask_files {
    /* tokens_max is what an answer gets if the options do not say. settings NULL: whether it
     * thinks. */
    sluice_ask_form form;
    int32_t tokens_max_thinking; /* the same for an answer that thinks */
    sluice_status (*load)(sluice_tasks *tasks, int32_t n, const sluice_eval_task_options *options,
                          sluice_error *err);
} sluice_ask_files;

/* Loads n files and asks what is in them. each [n] may be NULL. */
sluice_status sluice_ask_all(sluice_engine *engine, const sluice_ask_files *evaluation,
                             const char *const *paths, int32_t n,
                             const sluice_eval_task_options *options, sluice_task_score *each,
                             sluice_task_score *all, sluice_error *err);

#endif
