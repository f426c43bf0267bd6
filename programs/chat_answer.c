/* One turn of a conversation: the user's message in, the model's answer out, shown as it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "interrupt.h"

/* An answer in progress. */
typedef struct answer {
    cli_chat *chat;
    cli_chat_display display;
    sluice_detokenizer *detokenizer;
    sluice_reply_reader *reader;
    FILE *content, *reasoning; /* growing texts */
    char *content_text, *reasoning_text;
    size_t content_length, reasoning_length;
    bool has_reasoning;
    sluice_status status; /* of what happens in callbacks */
    sluice_error err;
} answer;

static void on_reply(void *context, const sluice_reply_event *event)
{
    answer *a = context;
    if (event->part == SLUICE_REPLY_REASONING) {
        fwrite(event->text, 1, event->length, a->reasoning);
        a->has_reasoning = true;
    } else if (event->part == SLUICE_REPLY_CONTENT) {
        fwrite(event->text, 1, event->length, a->content);
    }
    cli_chat_display_event(&a->display, event);
}

static bool on_token(void *context, int32_t token)
{
    answer *a = context;
    const char *text = NULL;
    size_t length = 0;
    cli_statistics_token(&a->chat->statistics, a->chat->engine);
    cli_chat_display_token(&a->display);
    a->status = sluice_detokenizer_push(a->detokenizer, token, &text, &length, &a->err);
    if (a->status == SLUICE_OK)
        a->status = sluice_reply_reader_feed(a->reader, text, length, &a->err);
    return a->status == SLUICE_OK && !a->display.write_failed && !cli_interrupted();
}

static int answer_open(answer *a, cli_chat *chat, bool thinking)
{
    *a = (answer){.chat = chat};
    a->content = open_memstream(&a->content_text, &a->content_length);
    a->reasoning = open_memstream(&a->reasoning_text, &a->reasoning_length);
    if (!a->content || !a->reasoning) return cli_fail("not enough memory for an answer");
    if (sluice_detokenizer_new(chat->tokenizer, false, &a->detokenizer, &a->err) != SLUICE_OK ||
        sluice_reply_reader_new(NULL, thinking, on_reply, a, &a->reader, &a->err) != SLUICE_OK)
        return cli_fail_error(&a->err);
    return CLI_OK;
}

static void answer_close(answer *a)
{
    sluice_reply_reader_free(a->reader);
    sluice_detokenizer_free(a->detokenizer);
    if (a->content) fclose(a->content);
    if (a->reasoning) fclose(a->reasoning);
    free(a->content_text);
    free(a->reasoning_text);
}

/* What the detokenizer and the reader still hold back. */
static void flush_answer(answer *a)
{
    const char *text;
    size_t length;
    sluice_detokenizer_finish(a->detokenizer, &text, &length);
    if (sluice_reply_reader_feed(a->reader, text, length, NULL) == SLUICE_OK)
        sluice_reply_reader_finish(a->reader, NULL);
    fflush(a->content);
    fflush(a->reasoning);
}

/* The part of the prompt that the session has not seen; a session that went another way forgets. */
static int32_t seen(cli_chat *chat, const cli_chat_prompt *prompt)
{
    int32_t count = 0;
    const int32_t *tokens = sluice_session_tokens(chat->session, &count);
    if (count < prompt->count && memcmp(tokens, prompt->ids, (size_t)count * sizeof *tokens) == 0)
        return count;
    sluice_session_clear(chat->session);
    return 0;
}

static sluice_sampling sampling(const cli_chat *chat, bool thinking)
{
    sluice_sampling chosen = cli_sampling(&chat->sampling, sluice_sampling_recommended(thinking));
    chosen.seed += chat->turns; /* no two turns draw the same numbers */
    return chosen;
}

/* Generates after prompt; the transcript is then prompt and answer. */
static sluice_status generate(answer *a, const cli_chat_prompt *prompt, sluice_finish *finish)
{
    cli_chat *chat = a->chat;
    int32_t from = seen(chat, prompt), count = 0;
    int32_t room = chat->info->context - prompt->count;
    int32_t *ids = chat->transcript + prompt->count;
    sluice_generation generation = {
        .prompt = prompt->ids + from,
        .prompt_count = prompt->count - from,
        .tokens_max = chat->answer_max < room ? chat->answer_max : room,
        .sampling = sampling(chat, prompt->thinking),
        .on_token = on_token,
        .context = a,
    };
    memcpy(chat->transcript, prompt->ids, (size_t)prompt->count * sizeof *prompt->ids);
    cli_chat_display_begin(&a->display, chat);
    cli_statistics_begin(&chat->statistics, chat->engine);
    sluice_status status =
        sluice_generate(chat->session, &generation, ids, &count, finish, &a->err);
    cli_statistics_end(&chat->statistics, chat->engine);
    chat->has_statistics = true;
    flush_answer(a);
    cli_chat_display_end(&a->display);
    if (status == SLUICE_OK) status = a->status;
    /* A turn without any answer did not happen. */
    bool answered = status == SLUICE_OK && (count > 0 || *finish != SLUICE_FINISH_CANCELLED);
    chat->transcript_count = answered ? prompt->count + count : prompt->kept;
    return status == SLUICE_OK && !answered ? SLUICE_CANCELLED : status;
}

static void remember(answer *a)
{
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content",
                                json_stringn(a->content_text, a->content_length));
    if (a->has_reasoning)
        json_object_set_new(message, "reasoning_content",
                            json_stringn(a->reasoning_text, a->reasoning_length));
    json_array_append_new(a->chat->messages, message);
}

/* Says why an answer ended, unless the model ended it. */
static void tell_finish(const cli_chat *chat, sluice_finish finish)
{
    if (chat->quiet || finish == SLUICE_FINISH_STOP) return;
    if (finish == SLUICE_FINISH_CANCELLED)
        cli_note("stopped");
    else if (chat->transcript_count >= chat->info->context)
        cli_note("the context of %d tokens is full: the answer ends here", chat->info->context);
    else
        cli_note("the answer was cut after %d tokens (-n)", chat->answer_max);
}

static int answer_prompt(cli_chat *chat, const cli_chat_prompt *prompt)
{
    answer a;
    sluice_finish finish = SLUICE_FINISH_STOP;
    int status = answer_open(&a, chat, prompt->thinking);
    sluice_status result = status == CLI_OK ? generate(&a, prompt, &finish) : SLUICE_OK;
    if (result == SLUICE_CANCELLED)
        status = CLI_FAILED;
    else if (result != SLUICE_OK)
        status = cli_fail_error(&a.err);
    if (status == CLI_OK) {
        remember(&a);
        chat->turns++;
    }
    if (status == CLI_OK || result == SLUICE_CANCELLED)
        tell_finish(chat, result == SLUICE_CANCELLED ? SLUICE_FINISH_CANCELLED : finish);
    answer_close(&a);
    return status;
}

void cli_chat_answer(cli_chat *chat, const char *text, size_t length)
{
    cli_chat_prompt prompt;
    json_t *content = json_stringn(text, length);
    if (!content) {
        cli_fail("the message is not valid UTF-8 and was not sent");
        return;
    }
    json_array_append_new(chat->messages,
                          json_pack("{s:s, s:o}", "role", "user", "content", content));
    cli_interrupt_clear();
    int status = chat->remote ? cli_chat_answer_remote(chat) : cli_chat_prompt_make(chat, &prompt);
    if (status == CLI_OK && !chat->remote) {
        status = answer_prompt(chat, &prompt);
        free(prompt.ids);
    }
    if (status != CLI_OK) json_array_remove(chat->messages, json_array_size(chat->messages) - 1);
}
