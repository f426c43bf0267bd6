/* Asking many questions, several at a time.
 *
 * Each question has a slot with a session. A step takes the next token of every answer under way
 * and the prompts of questions that have just moved into a free slot, so that they all share the
 * experts that are read. What all prompts of a file begin with (examples, tools) runs once: its
 * state is copied into the slots. An answer is greedy, or the likeliest of some tokens.
 *
 * What it does not do: know what is asked, or what is right. */
#ifndef SLUICE_EVAL_ASK_H
#define SLUICE_EVAL_ASK_H

#include "eval/task.h"

typedef struct sluice_ask_answer {
    const sluice_task *task;
    const char *text; /* NUL-terminated; without what follows a stop string, and without it */
    size_t length;
    int32_t tokens, choice; /* choice: which of the form's, or -1 */
    bool cut;               /* it did not end in time */
} sluice_ask_answer;

/* Whether an answer is right, and what goes into the log as what was got (any JSON). */
typedef sluice_status (*sluice_judge_fn)(void *context, const sluice_ask_answer *answer,
                                         bool *right, json_t **got, sluice_error *err);

typedef struct sluice_ask_form {
    const char *evaluation;   /* its name in the log */
    int32_t tokens_max;       /* of an answer; it also ends at the context's end */
    const char *const *stops; /* of at most SLUICE_STOP_BYTES_MAX bytes, NULL at the end; or NULL */
    const int32_t *choices;   /* tokens, one of which is the answer; NULL: it is written */
    int32_t n_choices;
    json_t *settings; /* an object: what else answers depend on; borrowed, may be NULL */
    sluice_judge_fn judge;
    void *context;
} sluice_ask_form;

#define SLUICE_STOP_BYTES_MAX 16

/* Asks all tasks that options->log does not know. scores, one for each of the tasks' files, start
 * as zeros. */
sluice_status sluice_ask(sluice_engine *engine, const sluice_tasks *tasks,
                         const sluice_ask_form *form, const sluice_eval_task_options *options,
                         sluice_task_score *scores, sluice_error *err);

/* Fills in the shares of n scores, and the score of all of them together. */
void sluice_scores_finish(sluice_task_score *scores, int32_t n, sluice_task_score *all);

#endif
