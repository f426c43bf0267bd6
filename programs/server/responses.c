/* /v1/responses: the answer as items, and the response around them; see responses.h. */
#include "server/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/openai.h"
#include "server/response_store.h"

const char *server_item_id(const server_response *r, size_t index, char id[SERVER_ID_SIZE + 24])
{
    static const char *const prefixes[] = {"rs_", "msg_", "fc_"};
    snprintf(id, SERVER_ID_SIZE + 24, "%s%s_%zu", prefixes[r->items[index].kind],
             r->id + strlen("resp_"), index);
    return id;
}

static json_t *text_json(const server_buffer *text)
{
    return json_stringn(text->bytes ? text->bytes : "", text->length);
}

json_t *server_item_json(const server_response *r, size_t index, bool whole)
{
    const server_item *item = &r->items[index];
    const server_call *call = &r->answer->calls[item->call];
    const char *status = !whole ? "in_progress" : item->whole ? "completed" : "incomplete";
    char id[SERVER_ID_SIZE + 24];
    json_t *content = json_array();
    server_item_id(r, index, id);
    if (item->kind == SERVER_ITEM_CALL) {
        json_decref(content);
        return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "type", "function_call", "id", id,
                         "status", status, "call_id", call->id, "name", text_json(&call->name),
                         "arguments", whole ? text_json(&item->text) : json_string(""));
    }
    if (item->kind == SERVER_ITEM_REASONING) {
        if (whole)
            json_array_append_new(content, json_pack("{s:s, s:o}", "type", "reasoning_text", "text",
                                                     text_json(&item->text)));
        return json_pack("{s:s, s:s, s:s, s:[], s:o}", "type", "reasoning", "id", id, "status",
                         status, "summary", "content", content);
    }
    if (whole)
        json_array_append_new(content,
                              json_pack("{s:s, s:o, s:[], s:[]}", "type", "output_text", "text",
                                        text_json(&item->text), "annotations", "logprobs"));
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "message", "id", id, "status", status,
                     "role", "assistant", "content", content);
}

const char *server_response_status(const server_response *r, server_error *err)
{
    const server_answer *a = r->answer;
    if (a->finish == SERVER_FINISH_FAILED) *err = a->job->error;
    if (a->finish == SERVER_FINISH_CANCELLED)
        server_error_set(err, 503, "shutting_down", NULL, "the server is shutting down");
    if (r->failed || a->content.failed)
        server_error_set(err, 503, "overloaded", NULL, "no memory for the answer");
    if (err->status) return "failed";
    return a->finish == SERVER_FINISH_LENGTH ? "incomplete" : "completed";
}

static json_t *usage_json(const server_answer *a)
{
    return json_pack("{s:i, s:{s:i}, s:i, s:{s:i}, s:i}", "input_tokens", a->prompt_count,
                     "input_tokens_details", "cached_tokens", a->cached, "output_tokens", a->count,
                     "output_tokens_details", "reasoning_tokens", a->reasoning_count,
                     "total_tokens", a->prompt_count + a->count);
}

json_t *server_response_json(const server_response *r, const char *status)
{
    const server_answer *a = r->answer;
    bool over = strcmp(status, "in_progress") != 0;
    json_t *output = json_array();
    for (size_t i = 0; i < r->n_items && over; i++)
        json_array_append_new(output, server_item_json(r, i, true));
    json_t *value = json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:n, s:n, s:s?, s:o}", "id", r->id,
                              "object", "response", "created_at", (json_int_t)a->created, "status",
                              status, "model", a->server->name, "output", output, "error",
                              "incomplete_details", "previous_response_id", r->asked.previous,
                              "usage", over ? usage_json(a) : json_null());
    if (!strcmp(status, "incomplete"))
        json_object_set_new(value, "incomplete_details",
                            json_pack("{s:s}", "reason", "max_output_tokens"));
    if (value) json_object_update_missing(value, r->asked.echo);
    return value;
}

