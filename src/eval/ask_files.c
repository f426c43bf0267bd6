/* Loading files of questions, asking them, and a score for each (see ask_files.h). */
#include "eval/ask_files.h"

#include <stdlib.h>

#include "base/status.h"

static sluice_status ask(sluice_engine *engine, const sluice_ask_files *evaluation,
                         const sluice_tasks *tasks, const sluice_eval_task_options *options,
                         sluice_task_score *scores, sluice_error *err)
{
    sluice_ask_form form = evaluation->form;
    json_t *thinking = json_pack("{s:b}", "thinking", options->thinking);
    if (!thinking) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %s", form.evaluation);
    if (!form.settings) form.settings = thinking;
    if (options->thinking) form.tokens_max = evaluation->tokens_max_thinking;
    if (options->tokens_max) form.tokens_max = options->tokens_max;
    sluice_status status = sluice_ask(engine, tasks, &form, options, scores, err);
    json_decref(thinking);
    return status;
}

sluice_status sluice_ask_all(sluice_engine *engine, const sluice_ask_files *evaluation,
                             const char *const *paths, int32_t n,
                             const sluice_eval_task_options *options, sluice_task_score *each,
                             sluice_task_score *all, sluice_error *err)
{
    sluice_tasks tasks = {.engine = engine, .paths = paths};
    if (options->tokens_max < 0)
        return sluice_fail(err, SLUICE_USAGE, "answers of %d tokens", options->tokens_max);
    sluice_task_score *scores = calloc((size_t)(n > 0 ? n : 1), sizeof *scores);
    if (!scores) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d scores", n);
    sluice_status status = evaluation->load(&tasks, n, options, err);
    if (status == SLUICE_OK) status = ask(engine, evaluation, &tasks, options, scores, err);
    if (status == SLUICE_OK) {
        sluice_scores_finish(scores, n, all);
        for (int32_t i = 0; each && i < n; i++)
            each[i] = scores[i];
    }
    sluice_tasks_free(&tasks);
    free(scores);
    return status;
}
