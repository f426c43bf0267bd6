/* GSM8K (see sluice/benchmarks.h): questions as the usual harness asks them without examples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/ask_files.h"
#include "eval/json_lines.h"
#include "eval/last_number.h"
#include "sluice/benchmarks.h"

typedef struct reader {
    sluice_tasks *tasks;
    int32_t file;
    bool thinking;
} reader;

static sluice_status add(void *context, const sluice_json_line *line, sluice_error *err)
{
    const reader *r = context;
    char expected[SLUICE_NUMBER_BYTES], *turn = NULL;
    const char *question = sluice_json_line_text(line, "question", err);
    const char *answer = question ? sluice_json_line_text(line, "answer", err) : NULL;
    if (!answer) return SLUICE_BAD_INPUT;
    const char *mark = strstr(answer, "#### ");
    if (!mark || !sluice_last_number(mark, strlen(mark), expected))
        return sluice_json_line_bad(line, "\"answer\" must end with '#### ' and a number", err);
    sluice_task *task;
    sluice_task fresh = {.file = r->file,
                         .line = line->number,
                         .crc = sluice_crc32c(0, line->text, line->length),
                         .item = json_pack("{s:s}", "answer", expected)};
    if (!fresh.item) return sluice_json_line_bad(line, "no memory for it", err);
    SLUICE_TRY(sluice_tasks_add(r->tasks, &fresh, &task, err));
    if (asprintf(&turn, "Q: %s\nA: Let's think step by step.", question) < 0)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for line %d", line->path,
                           line->number);
    sluice_status status = sluice_task_ask(r->tasks, task, turn, NULL, r->thinking, err);
    free(turn);
    return status;
}

static sluice_status load(sluice_tasks *tasks, int32_t n, const sluice_eval_task_options *options,
                          sluice_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        reader r = {tasks, i, options->thinking};
        SLUICE_TRY(sluice_json_lines_load(tasks->paths[i], options->items_max, add, &r, err));
    }
    return SLUICE_OK;
}

/* Thoughts apart; one that was cut off within them has no answer. */
static sluice_status judge(void *context, const sluice_ask_answer *answer, bool *right,
                           json_t **got, sluice_error *err)
{
    char number[SLUICE_NUMBER_BYTES] = "";
    sluice_reply reply = {0};
    (void)context;
    SLUICE_TRY(
        sluice_reply_read(NULL, answer->task->thinking, answer->text, answer->length, &reply, err));
    const json_t *expected = json_object_get(answer->task->item, "answer");
    const char *content = reply.content.bytes ? reply.content.bytes : "";
    *right = sluice_last_number(content, reply.content.length, number) &&
             strcmp(number, json_string_value(expected)) == 0;
    *got = json_pack("{s:s, s:s, s:o}", "number", number, "answer", json_string_value(expected),
                     "text", json_stringn(content, reply.content.length));
    sluice_reply_free(&reply);
    return *got ? SLUICE_OK : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to judge an answer");
}

sluice_status sluice_eval_gsm8k(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err)
{
    static const sluice_ask_files gsm8k = {
        .form = {.evaluation = "gsm8k", .tokens_max = 1024, .judge = judge},
        .tokens_max_thinking = 8192,
        .load = load};
    return sluice_ask_all(engine, &gsm8k, paths, n, options, each, all, err);
}
