/* Answers; see answer.h. */
#include "server/answer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "output.h"
#include "server/replay.h"
#include "server/scheduler.h"

void server_id(char id[SERVER_ID_SIZE], const char *prefix)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char noise[24] = {0};
    size_t length = strlen(prefix);
    memcpy(id, prefix, length);
    struct timespec now;
    if (getrandom(noise, sizeof noise, 0) != sizeof noise) { /* ids need not be secret */
        clock_gettime(CLOCK_MONOTONIC, &now);
        memcpy(noise, &now, sizeof now);
    }
    for (size_t i = 0; i < sizeof noise && length < SERVER_ID_SIZE - 1; i++)
        id[length++] = letters[noise[i] % (sizeof letters - 1)];
    id[length] = '\0';
}

static server_call *begin_call(server_answer *a)
{
    if (a->n_calls == a->calls_room) {
        size_t room = a->calls_room ? 2 * a->calls_room : 4;
        server_call *grown = realloc(a->calls, room * sizeof *grown);
        if (!grown) return NULL;
        a->calls = grown;
        a->calls_room = room;
    }
    server_call *call = &a->calls[a->n_calls++];
    *call = (server_call){0};
    server_id(call->id, a->call_prefix);
    return call;
}

static void on_event(void *context, const sluice_reply_event *event)
{
    server_answer *a = context;
    server_call *call = a->n_calls ? &a->calls[a->n_calls - 1] : NULL;
    switch (event->part) {
    case SLUICE_REPLY_REASONING:
        a->has_reasoning = true;
        server_buffer_append(&a->reasoning, event->text, event->length);
        break;
    case SLUICE_REPLY_CONTENT: server_buffer_append(&a->content, event->text, event->length); break;
    case SLUICE_REPLY_CALL:
        call = begin_call(a);
        if (call)
            server_buffer_append(&call->name, event->text, event->length);
        else
            a->content.failed = true;
        break;
    case SLUICE_REPLY_ARGUMENTS:
        if (call) server_buffer_append(&call->arguments, event->text, event->length);
        break;
    case SLUICE_REPLY_CALL_END:
        if (call) call->complete = event->complete;
        break;
    }
    if (a->listener && !a->content.failed) a->listener(a->context, a, event);
}

static bool open_reader(server_answer *a, server_error *err)
{
    sluice_error why = {0};
    sluice_status status = SLUICE_OK;
    char *text = a->chat.tools ? json_dumps(a->chat.tools, JSON_COMPACT) : NULL;
    if (text) status = sluice_tools_open(text, strlen(text), &a->tools, &why);
    free(text);
    if (status == SLUICE_OK)
        status = sluice_reply_reader_new(a->tools, a->job->request.thinking, on_event, a,
                                         &a->reader, &why);
    return status == SLUICE_OK || server_error_from(err, &why);
}

server_answer *server_answer_open(server_request *request, server_chat *chat,
                                  const char *call_prefix)
{
    server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    server_answer *a = calloc(1, sizeof *a);
    server_job *job = server_chat_job(s, chat, server_request_client(request), err);
    if (!a || !job) {
        server_error_set(err, 503, "overloaded", NULL, "no memory for the answer");
        server_job_release(job);
        server_chat_free(chat);
        free(a);
        return NULL;
    }
    *a = (server_answer){.server = s,
                         .job = job,
                         .chat = *chat,
                         .socket = server_request_socket(request),
                         .created = time(NULL),
                         .call_prefix = call_prefix,
                         .prompt_count = (int32_t)job->request.prompt.count};
    *chat = (server_chat){0};
    bool submitted = open_reader(a, err) && server_scheduler_submit(s->scheduler, job, err);
    server_request_came(request);
    if (!submitted) {
        a->over = true; /* it never ran */
        server_answer_close(a);
        return NULL;
    }
    return a;
}

