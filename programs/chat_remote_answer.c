/* One turn of a conversation with a server's model. */
#include <stdlib.h>
#include <string.h>

#include "chat_remote.h"
#include "interrupt.h"

typedef struct turn {
    cli_chat_display display;
    json_t *content, *reasoning; /* arrays of pieces */
} turn;

static void on_piece(void *context, const sluice_reply_event *event)
{
    turn *t = context;
    bool thinking = event->part == SLUICE_REPLY_REASONING;
    json_array_append_new(thinking ? t->reasoning : t->content,
                          json_stringn(event->text, event->length));
    cli_chat_display_event(&t->display, event);
    if (thinking) cli_chat_display_token(&t->display);
}

/* All pieces as one string. */
static json_t *join(json_t *pieces)
{
    size_t length = 0, i;
    json_t *piece;
    json_array_foreach(pieces, i, piece) length += json_string_length(piece);
    char *text = malloc(length + 1), *at = text;
    if (!text) return NULL;
    json_array_foreach(pieces, i, piece)
    {
        memcpy(at, json_string_value(piece), json_string_length(piece));
        at += json_string_length(piece);
    }
    json_t *whole = json_stringn(text, length);
    free(text);
    return whole;
}

static void set_number(json_t *request, const char *name, float value)
{
    if (!isnan(value)) json_object_set_new(request, name, json_real((double)value));
}

/* What the flags say, and nothing else: the server knows its model's defaults. */
static json_t *make_request(const cli_chat *chat)
{
    const cli_sampling_flags *s = &chat->sampling;
    json_t *request = json_pack("{s:O, s:b, s:{s:b}, s:{s:b}}", "messages", chat->messages,
                                "stream", 1, "stream_options", "include_usage", 1,
                                "chat_template_kwargs", "enable_thinking", chat->thinking);
    if (!request) return NULL;
    set_number(request, "temperature", s->temperature);
    set_number(request, "top_p", s->top_p);
    set_number(request, "min_p", s->min_p);
    set_number(request, "presence_penalty", s->presence);
    set_number(request, "frequency_penalty", s->frequency);
    set_number(request, "repetition_penalty", s->repetition);
    if (s->top_k >= 0) json_object_set_new(request, "top_k", json_integer(s->top_k));
    json_object_set_new(request, "seed",
                        json_integer((json_int_t)((s->seed.value + chat->turns) >> 1)));
    if (chat->answer_max < INT32_MAX)
        json_object_set_new(request, "max_tokens", json_integer(chat->answer_max));
    return request;
}

static void remember(cli_chat *chat, const turn *t)
{
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", join(t->content));
    if (json_array_size(t->reasoning) > 0)
        json_object_set_new(message, "reasoning_content", join(t->reasoning));
    json_array_append_new(chat->messages, message);
    chat->turns++;
}

int cli_chat_answer_remote(cli_chat *chat)
{
    turn t = {.content = json_array(), .reasoning = json_array()};
    cli_remote_answer answer = {.on_piece = on_piece, .context = &t};
    cli_chat_display_begin(&t.display, chat);
    int status = cli_remote_ask(chat->remote, make_request(chat), &answer);
    cli_chat_display_end(&t.display);
    bool said = json_array_size(t.content) + json_array_size(t.reasoning) > 0;
    if (status == CLI_OK && (said || answer.finish[0]))
        remember(chat, &t);
    else
        status = CLI_FAILED;
    if (status == CLI_OK)
        snprintf(
            chat->remote_statistics, sizeof chat->remote_statistics,
            "%lld tokens in %.1f s, %.1f s to the first; %lld prompt tokens, %lld of them kept "
            "by the server",
            (long long)answer.answer_tokens, answer.seconds, answer.first_seconds,
            (long long)answer.prompt_tokens, (long long)answer.cached_tokens);
    if (!chat->quiet && cli_interrupted())
        cli_note("stopped");
    else if (!chat->quiet && status == CLI_OK && !strcmp(answer.finish, "length"))
        cli_note("the answer was cut off by a limit");
    json_decref(t.content);
    json_decref(t.reasoning);
    return status;
}
