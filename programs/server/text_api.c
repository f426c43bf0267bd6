/* /tokenize, /detokenize and /tokenizer_info. Text in "content" never becomes special tokens; in
 * "prompt", the form of vLLM that lm-evaluation-harness uses, it does, as it would in a tokenizer
 * of its own: it asks so which token <|im_end|> is. */
#include <stdlib.h>

#include "server/fields.h"
#include "server/routes.h"

static const char *text_member(const server_fields *fields, size_t *length, sluice_special *special)
{
    json_t *content = server_field(fields, "content"), *prompt = server_field(fields, "prompt");
    json_t *text = content ? content : prompt;
    if (content && prompt)
        server_field_refuse(fields, "prompt", "and content exclude each other");
    else if (!json_is_string(text))
        server_field_refuse(fields, "content", "must be a string");
    if (fields->err->status) return NULL;
    *length = json_string_length(text);
    *special = prompt ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER;
    return json_string_value(text);
}

void server_tokenize(server_request *request)
{
    static const char *const known[] = {"content", "prompt", "add_special_tokens", "model", NULL};
    const server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    server_fields fields = server_fields_of(server_request_json(request), "", err);
    sluice_error why = {0};
    sluice_ids ids = {0};
    size_t length = 0;
    sluice_special special = SLUICE_SPECIAL_NEVER;
    bool added = false; /* either way: there is none that begins or ends every text */
    server_fields_only(&fields, known, NULL);
    server_field_bool(&fields, "add_special_tokens", &added);
    const char *text = text_member(&fields, &length, &special);
    if (text &&
        sluice_tokenizer_encode(s->tokenizer, text, length, special, &ids, &why) != SLUICE_OK)
        server_error_from(err, &why);
    if (err->status) {
        server_answer_error(request);
        return;
    }
    json_t *tokens = json_array();
    for (size_t i = 0; i < ids.count; i++)
        json_array_append_new(tokens, json_integer(ids.ids[i]));
    sluice_ids_free(&ids);
    server_answer_json(request, 200,
                       json_pack("{s:I, s:i, s:o}", "count", (json_int_t)json_array_size(tokens),
                                 "max_model_len", s->info->context, "tokens", tokens));
}

/* NULL: err is set. */
static int32_t *token_list(const server_fields *fields, const server *s, size_t *count)
{
    json_t *tokens = server_field_array(fields, "tokens"), *value;
    size_t i;
    if (!tokens) {
        server_field_refuse(fields, "tokens", "must be an array of token ids");
        return NULL;
    }
    *count = json_array_size(tokens);
    int32_t *ids = malloc((*count + 1) * sizeof *ids);
    if (!ids) server_error_set(fields->err, 503, "overloaded", NULL, "no memory for the tokens");
    json_array_foreach(tokens, i, value)
    {
        json_int_t id = json_integer_value(value);
        if (!ids) break;
        if (!json_is_integer(value) || id < 0 || id >= s->info->vocab) {
            server_field_refuse(fields, "tokens", "[%zu] is no token id below %d", i,
                                s->info->vocab);
            free(ids);
            return NULL;
        }
        ids[i] = (int32_t)id;
    }
    return ids;
}

void server_detokenize(server_request *request)
{
    static const char *const known[] = {"tokens", "model", NULL};
    const server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    server_fields fields = server_fields_of(server_request_json(request), "", err);
    sluice_error why = {0};
    sluice_text text = {0};
    size_t count = 0;
    server_fields_only(&fields, known, NULL);
    int32_t *ids = token_list(&fields, s, &count);
    if (ids && sluice_tokenizer_decode(s->tokenizer, ids, count, false, &text, &why) != SLUICE_OK)
        server_error_from(err, &why);
    free(ids);
    if (err->status) {
        server_answer_error(request);
        return;
    }
    json_t *content = json_stringn(text.bytes, text.length);
    sluice_text_free(&text);
    server_answer_json(request, 200,
                       json_pack("{s:o, s:O}", "content", content, "prompt", content));
}

/* The token's text, or null. */
static json_t *token_text(const server *s, int32_t id)
{
    size_t length = 0;
    const char *bytes = id < 0 ? NULL : sluice_tokenizer_token(s->tokenizer, id, &length);
    json_t *text = bytes ? json_stringn(bytes, length) : NULL;
    return text ? text : json_null();
}

void server_tokenizer_info(server_request *request)
{
    const server *s = server_request_server(request);
    const int32_t end = s->info->n_stop_ids ? s->info->stop_ids[0] : -1;
    server_answer_json(
        request, 200,
        json_pack("{s:s, s:i, s:i, s:n, s:o, s:o, s:b}", "tokenizer_class", "sluice",
                  "model_max_length", s->info->context, "vocab_size", s->info->vocab, "bos_token",
                  "eos_token", token_text(s, end), "pad_token",
                  token_text(s, sluice_tokenizer_find(s->tokenizer, "<|endoftext|>")),
                  "add_bos_token", 0));
}
