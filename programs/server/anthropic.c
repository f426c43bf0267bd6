/* The Anthropic API: answers, whole or as events. */
#include "server/anthropic.h"

#include <stdlib.h>
#include <string.h>

typedef enum block { NO_BLOCK = -1, THINKING, TEXT, TOOL_USE } block;

typedef struct message_stream {
    server_answer *answer;
    server_buffer *out; /* while a step runs */
    char id[SERVER_ID_SIZE];
    bool begun;
    block open;
    int index; /* of the open block, or of the next */
} message_stream;

static const char *stop_reason(const server_answer *a)
{
    if (a->finish == SERVER_FINISH_LENGTH) return "max_tokens";
    if (a->finish == SERVER_FINISH_STOP_TEXT) return "stop_sequence";
    return a->n_calls ? "tool_use" : "end_turn";
}

static json_t *usage_json(const server_answer *a)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "input_tokens", a->prompt_count - a->cached,
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens", a->cached,
                     "output_tokens", a->count);
}

static void emit(message_stream *m, const char *event, json_t *value)
{
    if (value) json_object_set_new(value, "type", json_string(event));
    server_buffer_event(m->out, event, value);
}

static void delta(message_stream *m, const char *type, const char *member,
                  const sluice_reply_event *event)
{
    emit(m, "content_block_delta",
         json_pack("{s:i, s:{s:s, s:o}}", "index", m->index, "delta", "type", type, member,
                   json_stringn(event->text, event->length)));
}

static void close_block(message_stream *m)
{
    static const sluice_reply_event nothing = {.text = ""};
    if (m->open == NO_BLOCK) return;
    if (m->open == THINKING) delta(m, "signature_delta", "signature", &nothing);
    emit(m, "content_block_stop", json_pack("{s:i}", "index", m->index));
    m->open = NO_BLOCK;
    m->index++;
}

static void open_block(message_stream *m, block kind, json_t *content)
{
    close_block(m);
    m->open = kind;
    emit(m, "content_block_start",
         json_pack("{s:i, s:o}", "index", m->index, "content_block", content));
}

static void on_event(void *context, const server_answer *a, const sluice_reply_event *event)
{
    message_stream *m = context;
    switch (event->part) {
    case SLUICE_REPLY_REASONING:
        if (m->open != THINKING)
            open_block(
                m, THINKING,
                json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""));
        if (event->length) delta(m, "thinking_delta", "thinking", event);
        break;
    case SLUICE_REPLY_CONTENT:
        if (event->length == 0) break;
        if (m->open != TEXT)
            open_block(m, TEXT, json_pack("{s:s, s:s}", "type", "text", "text", ""));
        delta(m, "text_delta", "text", event);
        break;
    case SLUICE_REPLY_CALL:
        open_block(m, TOOL_USE,
                   json_pack("{s:s, s:s, s:o, s:{}}", "type", "tool_use", "id",
                             a->calls[a->n_calls - 1].id, "name",
                             json_stringn(event->text, event->length), "input"));
        break;
    case SLUICE_REPLY_ARGUMENTS: delta(m, "input_json_delta", "partial_json", event); break;
    case SLUICE_REPLY_CALL_END: close_block(m); break;
    }
}

static void answer_failed(const server_answer *a, server_error *err)
{
    if (a->finish == SERVER_FINISH_FAILED) *err = a->job->error;
    if (a->finish == SERVER_FINISH_CANCELLED)
        server_error_set(err, 503, NULL, NULL, "the server is shutting down");
    if (a->content.failed) server_error_set(err, 503, NULL, NULL, "no memory for the answer");
}

static json_t *message_json(const server_answer *a, const char *id, json_t *content, bool over)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", id, "type", "message",
                     "role", "assistant", "model", a->server->name, "content", content,
                     "stop_reason", over ? stop_reason(a) : NULL, "stop_sequence",
                     over ? a->stop : NULL, "usage", usage_json(a));
}

