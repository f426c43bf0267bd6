/* Reading tasks (see task_file.h). */
#include "eval/task_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "os/file.h"

#define FILE_BYTES_MAX ((size_t)1 << 30)

typedef struct reader {
    const sluice_engine *engine;
    const sluice_eval_task_options *options;
    const char *path;
    int32_t file, line;
    sluice_tasks *tasks;
    sluice_error *err;
} reader;

static sluice_status bad(const reader *r, const char *what)
{
    return sluice_fail(r->err, SLUICE_BAD_INPUT, "%s: line %d: %s", r->path, r->line, what);
}

static bool is_text(const json_t *value)
{
    return json_is_string(value) &&
           strspn(json_string_value(value), " \t\r\n") < json_string_length(value);
}

static sluice_status check(const reader *r, const json_t *item)
{
    const json_t *answer = json_object_get(item, "answer"), *call = json_object_get(item, "call");
    const json_t *tools = json_object_get(item, "tools");
    if (!json_is_object(item)) return bad(r, "not a JSON object");
    if (!is_text(json_object_get(item, "question")))
        return bad(r, "\"question\" must be a text that is not empty");
    if (!answer == !call) return bad(r, "either \"answer\" or \"call\" is needed");
    if (answer && !is_text(answer)) return bad(r, "\"answer\" must be a text that is not empty");
    if (tools && !json_is_array(tools)) return bad(r, "\"tools\" must be an array");
    if (!call) return SLUICE_OK;
    if (json_array_size(call) != 2 || !is_text(json_array_get(call, 0)) ||
        !json_is_object(json_array_get(call, 1)))
        return bad(r, "\"call\" must be [name, {arguments}]");
    if (json_array_size(tools) == 0) return bad(r, "a \"call\" needs \"tools\"");
    return SLUICE_OK;
}

/* One user turn, as a request of the chat template. */
static char *request_of(const reader *r, const json_t *item)
{
    json_t *request = json_pack("{s:[{s:s, s:O}], s:b, s:b}", "messages", "role", "user", "content",
                                json_object_get(item, "question"), "add_generation_prompt", 1,
                                "enable_thinking", r->options->thinking);
    json_t *tools = json_object_get(item, "tools");
    if (request && tools && json_object_set(request, "tools", tools) != 0) {
        json_decref(request);
        request = NULL;
    }
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

static sluice_status render(const reader *r, sluice_task *task)
{
    sluice_prompt prompt = {0};
    sluice_error why = {0};
    char *request = request_of(r, task->item);
    if (!request)
        return sluice_fail(r->err, SLUICE_NO_MEMORY, "%s: no memory for line %d", r->path, r->line);
    sluice_status status = sluice_chat_render(request, strlen(request), &prompt, &why);
    if (status == SLUICE_OK) {
        task->thinking = prompt.thinking;
        status = sluice_tokenizer_encode_trusted(
            sluice_engine_tokenizer(r->engine), prompt.text.bytes, prompt.text.length,
            prompt.trusted, prompt.trusted_count, &task->prompt, &why);
    }
    sluice_prompt_free(&prompt);
    free(request);
    if (status != SLUICE_OK)
        return sluice_fail(r->err, status, "%s: line %d: %s", r->path, r->line, why.detail);
    int32_t context = sluice_engine_info(r->engine)->context;
    if (task->prompt.count >= (size_t)context)
        return sluice_fail(r->err, SLUICE_LIMIT,
                           "%s: line %d: a question of %zu tokens leaves no room for an answer in "
                           "a context of %d",
                           r->path, r->line, task->prompt.count, context);
    return SLUICE_OK;
}

static sluice_status add(const reader *r, const char *line, size_t length)
{
    sluice_tasks *all = r->tasks;
    json_error_t why;
    json_t *item = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
    if (!item)
        return sluice_fail(r->err, SLUICE_BAD_INPUT, "%s: line %d: %s", r->path, r->line,
                           length ? why.text : "empty");
    sluice_status status = check(r, item);
    if (status == SLUICE_OK && all->count == all->capacity) {
        int32_t capacity = all->capacity ? 2 * all->capacity : 256;
        sluice_task *tasks = realloc(all->tasks, (size_t)capacity * sizeof *tasks);
        if (tasks) {
            all->tasks = tasks;
            all->capacity = capacity;
        } else {
            status = sluice_fail(r->err, SLUICE_NO_MEMORY, "no memory for %d tasks", capacity);
        }
    }
    if (status != SLUICE_OK) {
        json_decref(item);
        return status;
    }
    sluice_task *task = &all->tasks[all->count++]; /* freed with all others from here on */
    *task = (sluice_task){
        .file = r->file, .line = r->line, .crc = sluice_crc32c(0, line, length), .item = item};
    return render(r, task);
}

static sluice_status read_lines(reader *r, const char *text, size_t bytes)
{
    const char *at = text, *end = text + bytes;
    if (bytes == 0) return sluice_fail(r->err, SLUICE_BAD_INPUT, "%s: empty", r->path);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        if (length && at[length - 1] == '\r') length--;
        if (r->options->items_max > 0 && r->line == r->options->items_max) return SLUICE_OK;
        r->line++;
        SLUICE_TRY(add(r, at, length));
        at = stop ? stop + 1 : end;
    }
    return SLUICE_OK;
}

sluice_status sluice_tasks_load(const sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_tasks *out,
                                sluice_error *err)
{
    sluice_tasks tasks = {0};
    sluice_status status = SLUICE_OK;
    if (!sluice_engine_tokenizer(engine))
        return sluice_fail(err, SLUICE_USAGE,
                           "the model's folder has no tokenizer.json, which tasks need");
    if (n < 1) return sluice_fail(err, SLUICE_USAGE, "no file of tasks was given");
    for (int32_t i = 0; i < n && status == SLUICE_OK; i++) {
        reader r = {.engine = engine,
                    .options = options,
                    .path = paths[i],
                    .file = i,
                    .tasks = &tasks,
                    .err = err};
        char *text = NULL;
        size_t bytes = 0;
        status = sluice_file_load(paths[i], FILE_BYTES_MAX, &text, &bytes, err);
        if (status == SLUICE_OK) status = read_lines(&r, text, bytes);
        free(text);
    }
    if (status != SLUICE_OK) {
        sluice_tasks_free(&tasks);
        return status;
    }
    *out = tasks;
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
