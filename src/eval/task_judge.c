/* Whether an answer is right (see task_file.h). */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "eval/task_file.h"

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The same text without white space at its ends. */
static const char *strip(const char *text, size_t *length)
{
    while (*length && is_white(text[*length - 1]))
        --*length;
    while (*length && is_white(*text)) {
        text++;
        --*length;
    }
    return text;
}

static bool same_answer(const json_t *expected, const char *got, size_t length)
{
    size_t wanted = json_string_length(expected);
    const char *text = strip(json_string_value(expected), &wanted);
    return wanted == length && memcmp(text, got, length) == 0;
}

/* [[name, arguments], ...]; NULL without memory. */
static json_t *calls_of(const sluice_reply *reply)
{
    json_t *calls = json_array();
    for (size_t i = 0; calls && i < reply->call_count; i++) {
        const sluice_call *call = &reply->calls[i];
        json_t *arguments =
            json_loadb(call->arguments.bytes, call->arguments.length, JSON_DECODE_ANY, NULL);
        json_t *pair = json_pack("[o, o]", json_stringn(call->name.bytes, call->name.length),
                                 arguments ? arguments : json_null());
        if (json_array_append_new(calls, pair) != 0) {
            json_decref(calls);
            return NULL;
        }
    }
    return calls;
}

static void judge(const sluice_task *task, const sluice_reply *reply, bool *right, json_t **got)
{
    const json_t *call = json_object_get(task->item, "call");
    size_t length = reply->content.length;
    const char *content = strip(reply->content.bytes ? reply->content.bytes : "", &length);
    if (call && reply->call_count) {
        *got = calls_of(reply);
        *right = reply->call_count == 1 && reply->calls[0].complete &&
                 json_equal(json_array_get(*got, 0), call);
        return;
    }
    *got = json_stringn(content, length);
    *right = !call && !reply->call_count &&
             same_answer(json_object_get(task->item, "answer"), content, length);
}

sluice_status sluice_task_judge(void *context, const sluice_ask_answer *answer, bool *right,
                                json_t **got, sluice_error *err)
{
    const sluice_task *task = answer->task;
    const json_t *list = json_object_get(task->item, "tools");
    sluice_tools *tools = NULL;
    sluice_reply reply = {0};
    (void)context;
    char *json = list ? json_dumps(list, JSON_COMPACT) : NULL;
    if (list && !json) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to judge an answer");
    sluice_status status = json ? sluice_tools_open(json, strlen(json), &tools, err) : SLUICE_OK;
    if (status == SLUICE_OK)
        status =
            sluice_reply_read(tools, task->thinking, answer->text, answer->length, &reply, err);
    if (status == SLUICE_OK) {
        judge(task, &reply, right, got);
        if (!*got) status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory to judge an answer");
    }
    sluice_reply_free(&reply);
    if (tools) sluice_tools_close(tools);
    free(json);
    return status;
}
