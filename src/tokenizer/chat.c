/* The chat template of the Qwen3.5 family, in C: a request in JSON to the exact text of the prompt,
 * or to the exact error.
 *
 * It follows the template statement by statement, corner cases included (a tool message that comes
 * first has no header, a user message that looks like a tool response is no query). What the
 * template writes itself is marked as trusted; what comes from messages and tools is not. */
#include <stdlib.h>

#include "tokenizer/chat_content.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/json_write.h"

typedef struct renderer {
    const sluice_json_value *request;
    const sluice_json_value **messages;
    size_t count;
    size_t last_query; /* reasoning is kept in assistant messages behind it */
    bool openai;
    sluice_chat_media media;
    sluice_rope out;
    sluice_rope content; /* of the message at hand, [begin, end) without white space around */
    size_t begin, end;
} renderer;

static void write_fixed(renderer *r, const char *string)
{
    sluice_rope_append(&r->out, string, strlen(string), true);
}

static void write_message_text(renderer *r, const char *text, size_t length)
{
    sluice_rope_append(&r->out, text, length, false);
}

static void write_content(renderer *r)
{
    sluice_rope_append_slice(&r->out, &r->content, r->begin, r->end);
}

static bool has_role(const sluice_json_value *message, const char *role)
{
    return sluice_json_is_string(sluice_json_get(message, "role"), role);
}

static sluice_status load_content(renderer *r, const sluice_json_value *message, bool count,
                                  bool is_system, sluice_error *err)
{
    r->content.text.length = 0;
    r->content.count = 0;
    SLUICE_TRY(sluice_chat_content_render(sluice_json_get(message, "content"), &r->media, count,
                                          is_system, &r->content, &r->begin, &r->end, err));
    if (!r->content.text.failed) return SLUICE_OK;
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to render a message");
}

static const char *content_text(const renderer *r)
{
    return r->content.text.bytes + r->begin;
}

static bool content_starts(const renderer *r, const char *tag)
{
    size_t length = strlen(tag);
    return r->end - r->begin >= length && memcmp(content_text(r), tag, length) == 0;
}

static bool content_ends(const renderer *r, const char *tag)
{
    size_t length = strlen(tag);
    return r->end - r->begin >= length &&
           memcmp(r->content.text.bytes + r->end - length, tag, length) == 0;
}

/* The tools and the system message, which stand in one turn. */
static sluice_status render_head(renderer *r, sluice_error *err)
{
    const sluice_json_value *tools = sluice_json_get(r->request, "tools");
    bool has_system = has_role(r->messages[0], "system");
    if (has_system) SLUICE_TRY(load_content(r, r->messages[0], false, true, err));
    if (sluice_json_is(tools, SLUICE_JSON_IS_STRING) && tools->length) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the request's tools is a string, not an array");
    }
    if (!sluice_json_is(tools, SLUICE_JSON_IS_ARRAY) || !tools->count) {
        if (!has_system) return SLUICE_OK;
        write_fixed(r, "<|im_start|>system\n");
        write_content(r);
        write_fixed(r, "<|im_end|>\n");
        return SLUICE_OK;
    }
    write_fixed(r, "<|im_start|>system\n" SLUICE_CHAT_TOOLS_BEFORE);
    for (const sluice_json_value *tool = tools->first; tool; tool = tool->next) {
        write_fixed(r, "\n");
        sluice_json_write(&r->out.text, tool, SLUICE_JSON_NUMBERS_PYTHON);
    }
    write_fixed(r, SLUICE_CHAT_TOOLS_BEHIND);
    if (has_system && r->begin < r->end) {
        write_fixed(r, "\n\n");
        write_content(r);
    }
    write_fixed(r, "<|im_end|>\n");
    return SLUICE_OK;
}

/* The last user message that is a query, not the response of a tool. */
static sluice_status find_last_query(renderer *r, sluice_error *err)
{
    for (size_t i = r->count; i-- > 0;) {
        if (!has_role(r->messages[i], "user")) continue;
        SLUICE_TRY(load_content(r, r->messages[i], false, false, err));
        if (content_starts(r, "<tool_response>") && content_ends(r, "</tool_response>")) continue;
        r->last_query = i;
        return SLUICE_OK;
    }
    return sluice_fail(err, SLUICE_BAD_INPUT, "No user query found in messages.");
}

