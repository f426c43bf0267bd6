/* Reading tasks (see task_file.h). */
#include "eval/task_file.h"

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/json_lines.h"

typedef struct reader {
    sluice_tasks *tasks;
    int32_t file;
    bool thinking;
} reader;

static sluice_status check(const sluice_json_line *line, sluice_error *err)
{
    const json_t *item = line->object;
    const json_t *answer = json_object_get(item, "answer"), *call = json_object_get(item, "call");
    const json_t *tools = json_object_get(item, "tools");
    if (!sluice_json_line_text(line, "question", err)) return SLUICE_BAD_INPUT;
    if (!answer == !call)
        return sluice_json_line_bad(line, "either \"answer\" or \"call\" is needed", err);
    if (answer && !sluice_json_line_text(line, "answer", err)) return SLUICE_BAD_INPUT;
    if (tools && !json_is_array(tools))
        return sluice_json_line_bad(line, "\"tools\" must be an array", err);
    if (!call) return SLUICE_OK;
    if (json_array_size(call) != 2 || !sluice_json_is_text(json_array_get(call, 0)) ||
        !json_is_object(json_array_get(call, 1)))
        return sluice_json_line_bad(line, "\"call\" must be [name, {arguments}]", err);
    if (json_array_size(tools) == 0)
        return sluice_json_line_bad(line, "a \"call\" needs \"tools\"", err);
    return SLUICE_OK;
}

static sluice_status add(void *context, const sluice_json_line *line, sluice_error *err)
{
    const reader *r = context;
    sluice_task *task;
    SLUICE_TRY(check(line, err));
    sluice_task fresh = {.file = r->file,
                         .line = line->number,
                         .crc = sluice_crc32c(0, line->text, line->length),
                         .item = json_incref(line->object)};
    SLUICE_TRY(sluice_tasks_add(r->tasks, &fresh, &task, err));
    return sluice_task_ask(r->tasks, task,
                           json_string_value(json_object_get(line->object, "question")),
                           json_object_get(line->object, "tools"), r->thinking, err);
}

sluice_status sluice_tasks_load(sluice_tasks *out, int32_t n,
                                const sluice_eval_task_options *options, sluice_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        reader r = {.tasks = out, .file = i, .thinking = options->thinking};
        SLUICE_TRY(sluice_json_lines_load(out->paths[i], options->items_max, add, &r, err));
    }
    return SLUICE_OK;
}
