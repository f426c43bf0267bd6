/* Tasks with known answers (sluice/eval.h). */
#include <stdlib.h>

#include "base/status.h"
#include "eval/task_file.h"

#define TOKENS_DEFAULT 256
#define TOKENS_DEFAULT_THINKING 1024

static sluice_status ask(sluice_engine *engine, const sluice_tasks *tasks,
                         const sluice_eval_task_options *options, sluice_task_score *scores,
                         sluice_error *err)
{
    int32_t tokens = options->thinking ? TOKENS_DEFAULT_THINKING : TOKENS_DEFAULT;
    json_t *settings = json_pack("{s:b}", "thinking", options->thinking);
    if (!settings) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for tasks");
    sluice_ask_form form = {.evaluation = "tasks",
                            .tokens_max = options->tokens_max ? options->tokens_max : tokens,
                            .settings = settings,
                            .judge = sluice_task_judge};
    sluice_status status = sluice_ask(engine, tasks, &form, options, scores, err);
    json_decref(settings);
    return status;
}

sluice_status sluice_eval_tasks(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err)
{
    sluice_tasks tasks = {.engine = engine, .paths = paths};
    if (options->tokens_max < 0)
        return sluice_fail(err, SLUICE_USAGE, "answers of %d tokens", options->tokens_max);
    sluice_task_score *scores = calloc((size_t)(n > 0 ? n : 1), sizeof *scores);
    if (!scores) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d scores", n);
    sluice_status status = sluice_tasks_load(&tasks, n, options, err);
    if (status == SLUICE_OK) status = ask(engine, &tasks, options, scores, err);
    if (status == SLUICE_OK) sluice_scores_take(scores, n, each, all);
    sluice_tasks_free(&tasks);
    free(scores);
    return status;
}