void server_answer_close(server_answer *a)
{
    if (!a->over) {
        server_job_cancel(a->job);
        atomic_fetch_add(&a->server->counters.cancelled, 1);
    }
    sluice_reply_reader_free(a->reader);
    sluice_tools_close(a->tools);
    server_job_release(a->job);
    server_chat_free(&a->chat);
    server_buffer_free(&a->content);
    server_buffer_free(&a->reasoning);
    for (size_t i = 0; i < a->n_calls; i++) {
        server_buffer_free(&a->calls[i].name);
        server_buffer_free(&a->calls[i].arguments);
    }
    free(a->calls);
    free(a);
}

json_t *server_answer_message(const server_answer *a)
{
    json_t *message =
        json_pack("{s:s, s:o}", "role", "assistant", "content",
                  a->content.length ? json_stringn(a->content.bytes, a->content.length)
                                    : (a->n_calls ? json_null() : json_string("")));
    if (a->has_reasoning)
        json_object_set_new(
            message, "reasoning_content",
            json_stringn(a->reasoning.bytes ? a->reasoning.bytes : "", a->reasoning.length));
    json_t *calls = a->n_calls ? json_array() : NULL;
    for (size_t i = 0; i < a->n_calls; i++) {
        const server_call *call = &a->calls[i];
        json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s#, s:s#}}", "id", call->id, "type",
                                               "function", "function", "name",
                                               call->name.bytes ? call->name.bytes : "",
                                               (int)call->name.length, "arguments",
                                               call->arguments.bytes ? call->arguments.bytes : "",
                                               (int)call->arguments.length));
    }
    if (calls) json_object_set_new(message, "tool_calls", calls);
    return message;
}

/* Tokens up to the end of thinking, that end included. */
static int32_t count_reasoning(const server_answer *a)
{
    int32_t end = sluice_tokenizer_find(a->server->tokenizer, "</think>");
    if (!a->job->request.thinking) return 0;
    for (int32_t i = 0; i < a->count; i++)
        if (a->job->tokens[i] == end) return i + 1;
    return a->count;
}

/* The job ended: nothing changes it any more. */
static void end(server_answer *a)
{
    server_job *job = a->job;
    a->over = true;
    a->finish = job->finish;
    a->cached = job->cached;
    a->count = job->count;
    if (a->finish == SERVER_FINISH_STOP_TEXT) a->stop = job->request.stops[job->stop];
    if (sluice_reply_reader_finish(a->reader, NULL) != SLUICE_OK) a->content.failed = true;
    a->reasoning_count = count_reasoning(a);
    if (a->finish == SERVER_FINISH_STOP && !a->content.failed) {
        json_t *message = server_answer_message(a);
        server_replay_note(a->server->replay, &a->chat, message, job->request.prompt.ids,
                           job->request.prompt.count, job->tokens, (size_t)job->count);
        json_decref(message);
    }
    if (a->server->options.log_prompts)
        cli_note("answer: %s", job->text.bytes ? job->text.bytes : "");
}

server_wait server_answer_step(server_answer *a)
{
    server_job *job = a->job;
    server_buffer text = {0};
    if (a->over) return SERVER_WAIT_MORE;
    server_wait wait =
        server_job_wait(job, a->tokens_seen, a->text_seen, a->socket, SERVER_QUIET_MS);
    if (wait != SERVER_WAIT_MORE) return wait;
    pthread_mutex_lock(&job->mutex);
    server_buffer_append(&text, job->text.bytes ? job->text.bytes + a->text_seen : "",
                         job->text.length - a->text_seen);
    a->tokens_seen = job->count;
    a->text_seen = job->text.length;
    bool over = job->finish != SERVER_RUNNING;
    pthread_mutex_unlock(&job->mutex);
    if (text.failed ||
        sluice_reply_reader_feed(a->reader, text.bytes, text.length, NULL) != SLUICE_OK)
        a->content.failed = true;
    server_buffer_free(&text);
    if (over) end(a);
    return SERVER_WAIT_MORE;
}

bool server_answer_wait(server_answer *a)
{
    while (!a->over)
        if (server_answer_step(a) == SERVER_WAIT_GONE) return false;
    return true;
}
