/* The conversation as messages and as tokens; see chat.h for why both. */
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "sluice/text.h"

int cli_chat_open(cli_chat *chat)
{
    sluice_error err = {0};
    if (chat->remote) {
        chat->messages = json_array();
        return chat->messages ? CLI_OK : cli_fail("not enough memory for a conversation");
    }
    if (cli_engine_tokenizer(chat->engine, &chat->tokenizer) != CLI_OK) return CLI_FAILED;
    chat->info = sluice_engine_info(chat->engine);
    chat->messages = json_array();
    chat->transcript = malloc((size_t)chat->info->context * sizeof *chat->transcript);
    if (!chat->messages || !chat->transcript) {
        cli_chat_close(chat);
        return cli_fail("not enough memory for a conversation");
    }
    if (sluice_session_open(chat->engine, &chat->session, &err) != SLUICE_OK) {
        cli_chat_close(chat);
        return cli_fail_error(&err);
    }
    return CLI_OK;
}

void cli_chat_close(cli_chat *chat)
{
    if (chat->session) sluice_session_close(chat->session);
    json_decref(chat->messages);
    free(chat->transcript);
    chat->session = NULL;
    chat->messages = NULL;
    chat->transcript = NULL;
}

static bool has_system(const cli_chat *chat)
{
    const char *role =
        json_string_value(json_object_get(json_array_get(chat->messages, 0), "role"));
    return role && strcmp(role, "system") == 0;
}

void cli_chat_forget(cli_chat *chat)
{
    json_t *system = has_system(chat) ? json_incref(json_array_get(chat->messages, 0)) : NULL;
    json_array_clear(chat->messages);
    if (system) json_array_append_new(chat->messages, system);
    chat->transcript_count = 0;
    if (chat->session) sluice_session_clear(chat->session);
}

int cli_chat_set_system(cli_chat *chat, const char *text, size_t length)
{
    json_t *content = json_stringn(text, length);
    if (!content) return cli_fail("the system prompt is not valid UTF-8");
    if (has_system(chat)) json_array_remove(chat->messages, 0);
    if (length > 0)
        json_array_insert_new(chat->messages, 0,
                              json_pack("{s:s, s:o}", "role", "system", "content", content));
    else
        json_decref(content);
    chat->transcript_count = 0;
    return CLI_OK;
}

static sluice_status render(const cli_chat *chat, json_t *messages, sluice_prompt *out,
                            sluice_error *err)
{
    json_t *request = json_pack("{s:O, s:b, s:b}", "messages", messages, "add_generation_prompt", 1,
                                "enable_thinking", chat->thinking);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) {
        *err = (sluice_error){.code = SLUICE_NO_MEMORY, .detail = "not enough memory for a prompt"};
        return err->code;
    }
    sluice_status status = sluice_chat_render(text, strlen(text), out, err);
    free(text);
    return status;
}

static sluice_status encode(const cli_chat *chat, const sluice_prompt *prompt, sluice_ids *ids,
                            sluice_error *err)
{
    return sluice_tokenizer_encode_trusted(chat->tokenizer, prompt->text.bytes, prompt->text.length,
                                           prompt->trusted, prompt->trusted_count, ids, err);
}

/* transcript, then ids, as one prompt. */
static int join(const cli_chat *chat, int32_t kept, const sluice_ids *turn_end,
                const sluice_ids *ids, cli_chat_prompt *prompt)
{
    size_t count = (size_t)kept + turn_end->count + ids->count;
    prompt->ids = malloc((count + 1) * sizeof *prompt->ids);
    if (!prompt->ids) return cli_fail("not enough memory for a prompt of %zu tokens", count);
    int32_t *at = prompt->ids;
    prompt->kept = kept;
    if (kept) memcpy(at, chat->transcript, (size_t)kept * sizeof *at);
    at += kept;
    if (turn_end->count) memcpy(at, turn_end->ids, turn_end->count * sizeof *at);
    at += turn_end->count;
    if (ids->count) memcpy(at, ids->ids, ids->count * sizeof *at);
    prompt->count = count > INT32_MAX ? INT32_MAX : (int32_t)count;
    return CLI_OK;
}

static const char turn_end[] = "<|im_end|>\n";

/* Whether whole is "... <|im_end|>\n" and then exactly last: the last message is rendered the same
 * whatever came before it, so that it may simply be appended. */
static bool ends_with_turn(const sluice_text *whole, const sluice_text *last)
{
    size_t tail = last->length + sizeof turn_end - 1;
    return whole->length > tail &&
           memcmp(whole->bytes + whole->length - last->length, last->bytes, last->length) == 0 &&
           memcmp(whole->bytes + whole->length - tail, turn_end, sizeof turn_end - 1) == 0;
}

/* The transcript with the last message appended; prompt->ids stays NULL where that cannot be. */
static sluice_status append_turn(cli_chat *chat, const sluice_prompt *whole,
                                 cli_chat_prompt *prompt, sluice_error *err)
{
    sluice_prompt last = {0};
    sluice_ids end = {0}, ids = {0};
    json_t *message = json_array_get(chat->messages, json_array_size(chat->messages) - 1);
    json_t *messages = json_pack("[O]", message);
    sluice_status status = render(chat, messages, &last, err);
    json_decref(messages);
    if (status == SLUICE_OK && ends_with_turn(&whole->text, &last.text)) {
        status = sluice_tokenizer_encode(chat->tokenizer, turn_end, sizeof turn_end - 1,
                                         SLUICE_SPECIAL_EVERYWHERE, &end, err);
        if (status == SLUICE_OK) status = encode(chat, &last, &ids, err);
        size_t room = (size_t)(chat->info->context - chat->transcript_count);
        if (status == SLUICE_OK && end.count + ids.count < room &&
            join(chat, chat->transcript_count, &end, &ids, prompt) != CLI_OK)
            status = SLUICE_NO_MEMORY;
    }
    sluice_ids_free(&ids);
    sluice_ids_free(&end);
    sluice_prompt_free(&last);
    return status;
}

int cli_chat_prompt_make(cli_chat *chat, cli_chat_prompt *prompt)
{
    sluice_prompt whole = {0};
    sluice_ids ids = {0};
    const sluice_ids none = {0};
    sluice_error err = {0};
    int status = CLI_OK;
    *prompt = (cli_chat_prompt){0};
    sluice_status result = render(chat, chat->messages, &whole, &err);
    prompt->thinking = whole.thinking;
    if (result == SLUICE_OK && chat->transcript_count > 0)
        result = append_turn(chat, &whole, prompt, &err);
    if (result == SLUICE_OK && !prompt->ids) {
        result = encode(chat, &whole, &ids, &err);
        if (result == SLUICE_OK) status = join(chat, 0, &none, &ids, prompt);
    }
    if (result != SLUICE_OK) status = cli_fail_error(&err);
    sluice_ids_free(&ids);
    sluice_prompt_free(&whole);
    if (status == CLI_OK && prompt->count >= chat->info->context) {
        status = cli_fail("the conversation is now %d tokens long and the context holds %d: /new "
                          "starts another one",
                          prompt->count, chat->info->context);
    }
    if (status != CLI_OK) {
        free(prompt->ids);
        prompt->ids = NULL;
    }
    return status;
}
