/* Fuzzes chat requests and replies: the input is a request and, behind the first NUL byte, the
 * reply to it. A reply must read the same in pieces as it does whole, and its arguments must be
 * JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/text.h"
#include "tokenizer/json_value.h"
#include "tokenizer/text_buffer.h"
#include "tokenizer/utf8.h"

static void check_spans(const sluice_prompt *prompt)
{
    size_t last = 0;
    for (size_t i = 0; i < prompt->trusted_count; i++) {
        sluice_span span = prompt->trusted[i];
        if (span.begin < last || span.end <= span.begin || span.end > prompt->text.length) abort();
        last = span.end;
    }
    if (sluice_utf8_check(prompt->text.bytes, prompt->text.length) != prompt->text.length) abort();
}

/* Writes events down so that pieces of one part join. */
typedef struct record {
    sluice_text_buffer text;
    int last;
} record;

static void note(void *context, const sluice_reply_event *event)
{
    record *r = context;
    if ((int)event->part != r->last || event->part >= SLUICE_REPLY_CALL) {
        sluice_text_buffer_append_byte(&r->text, (char)('0' + event->part));
    }
    r->last = (int)event->part;
    sluice_text_buffer_append(&r->text, event->text, event->length);
    if (event->complete) sluice_text_buffer_append_byte(&r->text, '!');
}

static record read_pieces(const sluice_tools *tools, bool thinking, const char *text, size_t length,
                          size_t piece)
{
    record r = {.last = -1};
    sluice_reply_reader *reader;
    if (sluice_reply_reader_new(tools, thinking, note, &r, &reader, NULL) != SLUICE_OK) return r;
    for (size_t at = 0; at < length; at += piece) {
        size_t part = length - at < piece ? length - at : piece;
        if (sluice_reply_reader_feed(reader, text + at, part, NULL) != SLUICE_OK) abort();
    }
    if (sluice_reply_reader_finish(reader, NULL) != SLUICE_OK) abort();
    sluice_reply_reader_free(reader);
    return r;
}

static void check_reply(const sluice_tools *tools, bool thinking, const char *text, size_t length)
{
    if (sluice_utf8_check(text, length) != length) return;
    record whole = read_pieces(tools, thinking, text, length, length ? length : 1);
    record pieces = read_pieces(tools, thinking, text, length, 1 + length % 5);
    if (whole.text.length != pieces.text.length) abort();
    if (whole.text.length && memcmp(whole.text.bytes, pieces.text.bytes, whole.text.length) != 0) {
        abort();
    }
    sluice_text_buffer_free(&whole.text);
    sluice_text_buffer_free(&pieces.text);
    sluice_reply reply;
    if (sluice_reply_read(tools, thinking, text, length, &reply, NULL) != SLUICE_OK) return;
    for (size_t i = 0; i < reply.call_count; i++) {
        sluice_json_document document;
        const sluice_text *arguments = &reply.calls[i].arguments;
        if (sluice_json_parse("arguments", SLUICE_BAD_INPUT, arguments->bytes, arguments->length,
                              &document, NULL) != SLUICE_OK) {
            abort();
        }
        if (document.root->kind != SLUICE_JSON_IS_OBJECT) abort();
        sluice_json_document_free(&document);
    }
    sluice_reply_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *request = size ? (const char *)data : "";
    const char *end = size ? memchr(request, 0, size) : NULL;
    size_t length = end ? (size_t)(end - request) : size;
    sluice_error err = {0};
    for (int openai = 0; openai < 2; openai++) {
        sluice_prompt prompt;
        sluice_status status = openai ? sluice_chat_render_openai(request, length, &prompt, &err)
                                      : sluice_chat_render(request, length, &prompt, &err);
        if (status == SLUICE_OK) {
            check_spans(&prompt);
            sluice_prompt_free(&prompt);
        } else if (!err.detail[0]) {
            abort(); /* a failure says why */
        }
    }
    if (!end) return 0;
    sluice_tools *tools = NULL;
    if (sluice_tools_open(request, length, &tools, &err) != SLUICE_OK) tools = NULL;
    check_reply(tools, false, end + 1, size - length - 1);
    check_reply(tools, true, end + 1, size - length - 1);
    sluice_tools_close(tools);
    return 0;
}
