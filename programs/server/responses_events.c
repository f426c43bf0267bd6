/* /v1/responses as server-sent events: each item begins, grows and ends; see responses.h. */
#include <stdlib.h>

#include "server/responses.h"

static void emit(server_response *r, const char *type, json_t *value)
{
    if (!r->out) {
        json_decref(value);
        return;
    }
    if (value) {
        json_object_set_new(value, "type", json_string(type));
        json_object_set_new(value, "sequence_number", json_integer(r->sequence++));
    }
    server_buffer_event(r->out, type, value);
}

/* value with the item's place: members item_id, output_index and, of a text, content_index. */
static json_t *at(const server_response *r, size_t item, json_t *value)
{
    char id[SERVER_ID_SIZE + 24];
    if (!value) return NULL;
    json_object_set_new(value, "item_id", json_string(server_item_id(r, item, id)));
    json_object_set_new(value, "output_index", json_integer((json_int_t)item));
    if (r->items[item].kind != SERVER_ITEM_CALL)
        json_object_set_new(value, "content_index", json_integer(0));
    return value;
}

static json_t *item_text(const server_response *r, size_t item)
{
    const server_buffer *text = &r->items[item].text;
    return json_stringn(text->bytes ? text->bytes : "", text->length);
}

static json_t *part(const server_response *r, size_t item, json_t *text)
{
    if (r->items[item].kind == SERVER_ITEM_REASONING)
        return json_pack("{s:{s:s, s:o}}", "part", "type", "reasoning_text", "text", text);
    return json_pack("{s:{s:s, s:o, s:[], s:[]}}", "part", "type", "output_text", "text", text,
                     "annotations", "logprobs");
}

void server_events_item_begins(server_response *r, size_t item)
{
    if (!r->out) return;
    emit(r, "response.output_item.added",
         json_pack("{s:I, s:o}", "output_index", (json_int_t)item, "item",
                   server_item_json(r, item, false)));
    if (r->items[item].kind != SERVER_ITEM_CALL)
        emit(r, "response.content_part.added", at(r, item, part(r, item, json_string(""))));
}

void server_events_item_grows(server_response *r, size_t item, const char *text, size_t length)
{
    static const char *const types[] = {"response.reasoning_text.delta",
                                        "response.output_text.delta",
                                        "response.function_call_arguments.delta"};
    if (!r->out) return;
    json_t *value = json_pack("{s:o}", "delta", json_stringn(text, length));
    if (r->items[item].kind == SERVER_ITEM_MESSAGE)
        json_object_set_new(value, "logprobs", json_array());
    emit(r, types[r->items[item].kind], at(r, item, value));
}

void server_events_item_ends(server_response *r, size_t item)
{
    if (!r->out) return;
    const server_call *call;
    json_t *name;
    switch (r->items[item].kind) {
    case SERVER_ITEM_REASONING:
        emit(r, "response.reasoning_text.done",
             at(r, item, json_pack("{s:o}", "text", item_text(r, item))));
        break;
    case SERVER_ITEM_MESSAGE:
        emit(r, "response.output_text.done",
             at(r, item, json_pack("{s:o, s:[]}", "text", item_text(r, item), "logprobs")));
        break;
    case SERVER_ITEM_CALL:
        call = &r->answer->calls[r->items[item].call];
        name = json_stringn(call->name.bytes ? call->name.bytes : "", call->name.length);
        emit(r, "response.function_call_arguments.done",
             at(r, item, json_pack("{s:o, s:o}", "name", name, "arguments", item_text(r, item))));
        break;
    }
    if (r->items[item].kind != SERVER_ITEM_CALL)
        emit(r, "response.content_part.done", at(r, item, part(r, item, item_text(r, item))));
    emit(r, "response.output_item.done",
         json_pack("{s:I, s:o}", "output_index", (json_int_t)item, "item",
                   server_item_json(r, item, true)));
}

static void begin(server_response *r)
{
    static const char *const types[] = {"response.created", "response.in_progress"};
    r->begun = true;
    for (int i = 0; i < 2; i++)
        emit(r, types[i], json_pack("{s:o}", "response", server_response_json(r, "in_progress")));
}

static void end(server_response *r)
{
    server_error err = {0};
    const char *status = server_response_status(r, &err);
    server_response_end_item(r, !err.status && r->answer->finish != SERVER_FINISH_LENGTH);
    json_t *response = server_response_json(r, status);
    if (err.status) {
        json_object_set_new(
            response, "error",
            json_pack("{s:s, s:s}", "code", "server_error", "message", err.message));
        emit(r, "response.failed", json_pack("{s:o}", "response", response));
        return;
    }
    server_response_remember(r);
    emit(r,
         r->answer->finish == SERVER_FINISH_LENGTH ? "response.incomplete" : "response.completed",
         json_pack("{s:o}", "response", response));
}

static bool next(void *context, server_buffer *out)
{
    server_response *r = context;
    r->out = out;
    if (!r->begun) {
        begin(r);
        return true;
    }
    server_wait wait = server_answer_step(r->answer);
    if (wait == SERVER_WAIT_GONE) return false;
    if (wait == SERVER_WAIT_QUIET) server_buffer_text(out, ": waiting\n\n");
    if (r->failed || r->answer->content.failed) out->failed = true;
    if (!r->answer->over) return true;
    end(r);
    return false;
}

static void finish(void *context)
{
    server_response_close(context);
}

void server_answer_response_events(server_request *request, server_response *r)
{
    server_answer_stream(request, "text/event-stream", (server_stream){next, finish, r});
}