/* Bytes [begin, end) of the content with its last tag, if there is one, as *at. */
static bool find_last(const char *text, size_t begin, size_t end, const char *tag, size_t *at)
{
    size_t length = strlen(tag);
    for (size_t i = end - begin < length ? begin : end - length + 1; i-- > begin;) {
        if (memcmp(text + i, tag, length) == 0) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* Takes reasoning between think tags out of the content: [*begin, *end) of it, empty if none. */
static void cut_reasoning(renderer *r, size_t *begin, size_t *end)
{
    static const char open[] = "<think>", close[] = "</think>";
    const char *text = r->content.text.bytes;
    *begin = *end = r->begin;
    size_t last, opened;
    if (!find_last(text, r->begin, r->end, close, &last)) return;
    const char *first = memmem(text + r->begin, r->end - r->begin, close, sizeof close - 1);
    *end = (size_t)(first - text);
    while (*end > *begin && text[*end - 1] == '\n')
        --*end;
    if (find_last(text, *begin, *end, open, &opened)) *begin = opened + sizeof open - 1;
    r->begin = last + sizeof close - 1;
    while (r->begin < r->end && text[r->begin] == '\n')
        r->begin++;
    sluice_chat_trim(text, begin, end);
}

static void render_argument(renderer *r, const sluice_json_value *argument)
{
    write_fixed(r, "<parameter=");
    write_message_text(r, argument->key, argument->key_length);
    write_fixed(r, ">\n");
    sluice_json_write_str(&r->out.text, argument);
    write_fixed(r, "\n</parameter>\n");
}

static sluice_status render_arguments(renderer *r, const sluice_json_value *arguments,
                                      sluice_error *err)
{
    if (!arguments) return SLUICE_OK;
    sluice_json_document parsed = {0};
    if (r->openai && arguments->kind == SLUICE_JSON_IS_STRING && arguments->length) {
        SLUICE_TRY(sluice_json_parse("the arguments of a tool call", SLUICE_BAD_INPUT,
                                     arguments->text, arguments->length, &parsed, err));
        arguments = parsed.root;
    } else if (r->openai && arguments->kind == SLUICE_JSON_IS_STRING) {
        return SLUICE_OK;
    }
    sluice_status status = SLUICE_OK;
    if (arguments->kind != SLUICE_JSON_IS_OBJECT) {
        status = sluice_fail(err, SLUICE_BAD_INPUT, "Can only get item pairs from a mapping.");
    }
    for (const sluice_json_value *at = arguments->first; at && status == SLUICE_OK; at = at->next) {
        render_argument(r, at);
    }
    sluice_json_document_free(&parsed);
    return status;
}

/* The error of the template's concatenation with something that is no string. */
static sluice_status refuse_name(const sluice_json_value *call, const sluice_json_value *name,
                                 sluice_error *err)
{
    if (name) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "can only concatenate str (not \"%s\") to str",
                           sluice_chat_type_name(name));
    }
    if (call->kind == SLUICE_JSON_IS_NULL) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "'None' has no attribute 'name'");
    }
    return sluice_fail(err, SLUICE_BAD_INPUT, "'%s object' has no attribute 'name'",
                       sluice_chat_type_name(call));
}

static sluice_status render_calls(renderer *r, const sluice_json_value *calls, bool has_content,
                                  sluice_error *err)
{
    if (sluice_json_is(calls, SLUICE_JSON_IS_STRING) && calls->length) {
        return refuse_name(calls, NULL, err);
    }
    if (!sluice_json_is(calls, SLUICE_JSON_IS_ARRAY)) return SLUICE_OK;
    for (const sluice_json_value *at = calls->first; at; at = at->next) {
        const sluice_json_value *function = sluice_json_get(at, "function");
        const sluice_json_value *call = function ? function : at;
        const sluice_json_value *name = sluice_json_get(call, "name");
        if (!sluice_json_is(name, SLUICE_JSON_IS_STRING)) return refuse_name(call, name, err);
        if (at == calls->first) {
            if (has_content) write_fixed(r, "\n\n");
        } else {
            write_fixed(r, "\n");
        }
        write_fixed(r, "<tool_call>\n<function=");
        write_message_text(r, name->text, name->length);
        write_fixed(r, ">\n");
        SLUICE_TRY(render_arguments(r, sluice_json_get(call, "arguments"), err));
        write_fixed(r, "</function>\n</tool_call>");
    }
    return SLUICE_OK;
}

static sluice_status render_assistant(renderer *r, size_t index, sluice_error *err)
{
    const sluice_json_value *message = r->messages[index];
    const sluice_json_value *given = sluice_json_get(message, "reasoning_content");
    bool is_given = sluice_json_is(given, SLUICE_JSON_IS_STRING);
    size_t begin = 0, end = is_given ? given->length : 0;
    if (is_given) {
        sluice_chat_trim(given->text, &begin, &end);
    } else {
        cut_reasoning(r, &begin, &end);
    }
    write_fixed(r, "<|im_start|>assistant\n");
    if (index > r->last_query) {
        write_fixed(r, "<think>\n");
        if (is_given) {
            write_message_text(r, given->text + begin, end - begin);
        } else {
            sluice_rope_append_slice(&r->out, &r->content, begin, end);
        }
        write_fixed(r, "\n</think>\n\n");
    }
    write_content(r);
    size_t first = r->begin, last = r->end;
    sluice_chat_trim(r->content.text.bytes, &first, &last);
    SLUICE_TRY(render_calls(r, sluice_json_get(message, "tool_calls"), first < last, err));
    write_fixed(r, "<|im_end|>\n");
    return SLUICE_OK;
}

