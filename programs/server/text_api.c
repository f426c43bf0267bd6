/* /tokenize and /detokenize. Text never becomes special tokens. */
#include <stdlib.h>

#include "server/fields.h"
#include "server/routes.h"

static const char *text_member(const server_fields *fields, size_t *length)
{
    json_t *content = server_field(fields, "content"), *prompt = server_field(fields, "prompt");
    json_t *text = content ? content : prompt;
    if (content && prompt)
        server_field_refuse(fields, "prompt", "and content exclude each other");
    else if (!json_is_string(text))
        server_field_refuse(fields, "content", "must be a string");
    if (fields->err->status) return NULL;
    *length = json_string_length(text);
    return json_string_value(text);
}

void server_tokenize(server_request *request)
{
    static const char *const known[] = {"content", "prompt", "model", NULL};
    const server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    server_fields fields = server_fields_of(server_request_json(request), "", err);
    sluice_error why = {0};
    sluice_ids ids = {0};
    size_t length = 0;
    server_fields_only(&fields, known, NULL);
    const char *text = text_member(&fields, &length);
    if (text && sluice_tokenizer_encode(s->tokenizer, text, length, SLUICE_SPECIAL_NEVER, &ids,
                                        &why) != SLUICE_OK)
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
