/* Fuzzes the readers of the server's requests: the first byte chooses the API, the rest is the
 * body. Whatever comes is refused with a 4xx and a sentence, or becomes a conversation that is well
 * formed; nothing in between. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/anthropic.h"
#include "server/completion_request.h"
#include "server/openai.h"
#include "server/response_store.h"
#include "server/responses.h"

static server subject;

static void open_subject(void)
{
    static const sluice_model_info info = {.name = "nano", .vocab = 8192, .context = 4096};
    static sluice_tokenizer *tokenizer;
    if (tokenizer) return;
    if (sluice_tokenizer_open(SLUICE_SOURCE_DIR "/models/nano/tokenizer.json", &tokenizer, NULL) !=
        SLUICE_OK)
        abort();
    subject = (server){.name = "nano", .info = &info, .tokenizer = tokenizer};
    subject.options.aliases = "other";
}

static void check_error(const server_error *err)
{
    if (err->status < 400 || err->status > 599 || !err->message[0]) abort();
    for (int api = SERVER_API_OPENAI; api <= SERVER_API_ANTHROPIC; api++) {
        json_t *shown = server_error_json((server_api)api, err);
        if (!shown) abort();
        json_decref(shown);
    }
}

static void check_chat(const server_chat *chat)
{
    json_t *message;
    size_t i;
    if (json_array_size(chat->messages) == 0) abort();
    json_array_foreach(chat->messages, i,
                       message) if (!json_is_string(json_object_get(message, "role")) ||
                                    !json_is_string(json_object_get(message, "content"))) abort();
    if (chat->tool_choice == SLUICE_TOOLS_NAMED && !chat->tool_name) abort();
    if (chat->format == SLUICE_ANSWER_SCHEMA && !chat->schema) abort();
}

/* Nothing was answered before. */
json_t *server_response_store_get(server_response_store *store, const char *id)
{
    (void)store;
    (void)id;
    return NULL;
}

static void read_responses(json_t *body, server_error *err)
{
    server_chat chat = {0};
    server_responses_asked asked = {0};
    server_responses_read(&subject, body, &chat, &asked, err);
    if (!err->status) {
        check_chat(&chat);
        if (json_array_size(asked.history) == 0 || !json_is_object(asked.echo)) abort();
    }
    server_chat_free(&chat);
    server_responses_asked_free(&asked);
}

static void read_chat(json_t *body, int api, server_error *err)
{
    server_chat chat = {0};
    server_openai_extra extra = {0};
    bool stream = false;
    if (api == 0)
        server_openai_chat_read(&subject, body, &chat, &extra, err);
    else
        server_anthropic_read(&subject, body, api == 2, &chat, &stream, err);
    if (!err->status) check_chat(&chat);
    server_chat_free(&chat);
}

static void read_completion(json_t *body, server_error *err)
{
    server_completion asked = {0};
    server_completion_read(&subject, body, &asked, err);
    if (!err->status && (asked.count == 0 || asked.prompts[0].count == 0)) abort();
    if (!err->status) {
        server_job_request job = server_completion_job(&subject, &asked, 0, 0, err);
        if (job.tokens_max < 0 || (size_t)job.tokens_max + job.prompt.count > 4096) abort();
        server_job_request_free(&job);
    }
    server_completion_free(&asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    server_error err = {0};
    open_subject();
    if (size == 0) return 0;
    json_t *body =
        json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(body)) {
        json_decref(body);
        return 0;
    }
    int api = (data[0] + 2) % 5; /* '0' is the first */
    if (api < 3)
        read_chat(body, api, &err);
    else if (api == 3)
        read_completion(body, &err);
    else
        read_responses(body, &err);
    if (err.status) check_error(&err);
    json_decref(body);
    return 0;
}
