/* Questions (see task.h). */
#include "eval/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

sluice_status sluice_tasks_add(sluice_tasks *tasks, const sluice_task *task, sluice_task **added,
                               sluice_error *err)
{
    if (tasks->count == tasks->capacity) {
        int32_t capacity = tasks->capacity ? 2 * tasks->capacity : 256;
        sluice_task *larger = realloc(tasks->tasks, (size_t)capacity * sizeof *larger);
        if (!larger) {
            json_decref(task->item);
            return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d tasks", capacity);
        }
        tasks->tasks = larger;
        tasks->capacity = capacity;
    }
    *added = &tasks->tasks[tasks->count++];
    **added = *task;
    return SLUICE_OK;
}

void sluice_tasks_free(sluice_tasks *tasks)
{
    for (int32_t i = 0; i < tasks->count; i++) {
        sluice_ids_free(&tasks->tasks[i].prompt);
        json_decref(tasks->tasks[i].item);
    }
    free(tasks->tasks);
    *tasks = (sluice_tasks){0};
}

static sluice_status fail_at(const sluice_tasks *tasks, const sluice_task *task,
                             sluice_status status, const char *what, sluice_error *err)
{
    return sluice_fail(err, status, "%s: line %d: %s", tasks->paths[task->file], task->line, what);
}

static sluice_status check_room(const sluice_tasks *tasks, const sluice_task *task,
                                sluice_error *err)
{
    int32_t context = sluice_engine_info(tasks->engine)->context;
    if (task->prompt.count < (size_t)context) return SLUICE_OK;
    return sluice_fail(err, SLUICE_LIMIT,
                       "%s: line %d: a question of %zu tokens leaves no room for an answer in "
                       "a context of %d",
                       tasks->paths[task->file], task->line, task->prompt.count, context);
}

/* One user turn, as a request of the chat template. */
static char *request_of(const char *question, json_t *tools, bool thinking)
{
    json_t *request = json_pack("{s:[{s:s, s:s}], s:b, s:b}", "messages", "role", "user", "content",
                                question, "add_generation_prompt", 1, "enable_thinking", thinking);
    if (request && tools && json_object_set(request, "tools", tools) != 0) {
        json_decref(request);
        request = NULL;
    }
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

static sluice_status check_tokenizer(const sluice_tasks *tasks, sluice_error *err)
{
    if (sluice_engine_tokenizer(tasks->engine)) return SLUICE_OK;
    return sluice_fail(err, SLUICE_USAGE,
                       "the model's folder has no tokenizer.json, which questions need");
}

sluice_status sluice_task_ask(const sluice_tasks *tasks, sluice_task *task, const char *question,
                              json_t *tools, bool thinking, sluice_error *err)
{
    sluice_prompt prompt = {0};
    sluice_error why = {0};
    SLUICE_TRY(check_tokenizer(tasks, err));
    char *request = request_of(question, tools, thinking);
    if (!request) return fail_at(tasks, task, SLUICE_NO_MEMORY, "no memory", err);
    sluice_status status = sluice_chat_render(request, strlen(request), &prompt, &why);
    if (status == SLUICE_OK) {
        task->thinking = prompt.thinking;
        status = sluice_tokenizer_encode_trusted(
            sluice_engine_tokenizer(tasks->engine), prompt.text.bytes, prompt.text.length,
            prompt.trusted, prompt.trusted_count, &task->prompt, &why);
    }
    sluice_prompt_free(&prompt);
    free(request);
    if (status != SLUICE_OK) return fail_at(tasks, task, status, why.detail, err);
    return check_room(tasks, task, err);
}

sluice_status sluice_task_continue(const sluice_tasks *tasks, sluice_task *task, const char *text,
                                   size_t length, sluice_error *err)
{
    sluice_error why = {0};
    SLUICE_TRY(check_tokenizer(tasks, err));
    sluice_status status =
        sluice_tokenizer_encode(sluice_engine_tokenizer(tasks->engine), text, length,
                                SLUICE_SPECIAL_NEVER, &task->prompt, &why);
    if (status != SLUICE_OK) return fail_at(tasks, task, status, why.detail, err);
    return check_room(tasks, task, err);
}
