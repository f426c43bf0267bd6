/* Reads a whole reply at once, with the reader that reads one as it comes. */
#include <stdlib.h>

#include "tokenizer/text_buffer.h"

typedef struct partial_call {
    sluice_text_buffer name, arguments;
    bool complete;
} partial_call;

typedef struct collector {
    sluice_text_buffer content, reasoning;
    bool has_reasoning, failed;
    partial_call *calls;
    size_t count, capacity;
} collector;

static partial_call *call_at(collector *c, size_t index)
{
    if (index < c->count) return &c->calls[index];
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 4;
        partial_call *calls = realloc(c->calls, capacity * sizeof *calls);
        if (!calls) {
            c->failed = true;
            return NULL;
        }
        c->calls = calls;
        c->capacity = capacity;
    }
    c->calls[c->count] = (partial_call){0};
    return &c->calls[c->count++];
}

static void collect(void *context, const sluice_reply_event *event)
{
    collector *c = context;
    sluice_text_buffer *to = event->part == SLUICE_REPLY_CONTENT ? &c->content : &c->reasoning;
    if (event->part == SLUICE_REPLY_REASONING) c->has_reasoning = true;
    if (event->part >= SLUICE_REPLY_CALL) {
        partial_call *call = call_at(c, event->call);
        if (!call) return;
        to = event->part == SLUICE_REPLY_CALL ? &call->name : &call->arguments;
        call->complete = event->complete;
    }
    sluice_text_buffer_append(to, event->text, event->length);
}

/* Moves what was collected into a reply; frees it all if that fails. */
static sluice_status hand_over(collector *c, sluice_reply *out, sluice_error *err)
{
    sluice_status status = SLUICE_OK;
    out->calls = calloc(c->count + 1, sizeof *out->calls);
    if (!out->calls || c->failed) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read a reply");
    }
    if (status == SLUICE_OK) status = sluice_text_buffer_take(&c->content, &out->content, err);
    if (status == SLUICE_OK) status = sluice_text_buffer_take(&c->reasoning, &out->reasoning, err);
    out->has_reasoning = c->has_reasoning;
    for (size_t i = 0; i < c->count && status == SLUICE_OK; i++) {
        sluice_call *call = &out->calls[out->call_count++];
        call->complete = c->calls[i].complete;
        status = sluice_text_buffer_take(&c->calls[i].name, &call->name, err);
        if (status != SLUICE_OK) break;
        status = sluice_text_buffer_take(&c->calls[i].arguments, &call->arguments, err);
    }
    return status;
}

sluice_status sluice_reply_read(const sluice_tools *tools, bool thinking, const char *text,
                                size_t length, sluice_reply *out, sluice_error *err)
{
    *out = (sluice_reply){0};
    collector c = {0};
    sluice_reply_reader *reader;
    SLUICE_TRY(sluice_reply_reader_new(tools, thinking, collect, &c, &reader, err));
    sluice_status status = sluice_reply_reader_feed(reader, text, length, err);
    if (status == SLUICE_OK) status = sluice_reply_reader_finish(reader, err);
    if (status == SLUICE_OK) status = hand_over(&c, out, err);
    sluice_reply_reader_free(reader);
    for (size_t i = 0; i < c.count; i++) {
        sluice_text_buffer_free(&c.calls[i].name);
        sluice_text_buffer_free(&c.calls[i].arguments);
    }
    free(c.calls);
    sluice_text_buffer_free(&c.content);
    sluice_text_buffer_free(&c.reasoning);
    if (status != SLUICE_OK) sluice_reply_free(out);
    return status;
}

void sluice_reply_free(sluice_reply *reply)
{
    if (!reply) return;
    sluice_text_free(&reply->content);
    sluice_text_free(&reply->reasoning);
    for (size_t i = 0; i < reply->call_count; i++) {
        sluice_text_free(&reply->calls[i].name);
        sluice_text_free(&reply->calls[i].arguments);
    }
    free(reply->calls);
    *reply = (sluice_reply){0};
}
