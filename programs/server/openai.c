/* What the OpenAI APIs share; see openai.h. */
#include "server/openai.h"

#include <string.h>

const char *const server_openai_harmless[] = {"model",
                                              "user",
                                              "metadata",
                                              "safety_identifier",
                                              "prompt_cache_key",
                                              "service_tier",
                                              "store",
                                              "prompt_cache_retention",
                                              NULL};

void server_check_model(const server *s, const server_fields *fields)
{
    const char *model = NULL;
    server_field_string(fields, "model", &model);
    if (model && !server_answers_to(s, model))
        server_error_set(fields->err, 404, "model_not_found", "model",
                         "there is no model '%.100s' here; this server has '%s' (--alias adds "
                         "names)",
                         model, s->name);
}

void server_openai_check_fixed(const server_fields *fields)
{
    const char *tier = NULL;
    server_field_only_value(fields, "store", json_false());
    server_field_string(fields, "service_tier", &tier);
    if (tier && strcmp(tier, "auto") != 0 && strcmp(tier, "default") != 0)
        server_field_refuse(fields, "service_tier", "is supported only as \"auto\" or \"default\"");
}

void server_openai_effort(const server_fields *fields, const char *name, bool *thinking)
{
    static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh"};
    const char *effort = NULL;
    server_field_string(fields, name, &effort);
    if (!effort) return;
    for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
        if (strcmp(effort, efforts[i]) != 0) continue;
        *thinking = i > 1;
        return;
    }
    server_field_refuse(fields, name, "must be none, minimal, low, medium, high or xhigh");
}

json_t *server_openai_usage(int64_t prompt, int64_t cached, int64_t answer, int64_t reasoning)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)prompt,
                     "completion_tokens", (json_int_t)answer, "total_tokens",
                     (json_int_t)(prompt + answer), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)cached, "completion_tokens_details", "reasoning_tokens",
                     (json_int_t)reasoning);
}

const char *server_openai_finish(server_finish finish, bool has_calls)
{
    if (finish == SERVER_FINISH_LENGTH) return "length";
    return has_calls ? "tool_calls" : "stop";
}

json_t *server_token_text(const server *s, int32_t token)
{
    sluice_text text = {0};
    if (sluice_tokenizer_decode(s->tokenizer, &token, 1, false, &text, NULL) != SLUICE_OK)
        return json_string("");
    json_t *value = json_stringn(text.bytes, text.length);
    sluice_text_free(&text);
    return value;
}

json_t *server_token_bytes(const server *s, int32_t token)
{
    size_t length = 0;
    const char *bytes = sluice_tokenizer_token(s->tokenizer, token, &length);
    json_t *list = json_array();
    for (size_t i = 0; bytes && i < length; i++)
        json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    return list;
}

static json_t *logprob_json(const server *s, const server_logprob *p)
{
    return json_pack("{s:o, s:f, s:o}", "token", server_token_text(s, p->token), "logprob",
                     (double)p->logprob, "bytes", server_token_bytes(s, p->token));
}

json_t *server_openai_logprobs(const server *s, const server_job *job, int32_t from, int32_t to)
{
    size_t wide = (size_t)(job->request.top + 1);
    json_t *content = json_array();
    for (int32_t i = from; i < to; i++) {
        const server_logprob *row = job->logprobs + (size_t)i * wide;
        json_t *token = logprob_json(s, row), *top = json_array();
        for (size_t k = 1; k < wide && row[k].token >= 0; k++)
            json_array_append_new(top, logprob_json(s, &row[k]));
        json_object_set_new(token, "top_logprobs", top);
        json_array_append_new(content, token);
    }
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}