static void stream_end(message_stream *m)
{
    const server_answer *a = m->answer;
    server_error err = {0};
    answer_failed(a, &err);
    close_block(m);
    if (err.status) {
        server_buffer_event(m->out, "error", server_error_json(SERVER_API_ANTHROPIC, &err));
        return;
    }
    emit(m, "message_delta",
         json_pack("{s:{s:s, s:s?}, s:o}", "delta", "stop_reason", stop_reason(a), "stop_sequence",
                   a->stop, "usage", usage_json(a)));
    emit(m, "message_stop", json_object());
}

static bool stream_next(void *context, server_buffer *out)
{
    message_stream *m = context;
    m->out = out;
    if (!m->begun) {
        m->begun = true;
        emit(m, "message_start",
             json_pack("{s:o}", "message", message_json(m->answer, m->id, json_array(), false)));
        return true;
    }
    server_wait wait = server_answer_step(m->answer);
    if (wait == SERVER_WAIT_GONE) return false;
    if (wait == SERVER_WAIT_QUIET) emit(m, "ping", json_object());
    if (m->answer->content.failed) out->failed = true;
    if (!m->answer->over) return true;
    stream_end(m);
    return false;
}

static void stream_finish(void *context)
{
    message_stream *m = context;
    server_answer_close(m->answer);
    free(m);
}

static json_t *content_json(const server_answer *a)
{
    json_t *content = json_array();
    if (a->has_reasoning)
        json_array_append_new(content,
                              json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking",
                                        json_stringn(a->reasoning.bytes ? a->reasoning.bytes : "",
                                                     a->reasoning.length),
                                        "signature", ""));
    if (a->content.length)
        json_array_append_new(content,
                              json_pack("{s:s, s:o}", "type", "text", "text",
                                        json_stringn(a->content.bytes, a->content.length)));
    for (size_t i = 0; i < a->n_calls; i++) {
        const server_call *call = &a->calls[i];
        json_t *input = json_loadb(call->arguments.bytes ? call->arguments.bytes : "",
                                   call->arguments.length, JSON_ALLOW_NUL, NULL);
        json_array_append_new(
            content,
            json_pack("{s:s, s:s, s:o, s:o}", "type", "tool_use", "id", call->id, "name",
                      json_stringn(call->name.bytes ? call->name.bytes : "", call->name.length),
                      "input", input ? input : json_object()));
    }
    return content;
}

static void answer_whole(server_request *request, server_answer *a)
{
    char id[SERVER_ID_SIZE];
    server_error *err = server_request_error(request);
    if (!server_answer_wait(a)) return; /* nobody is there to be told */
    answer_failed(a, err);
    if (err->status) {
        server_answer_error(request);
        return;
    }
    server_id(id, "msg_");
    server_answer_json(request, 200, message_json(a, id, content_json(a), true));
}

void server_anthropic_messages(server_request *request)
{
    server_chat chat = {0};
    bool stream = false;
    server_anthropic_read(server_request_server(request), server_request_json(request), false,
                          &chat, &stream, server_request_error(request));
    server_answer *a = server_answer_open(request, &chat, "toolu_");
    if (!a) {
        server_answer_error(request);
        return;
    }
    message_stream *m = stream ? calloc(1, sizeof *m) : NULL;
    if (m) {
        *m = (message_stream){.answer = a, .open = NO_BLOCK};
        server_id(m->id, "msg_");
        a->listener = on_event;
        a->context = m;
        server_answer_stream(request, "text/event-stream",
                             (server_stream){stream_next, stream_finish, m});
        return;
    }
    answer_whole(request, a);
    server_answer_close(a);
}

void server_anthropic_count(server_request *request)
{
    server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    server_chat chat = {0};
    bool stream = false;
    server_anthropic_read(s, server_request_json(request), true, &chat, &stream, err);
    if (!err->status) server_chat_prompt(s, &chat, &chat.job, err);
    if (err->status)
        server_answer_error(request);
    else
        server_answer_json(request, 200,
                           json_pack("{s:I}", "input_tokens", (json_int_t)chat.job.prompt.count));
    server_chat_free(&chat);
}
