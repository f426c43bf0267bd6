/* From a conversation to a job; see chat.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "output.h"
#include "server/replay.h"

static bool no_memory(server_error *err)
{
    return server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
}

static bool render(const server_chat *chat, json_t *messages, sluice_prompt *out, server_error *err)
{
    sluice_error why = {0};
    json_t *request = json_pack("{s:O, s:b, s:b}", "messages", messages, "add_generation_prompt", 1,
                                "enable_thinking", chat->thinking);
    if (request && chat->tools) json_object_set(request, "tools", chat->tools);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) return no_memory(err);
    sluice_status status = sluice_chat_render_openai(text, strlen(text), out, &why);
    free(text);
    return status == SLUICE_OK || server_error_from(err, &why);
}

/* Text from byte `from` on; the prompt's spans are cut to it. */
static bool encode(const server *s, const sluice_prompt *prompt, size_t from, sluice_ids *out,
                   server_error *err)
{
    sluice_error why = {0};
    size_t n = 0;
    sluice_span *spans = malloc((prompt->trusted_count + 1) * sizeof *spans);
    if (!spans) return no_memory(err);
    for (size_t i = 0; i < prompt->trusted_count; i++) {
        sluice_span span = prompt->trusted[i];
        if (span.end <= from) continue;
        spans[n++] = (sluice_span){span.begin > from ? span.begin - from : 0, span.end - from};
    }
    sluice_status status = sluice_tokenizer_encode_trusted(
        s->tokenizer, prompt->text.bytes + from, prompt->text.length - from, spans, n, out, &why);
    free(spans);
    return status == SLUICE_OK || server_error_from(err, &why);
}

/* The messages with the one at `at` replaced by an answer of this text. */
static json_t *with_answer(json_t *messages, size_t at, const char *text)
{
    json_t *copy = json_copy(messages);
    if (copy && json_array_set_new(
                    copy, at, json_pack("{s:s, s:s}", "role", "assistant", "content", text)) != 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

/* Tokens of an earlier answer and everything before it, then what is rendered behind that answer:
 * the template is given a mark in its place, and what follows the mark is taken. *ids is replaced.
 * False without an error: the template does not render so. */
static bool continue_from(const server *s, const server_chat *chat, size_t at, sluice_ids *ids,
                          bool *thinking, server_error *err)
{
    unsigned char noise[16];
    char mark[2 * sizeof noise + 1];
    sluice_prompt prompt = {0};
    sluice_ids tail = {0};
    bool joined = false;
    if (getrandom(noise, sizeof noise, 0) != sizeof noise) return false;
    for (size_t i = 0; i < sizeof noise; i++)
        snprintf(mark + 2 * i, 3, "%02x", noise[i]);
    json_t *messages = with_answer(chat->messages, at, mark);
    if (!messages) return no_memory(err);
    if (render(chat, messages, &prompt, err)) {
        const char *found = memmem(prompt.text.bytes, prompt.text.length, mark, strlen(mark));
        size_t from = found ? (size_t)(found - prompt.text.bytes) + strlen(mark) : 0;
        joined = found && encode(s, &prompt, from, &tail, err);
    }
    if (joined) {
        int32_t *grown = realloc(ids->ids, (ids->count + tail.count + 1) * sizeof *grown);
        joined = grown || no_memory(err);
        if (grown) {
            memcpy(grown + ids->count, tail.ids, tail.count * sizeof *grown);
            ids->ids = grown;
            ids->count += tail.count;
            *thinking = prompt.thinking;
        }
    }
    sluice_ids_free(&tail);
    sluice_prompt_free(&prompt);
    json_decref(messages);
    return joined;
}

/* Turns begin with <|im_start|>, which no text of a request can become. */
static void find_turns(const server *s, const server_chat *chat, server_job_request *out)
{
    int32_t start = sluice_tokenizer_find(s->tokenizer, "<|im_start|>");
    const char *role =
        json_string_value(json_object_get(json_array_get(chat->messages, 0), "role"));
    bool has_system = chat->tools || (role && !strcmp(role, "system"));
    int32_t turns = 0;
    for (size_t i = 0; i < out->prompt.count; i++) {
        if (out->prompt.ids[i] != start) continue;
        if (++turns == 2 && has_system) out->prefix_end = (int32_t)i;
        out->turn_end = (int32_t)i;
    }
}

static bool check_length(const server *s, size_t count, server_error *err)
{
    if (count < (size_t)s->info->context) return true;
    return server_error_set(err, 400, "context_length_exceeded", "messages",
                            "the prompt has %zu tokens and the context holds %d", count,
                            s->info->context);
}

bool server_chat_prompt(server *s, const server_chat *chat, server_job_request *out,
                        server_error *err)
{
    sluice_ids ids = {0};
    size_t at;
    bool made = false;
    if (server_replay_find(s->replay, chat, &at, &ids))
        made = continue_from(s, chat, at, &ids, &out->thinking, err) &&
               ids.count < (size_t)s->info->context;
    if (!made) { /* also a conversation that fits only without the thinking that led to it */
        sluice_prompt prompt = {0};
        sluice_ids_free(&ids);
        made = !err->status && render(chat, chat->messages, &prompt, err) &&
               encode(s, &prompt, 0, &ids, err);
        out->thinking = prompt.thinking;
        sluice_prompt_free(&prompt);
    }
    out->prompt = ids;
    if (!made || !check_length(s, ids.count, err)) return false;
    find_turns(s, chat, out);
    return true;
}

/* What the answer must be. Where it may be any text, it still must not call tools that are not
 * there. */
static bool make_grammar(const server_chat *chat, server_job_request *out, server_error *err)
{
    sluice_error why = {0};
    char *tools = chat->tools ? json_dumps(chat->tools, JSON_COMPACT) : NULL;
    if (chat->tools && !tools) return no_memory(err);
    sluice_answer answer = {.content = chat->format,
                            .source = chat->schema,
                            .source_length = chat->schema ? strlen(chat->schema) : 0,
                            .tools = tools,
                            .tools_length = tools ? strlen(tools) : 0,
                            .tool_choice = chat->tools ? chat->tool_choice : SLUICE_TOOLS_NONE,
                            .tool_name = chat->tool_name,
                            .single_call = chat->single_call,
                            .thinking = out->thinking};
    sluice_status status = sluice_grammar_new(&answer, &out->grammar, &why);
    free(tools);
    return status == SLUICE_OK || server_error_from(err, &why);
}

server_job *server_chat_job(server *s, server_chat *chat, uint64_t client, server_error *err)
{
    server_job_request *out = &chat->job;
    if (err->status || !server_chat_prompt(s, chat, out, err) || !make_grammar(chat, out, err))
        return NULL;
    int64_t room = s->info->context - (int64_t)out->prompt.count;
    out->tokens_max =
        (int32_t)(chat->tokens_max && chat->tokens_max < room ? chat->tokens_max : room);
    out->sampling =
        server_sampling_resolve(&chat->sampling, sluice_sampling_recommended(out->thinking));
    out->top = chat->top;
    out->keep = true;
    out->to_file = true;
    out->client = client;
    if (s->options.log_prompts) {
        sluice_text text = {0};
        if (sluice_tokenizer_decode(s->tokenizer, out->prompt.ids, out->prompt.count, false, &text,
                                    NULL) == SLUICE_OK)
            cli_note("prompt: %s", text.bytes);
        sluice_text_free(&text);
    }
    server_job *job = server_job_new(out);
    if (!job) no_memory(err);
    return job;
}
