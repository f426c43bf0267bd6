/* Tasks with known answers (sluice/eval.h). */
#include "eval/ask_files.h"
#include "eval/task_file.h"

sluice_status sluice_eval_tasks(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err)
{
    static const sluice_ask_files tasks = {
        .form = {.evaluation = "tasks", .tokens_max = 256, .judge = sluice_task_judge},
        .tokens_max_thinking = 1024,
        .load = sluice_tasks_load};
    return sluice_ask_all(engine, &tasks, paths, n, options, each, all, err);
}