/* Responses of tools that follow each other share one turn of the user. */
static void render_tool(renderer *r, size_t index)
{
    if (index > 0 && !has_role(r->messages[index - 1], "tool")) write_fixed(r, "<|im_start|>user");
    write_fixed(r, "\n<tool_response>\n");
    write_content(r);
    write_fixed(r, "\n</tool_response>");
    bool is_last = index + 1 == r->count;
    if (is_last || !has_role(r->messages[index + 1], "tool")) write_fixed(r, "<|im_end|>\n");
}

static sluice_status render_message(renderer *r, size_t index, sluice_error *err)
{
    const sluice_json_value *message = r->messages[index];
    SLUICE_TRY(load_content(r, message, true, false, err));
    if (has_role(message, "system")) {
        if (index == 0) return SLUICE_OK;
        return sluice_fail(err, SLUICE_BAD_INPUT, "System message must be at the beginning.");
    }
    if (has_role(message, "user")) {
        write_fixed(r, "<|im_start|>user\n");
        write_content(r);
        write_fixed(r, "<|im_end|>\n");
        return SLUICE_OK;
    }
    if (has_role(message, "assistant")) return render_assistant(r, index, err);
    if (!has_role(message, "tool")) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "Unexpected message role.");
    }
    render_tool(r, index);
    return SLUICE_OK;
}

static sluice_status list_messages(renderer *r, sluice_error *err)
{
    const sluice_json_value *messages = sluice_json_get(r->request, "messages");
    if (!sluice_json_is_truthy(messages)) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "No messages provided.");
    }
    if (messages->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the request's messages is a %s, not an array",
                           sluice_chat_type_name(messages));
    }
    r->messages = malloc(messages->count * sizeof *r->messages);
    if (!r->messages) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to render a request");
    for (const sluice_json_value *at = messages->first; at; at = at->next) {
        r->messages[r->count++] = at;
    }
    return SLUICE_OK;
}

static sluice_status render_request(renderer *r, bool *thinking, sluice_error *err)
{
    if (r->request->kind != SLUICE_JSON_IS_OBJECT) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the request is no JSON object");
    }
    r->media.add_vision_id = sluice_json_is_truthy(sluice_json_get(r->request, "add_vision_id"));
    SLUICE_TRY(list_messages(r, err));
    SLUICE_TRY(render_head(r, err));
    SLUICE_TRY(find_last_query(r, err));
    for (size_t i = 0; i < r->count; i++)
        SLUICE_TRY(render_message(r, i, err));
    if (!sluice_json_is_truthy(sluice_json_get(r->request, "add_generation_prompt"))) {
        return SLUICE_OK;
    }
    /* Only false itself turns thinking off. */
    const sluice_json_value *enabled = sluice_json_get(r->request, "enable_thinking");
    *thinking = !sluice_json_is(enabled, SLUICE_JSON_IS_FALSE);
    write_fixed(r, "<|im_start|>assistant\n");
    write_fixed(r, *thinking ? "<think>\n" : "<think>\n\n</think>\n\n");
    return SLUICE_OK;
}

static sluice_status render(const char *request, size_t length, bool openai, sluice_prompt *out,
                            sluice_error *err)
{
    *out = (sluice_prompt){0};
    sluice_json_document document;
    SLUICE_TRY(sluice_json_parse("the request", SLUICE_BAD_INPUT, request, length, &document, err));
    renderer r = {.request = document.root, .openai = openai};
    sluice_status status = render_request(&r, &out->thinking, err);
    if (status == SLUICE_OK) status = sluice_text_buffer_take(&r.out.text, &out->text, err);
    if (status == SLUICE_OK) {
        out->trusted = r.out.trusted;
        out->trusted_count = r.out.count;
        r.out.trusted = NULL;
    }
    sluice_rope_free(&r.out);
    sluice_rope_free(&r.content);
    free(r.messages);
    sluice_json_document_free(&document);
    return status;
}

sluice_status sluice_chat_render(const char *request, size_t length, sluice_prompt *out,
                                 sluice_error *err)
{
    return render(request, length, false, out, err);
}

sluice_status sluice_chat_render_openai(const char *request, size_t length, sluice_prompt *out,
                                        sluice_error *err)
{
    return render(request, length, true, out, err);
}

void sluice_prompt_free(sluice_prompt *prompt)
{
    if (!prompt) return;
    sluice_text_free(&prompt->text);
    free(prompt->trusted);
    *prompt = (sluice_prompt){0};
}