void server_response_end_item(server_response *r, bool whole)
{
    server_item *last = r->n_items ? &r->items[r->n_items - 1] : NULL;
    if (!last || last->ended) return;
    last->ended = true;
    last->whole = whole;
    server_events_item_ends(r, r->n_items - 1);
}

static server_item *begin_item(server_response *r, server_item_kind kind)
{
    server_response_end_item(r, true);
    if (r->n_items == r->items_room) {
        size_t room = r->items_room ? 2 * r->items_room : 4;
        server_item *grown = realloc(r->items, room * sizeof *grown);
        r->failed |= !grown;
        if (!grown) return NULL;
        r->items = grown;
        r->items_room = room;
    }
    server_item *item = &r->items[r->n_items++];
    *item = (server_item){.kind = kind, .call = r->answer->n_calls ? r->answer->n_calls - 1 : 0};
    server_events_item_begins(r, r->n_items - 1);
    return item;
}

/* A piece of text, to the item that is open if it is of this kind. */
static void grow(server_response *r, server_item_kind kind, const sluice_reply_event *event)
{
    server_item *item = r->n_items ? &r->items[r->n_items - 1] : NULL;
    if (event->length == 0) return;
    if (!item || item->ended || item->kind != kind) item = begin_item(r, kind);
    if (!item) return;
    server_buffer_append(&item->text, event->text, event->length);
    r->failed |= item->text.failed;
    server_events_item_grows(r, r->n_items - 1, event->text, event->length);
}

static void on_event(void *context, const server_answer *answer, const sluice_reply_event *event)
{
    server_response *r = context;
    (void)answer;
    switch (event->part) {
    case SLUICE_REPLY_REASONING: grow(r, SERVER_ITEM_REASONING, event); break;
    case SLUICE_REPLY_CONTENT: grow(r, SERVER_ITEM_MESSAGE, event); break;
    case SLUICE_REPLY_CALL: begin_item(r, SERVER_ITEM_CALL); break;
    case SLUICE_REPLY_ARGUMENTS: grow(r, SERVER_ITEM_CALL, event); break;
    case SLUICE_REPLY_CALL_END: server_response_end_item(r, event->complete); break;
    }
}

void server_response_remember(const server_response *r)
{
    const server_answer *a = r->answer;
    if (!r->asked.store || a->finish == SERVER_FINISH_FAILED ||
        a->finish == SERVER_FINISH_CANCELLED)
        return;
    json_array_append_new(r->asked.history, server_answer_message(a));
    server_response_store_put(a->server->responses, r->id, r->asked.history);
}

void server_response_close(server_response *r)
{
    server_answer_close(r->answer);
    server_responses_asked_free(&r->asked);
    for (size_t i = 0; i < r->n_items; i++)
        server_buffer_free(&r->items[i].text);
    free(r->items);
    free(r);
}

static void answer_whole(server_request *request, server_response *r)
{
    server_error *err = server_request_error(request);
    if (!server_answer_wait(r->answer)) return; /* nobody is there to be told */
    server_response_end_item(r, r->answer->finish != SERVER_FINISH_LENGTH);
    const char *status = server_response_status(r, err);
    if (err->status) {
        server_answer_error(request);
        return;
    }
    server_response_remember(r);
    server_answer_json(request, 200, server_response_json(r, status));
}

void server_openai_responses(server_request *request)
{
    server_chat chat = {0};
    server_error *err = server_request_error(request);
    server_response *r = calloc(1, sizeof *r);
    if (!r) server_error_set(err, 503, "overloaded", NULL, "no memory for the answer");
    if (r)
        server_responses_read(server_request_server(request), server_request_json(request), &chat,
                              &r->asked, err);
    server_answer *a = server_answer_open(request, &chat, "call_");
    if (!a) {
        if (r) server_responses_asked_free(&r->asked);
        free(r);
        server_answer_error(request);
        return;
    }
    r->answer = a;
    server_id(r->id, "resp_");
    a->listener = on_event;
    a->context = r;
    if (r->asked.stream) {
        server_answer_response_events(request, r);
        return;
    }
    answer_whole(request, r);
    server_response_close(r);
}
