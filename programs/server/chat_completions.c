/* /v1/chat/completions: the answer, whole or as chunks. */
#include <stdlib.h>
#include <string.h>

#include "server/openai.h"

typedef struct chat_stream {
    server_answer *answer;
    server_buffer *out; /* while a step runs */
    char id[SERVER_ID_SIZE];
    bool include_usage, begun, done;
    int32_t logprobs_seen;
} chat_stream;

static void chunk(chat_stream *c, json_t *delta, json_t *logprobs, const char *finish)
{
    const server_answer *a = c->answer;
    json_t *value =
        json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:o, s:s?}]}", "id", c->id, "object",
                  "chat.completion.chunk", "created", (json_int_t)a->created, "model",
                  a->server->name, "choices", "index", 0, "delta", delta, "logprobs",
                  logprobs ? logprobs : json_null(), "finish_reason", finish);
    if (value && c->include_usage) json_object_set_new(value, "usage", json_null());
    server_buffer_event(c->out, NULL, value);
}

static void text_chunk(chat_stream *c, const char *member, const sluice_reply_event *event)
{
    if (event->length == 0) return;
    chunk(c, json_pack("{s:o}", member, json_stringn(event->text, event->length)), NULL, NULL);
}

static void on_event(void *context, const server_answer *a, const sluice_reply_event *event)
{
    chat_stream *c = context;
    int index = (int)a->n_calls - 1;
    switch (event->part) {
    case SLUICE_REPLY_REASONING: text_chunk(c, "reasoning_content", event); break;
    case SLUICE_REPLY_CONTENT: text_chunk(c, "content", event); break;
    case SLUICE_REPLY_CALL:
        chunk(c,
              json_pack("{s:[{s:i, s:s, s:s, s:{s:o, s:s}}]}", "tool_calls", "index", index, "id",
                        a->calls[index].id, "type", "function", "function", "name",
                        json_stringn(event->text, event->length), "arguments", ""),
              NULL, NULL);
        break;
    case SLUICE_REPLY_ARGUMENTS:
        chunk(c,
              json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", index, "function",
                        "arguments", json_stringn(event->text, event->length)),
              NULL, NULL);
        break;
    case SLUICE_REPLY_CALL_END: break;
    }
}

static void stream_logprobs(chat_stream *c)
{
    const server_answer *a = c->answer;
    int32_t seen = a->tokens_seen;
    if (a->job->request.top < 0 || seen == c->logprobs_seen) return;
    chunk(c, json_object(), server_openai_logprobs(a->server, a->job, c->logprobs_seen, seen),
          NULL);
    c->logprobs_seen = seen;
}

static void stream_end(chat_stream *c)
{
    const server_answer *a = c->answer;
    if (a->finish == SERVER_FINISH_FAILED || a->finish == SERVER_FINISH_CANCELLED) {
        server_error err = a->job->error;
        server_error_set(&err, 503, "shutting_down", NULL, "the server is shutting down");
        server_buffer_event(c->out, NULL, server_error_json(SERVER_API_OPENAI, &err));
    } else {
        chunk(c, json_object(), NULL, server_openai_finish(a->finish, a->n_calls > 0));
        if (c->include_usage)
            server_buffer_event(c->out, NULL,
                                json_pack("{s:s, s:s, s:I, s:s, s:[], s:o}", "id", c->id, "object",
                                          "chat.completion.chunk", "created",
                                          (json_int_t)a->created, "model", a->server->name,
                                          "choices", "usage",
                                          server_openai_usage(a->prompt_count, a->cached, a->count,
                                                              a->reasoning_count)));
    }
    server_buffer_text(c->out, "data: [DONE]\n\n");
}

static bool stream_next(void *context, server_buffer *out)
{
    chat_stream *c = context;
    c->out = out;
    if (!c->begun) {
        c->begun = true;
        chunk(c, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL, NULL);
        return true;
    }
    server_wait wait = server_answer_step(c->answer);
    if (wait == SERVER_WAIT_GONE) return false;
    if (wait == SERVER_WAIT_QUIET) server_buffer_text(out, ": waiting\n\n");
    stream_logprobs(c);
    if (c->answer->content.failed) out->failed = true;
    if (!c->answer->over) return true;
    stream_end(c);
    return false;
}

static void stream_finish(void *context)
{
    chat_stream *c = context;
    server_answer_close(c->answer);
    free(c);
}

static void answer_whole(server_request *request, server_answer *a)
{
    char id[SERVER_ID_SIZE];
    server_error *err = server_request_error(request);
    if (!server_answer_wait(a)) return; /* nobody is there to be told */
    if (a->finish == SERVER_FINISH_FAILED) *err = a->job->error;
    if (a->finish == SERVER_FINISH_CANCELLED)
        server_error_set(err, 503, "shutting_down", NULL, "the server is shutting down");
    if (a->content.failed)
        server_error_set(err, 503, "overloaded", NULL, "no memory for the answer");
    if (err->status) {
        server_answer_error(request);
        return;
    }
    json_t *message = server_answer_message(a);
    json_object_set_new(message, "refusal", json_null());
    server_id(id, "chatcmpl-");
    server_answer_json(
        request, 200,
        json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:o, s:s}], s:o}", "id", id, "object",
                  "chat.completion", "created", (json_int_t)a->created, "model", a->server->name,
                  "choices", "index", 0, "message", message, "logprobs",
                  a->job->request.top < 0 ? json_null()
                                          : server_openai_logprobs(a->server, a->job, 0, a->count),
                  "finish_reason", server_openai_finish(a->finish, a->n_calls > 0), "usage",
                  server_openai_usage(a->prompt_count, a->cached, a->count, a->reasoning_count)));
}

void server_openai_chat(server_request *request)
{
    server_chat chat = {0};
    server_openai_extra extra = {0};
    server_openai_chat_read(server_request_server(request), server_request_json(request), &chat,
                            &extra, server_request_error(request));
    server_answer *a = server_answer_open(request, &chat, "call_");
    if (!a) {
        server_answer_error(request);
        return;
    }
    chat_stream *c = extra.stream ? calloc(1, sizeof *c) : NULL;
    if (c) {
        *c = (chat_stream){.answer = a, .include_usage = extra.include_usage};
        server_id(c->id, "chatcmpl-");
        a->listener = on_event;
        a->context = c;
        server_answer_stream(request, "text/event-stream",
                             (server_stream){stream_next, stream_finish, c});
        return;
    }
    answer_whole(request, a);
    server_answer_close(a);
}
