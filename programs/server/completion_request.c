/* The request of /v1/completions; see completion_request.h. */
#include "server/completion_request.h"

#include <stdlib.h>
#include <string.h>

#include "server/openai.h"

enum { PROMPTS_MAX = 1024 };

void server_completion_free(server_completion *completion)
{
    for (size_t i = 0; i < completion->count; i++)
        sluice_ids_free(&completion->prompts[i]);
    free(completion->prompts);
    server_job_request_free(&completion->stops);
    *completion = (server_completion){0};
}

static void read_text(const server *s, json_t *value, sluice_ids *out, server_error *err)
{
    sluice_error why = {0};
    if (sluice_tokenizer_encode(s->tokenizer, json_string_value(value), json_string_length(value),
                                SLUICE_SPECIAL_NEVER, out, &why) != SLUICE_OK)
        server_error_from(err, &why);
}

static void read_ids(const server *s, json_t *value, sluice_ids *out, server_error *err)
{
    json_t *item;
    size_t i;
    out->ids = malloc((json_array_size(value) + 1) * sizeof *out->ids);
    if (!out->ids) {
        server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
        return;
    }
    json_array_foreach(value, i, item)
    {
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= s->info->vocab) {
            server_error_set(err, 400, NULL, "prompt", "prompt holds what is no token id below %d",
                             s->info->vocab);
            return;
        }
        out->ids[out->count++] = (int32_t)id;
    }
}

/* An array holds many prompts unless it holds numbers. */
static bool holds_many(json_t *prompt)
{
    return json_is_array(prompt) && !json_is_integer(json_array_get(prompt, 0));
}

static void read_prompts(const server *s, const server_fields *fields, server_completion *out)
{
    json_t *prompt = server_field(fields, "prompt");
    bool many = holds_many(prompt);
    size_t n = many ? json_array_size(prompt) : 1;
    if (n == 0 || n > PROMPTS_MAX) {
        server_field_refuse(fields, "prompt", "must hold from 1 to %d prompts", PROMPTS_MAX);
        return;
    }
    out->prompts = calloc(n, sizeof *out->prompts);
    if (!out->prompts)
        server_error_set(fields->err, 503, "overloaded", NULL, "no memory for the request");
    for (size_t i = 0; i < n && !fields->err->status; i++) {
        json_t *one = many ? json_array_get(prompt, i) : prompt;
        sluice_ids *ids = &out->prompts[out->count++];
        if (json_is_string(one))
            read_text(s, one, ids, fields->err);
        else if (json_is_array(one))
            read_ids(s, one, ids, fields->err);
        else
            server_field_refuse(fields, "prompt",
                                "must be a string, token ids, or an array of either");
        if (!fields->err->status && ids->count == 0)
            server_field_refuse(fields, "prompt", "must not be empty");
        if (!fields->err->status && ids->count >= (size_t)s->info->context)
            server_error_set(fields->err, 400, "context_length_exceeded", "prompt",
                             "the prompt has %zu tokens and the context holds %d", ids->count,
                             s->info->context);
    }
}

void server_completion_read(const server *s, json_t *request, server_completion *out,
                            server_error *err)
{
    static const char *const known[] = {"prompt",  "max_tokens", "echo",       "logprobs",
                                        "grammar", "stop",       "stream",     "n",
                                        "best_of", "suffix",     "logit_bias", "stream_options",
                                        "model",   "user",       "metadata",   "safety_identifier",
                                        NULL};
    static const char *const option_names[] = {"include_usage", NULL};
    server_fields fields = server_fields_of(request, "", err);
    int64_t top = -1;
    out->tokens_max = 16;
    server_fields_only(&fields, known, server_sampling_names);
    server_check_model(s, &fields);
    server_field_only_value(&fields, "n", json_integer(1));
    server_field_only_value(&fields, "best_of", json_integer(1));
    server_field_only_value(&fields, "suffix", json_null());
    server_field_only_value(&fields, "logit_bias", json_object());
    server_field_integer(&fields, "max_tokens", 0, INT32_MAX, &out->tokens_max);
    server_field_integer(&fields, "logprobs", 0, SERVER_TOP_MAX, &top);
    server_field_string(&fields, "grammar", &out->grammar);
    server_field_bool(&fields, "echo", &out->echo);
    server_field_bool(&fields, "stream", &out->stream);
    json_t *options = server_field_object(&fields, "stream_options");
    if (options) {
        server_fields inner = server_fields_of(options, "stream_options", err);
        server_fields_only(&inner, option_names, NULL);
        server_field_bool(&inner, "include_usage", &out->include_usage);
    }
    out->top = (int32_t)top;
    server_sampling_read(&fields, &out->sampling);
    server_stops_read(&fields, "stop", &out->stops);
    if (!err->status) read_prompts(s, &fields, out);
    if (out->stream && (out->echo || out->count > 1))
        server_field_refuse(&fields, "stream", "is not supported with echo or with many prompts");
}

/* Every job owns its own. */
static sluice_grammar *make_grammar(const char *source, server_error *err)
{
    sluice_grammar *grammar = NULL;
    sluice_error why = {0};
    sluice_answer answer = {.content = SLUICE_ANSWER_GBNF,
                            .source = source,
                            .source_length = strlen(source),
                            .tool_choice = SLUICE_TOOLS_NONE};
    if (sluice_grammar_new(&answer, &grammar, &why) != SLUICE_OK) server_error_from(err, &why);
    return grammar;
}

server_job_request server_completion_job(const server *s, server_completion *completion, size_t i,
                                         uint64_t client, server_error *err)
{
    sluice_sampling base = {.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
    int64_t room = s->info->context - (int64_t)completion->prompts[i].count;
    server_job_request job = {
        .prompt = completion->prompts[i],
        .tokens_max = (int32_t)(completion->tokens_max < room ? completion->tokens_max : room),
        .sampling = server_sampling_resolve(&completion->sampling, base),
        .top = completion->top,
        .prompt_logprobs = completion->echo && completion->top >= 0,
        .client = client};
    completion->prompts[i] = (sluice_ids){0};
    if (completion->grammar) job.grammar = make_grammar(completion->grammar, err);
    job.keep = job.tokens_max > 1 && !completion->echo;
    for (; job.n_stops < completion->stops.n_stops; job.n_stops++) {
        job.stops[job.n_stops] = strdup(completion->stops.stops[job.n_stops]);
        if (!job.stops[job.n_stops]) break; /* without memory nothing else will work either */
    }
    return job;
}
