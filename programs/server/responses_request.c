/* The request of /v1/responses, turned into a conversation in OpenAI's chat form. What is not read
 * here is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/openai.h"
#include "server/response_store.h"
#include "server/responses.h"

static const char *const text_types[] = {"input_text", "output_text", "text", NULL};
static const char *const reasoning_types[] = {"reasoning_text", NULL};

void server_responses_asked_free(server_responses_asked *asked)
{
    free(asked->previous);
    json_decref(asked->history);
    json_decref(asked->echo);
    *asked = (server_responses_asked){0};
}

/* The message that the items of one answer are gathered in: a new one if the last is not an
 * assistant's, or holds already what comes now. */
static json_t *assistant(json_t *history, const char *unless)
{
    json_t *last = json_array_get(history, json_array_size(history) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    json_t *text = json_object_get(last, "content");
    bool taken = !strcmp(unless, "content")
                     ? json_string_length(text) > 0 || json_object_get(last, "tool_calls")
                     : !strcmp(unless, "reasoning_content") &&
                           (json_object_get(last, unless) || json_string_length(text) > 0 ||
                            json_object_get(last, "tool_calls"));
    if (role && !strcmp(role, "assistant") && !taken) return last;
    last = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    if (json_array_append_new(history, last) != 0) return NULL;
    return last;
}

static void read_message(const server_fields *item, json_t *history)
{
    static const char *const known[] = {"type", "id", "role", "content", "status", "phase", NULL};
    const char *role = "";
    char place[96];
    json_t *content = server_field(item, "content");
    snprintf(place, sizeof place, "%s.content", item->path);
    server_fields_only(item, known, NULL);
    server_field_string(item, "role", &role);
    bool answer = !strcmp(role, "assistant");
    if (!answer && strcmp(role, "user") && strcmp(role, "system") && strcmp(role, "developer"))
        server_field_refuse(item, "role", "must be user, assistant, system or developer");
    if (item->err->status) return;
    json_t *text = server_chat_text(content, place, text_types, item->err);
    if (!text) return;
    if (answer)
        json_object_set_new(assistant(history, "content"), "content", text);
    else
        json_array_append_new(history, json_pack("{s:s, s:o}", "role",
                                                 strcmp(role, "developer") ? role : "system",
                                                 "content", text));
}

static void read_call(const server_fields *item, json_t *history)
{
    static const char *const known[] = {"type",      "id",     "call_id", "name",
                                        "arguments", "status", NULL};
    const char *id = NULL, *name = NULL, *arguments = NULL;
    server_fields_only(item, known, NULL);
    server_field_string(item, "call_id", &id);
    server_field_string(item, "name", &name);
    server_field_string(item, "arguments", &arguments);
    if (!id || !name || !arguments)
        server_field_refuse(item, "call_id", ", name and arguments are needed");
    if (item->err->status) return;
    json_t *message = assistant(history, "nothing");
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls) {
        calls = json_array();
        json_object_set_new(message, "tool_calls", calls);
    }
    json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function",
                                           "function", "name", name, "arguments", arguments));
}

static void read_output(const server_fields *item, json_t *history)
{
    static const char *const known[] = {"type", "id", "call_id", "output", "status", NULL};
    const char *id = NULL;
    char place[96];
    json_t *output = server_field(item, "output");
    snprintf(place, sizeof place, "%s.output", item->path);
    server_fields_only(item, known, NULL);
    server_field_string(item, "call_id", &id);
    if (!id || !server_chat_has_call(history, id))
        server_field_refuse(item, "call_id", "is no function_call before it");
    if (item->err->status) return;
    json_t *text = server_chat_text(output, place, text_types, item->err);
    if (text)
        json_array_append_new(history, json_pack("{s:s, s:o}", "role", "tool", "content", text));
}

static void read_reasoning(const server_fields *item, json_t *history)
{
    static const char *const known[] = {
        "type", "id", "summary", "content", "status", "encrypted_content", NULL};
    char place[96];
    json_t *content = server_field_array(item, "content");
    snprintf(place, sizeof place, "%s.content", item->path);
    server_fields_only(item, known, NULL);
    server_field_only_value(item, "summary", json_array());
    server_field_only_value(item, "encrypted_content", json_null());
    if (item->err->status || !content) return;
    json_t *text = server_chat_text(content, place, reasoning_types, item->err);
    if (text)
        json_object_set_new(assistant(history, "reasoning_content"), "reasoning_content", text);
}

static void read_item(json_t *value, size_t index, json_t *history, server_error *err)
{
    char place[32];
    const char *type = "message";
    snprintf(place, sizeof place, "input[%zu]", index);
    server_fields item = server_fields_of(value, place, err);
    server_field_string(&item, "type", &type);
    if (err->status) return;
    if (!strcmp(type, "message"))
        read_message(&item, history);
    else if (!strcmp(type, "function_call"))
        read_call(&item, history);
    else if (!strcmp(type, "function_call_output"))
        read_output(&item, history);
    else if (!strcmp(type, "reasoning"))
        read_reasoning(&item, history);
    else
        server_field_refuse(&item, "type", "'%.40s' is not supported", type);
}

static void read_input(server *s, const server_fields *fields, server_responses_asked *asked)
{
    json_t *input = server_field(fields, "input"), *item;
    const char *previous = NULL;
    size_t i;
    server_field_string(fields, "previous_response_id", &previous);
    if (fields->err->status) return;
    if (previous) {
        asked->previous = strdup(previous);
        asked->history = s->responses ? server_response_store_get(s->responses, previous) : NULL;
        if (!asked->history)
            server_error_set(fields->err, 400, "previous_response_not_found",
                             "previous_response_id", "there is no response '%.60s' here", previous);
    } else {
        asked->history = json_array();
    }
    if (json_is_string(input))
        json_array_append_new(asked->history,
                              json_pack("{s:s, s:O}", "role", "user", "content", input));
    else if (!json_is_array(input) || json_array_size(input) == 0)
        server_field_refuse(fields, "input", "must be a string or an array of items");
    json_array_foreach(input, i, item) if (!fields->err->status)
        read_item(item, i, asked->history, fields->err);
}

/* The instructions, then the history: what the model sees. */
static void fill_messages(const server_fields *fields, const server_responses_asked *asked,
                          server_chat *chat)
{
    const char *instructions = NULL;
    json_t *message;
    size_t i;
    server_field_string(fields, "instructions", &instructions);
    if (fields->err->status) return;
    if (instructions)
        server_chat_append(chat, json_pack("{s:s, s:s}", "role", "system", "content", instructions),
                           fields->err);
    json_array_foreach(asked->history, i, message)
        server_chat_append(chat, json_copy(message), fields->err);
}

static void read_tools(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type",       "name",   "description",
                                        "parameters", "strict", NULL};
    json_t *tools = server_field_array(fields, "tools"), *tool;
    size_t i;
    if (json_array_size(tools) == 0) return;
    chat->tools = json_array();
    json_array_foreach(tools, i, tool)
    {
        char place[32];
        const char *type = "", *name = NULL, *description = NULL;
        bool strict;
        snprintf(place, sizeof place, "tools[%zu]", i);
        server_fields one = server_fields_of(tool, place, fields->err);
        server_field_string(&one, "type", &type);
        if (strcmp(type, "function") != 0)
            server_field_refuse(&one, "type", "'%.40s' is not supported: only function is", type);
        server_fields_only(&one, known, NULL);
        server_field_string(&one, "name", &name);
        server_field_string(&one, "description", &description);
        server_field_bool(&one, "strict", &strict); /* every call is held to its schema */
        json_t *parameters = server_field_object(&one, "parameters");
        if (!name || !*name) server_field_refuse(&one, "name", "is needed");
        if (fields->err->status) return;
        json_t *function = json_pack("{s:s}", "name", name);
        if (description) json_object_set_new(function, "description", json_string(description));
        if (parameters) json_object_set(function, "parameters", parameters);
        json_array_append_new(chat->tools,
                              json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
}

static void read_tool_choice(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type", "name", NULL};
    json_t *value = server_field(fields, "tool_choice");
    const char *word = json_string_value(value), *type = "", *name = NULL;
    bool parallel = true;
    server_field_bool(fields, "parallel_tool_calls", &parallel);
    chat->single_call = !parallel;
    if (!value || (word && !strcmp(word, "auto"))) return;
    if (word && !strcmp(word, "none")) {
        chat->tool_choice = SLUICE_TOOLS_NONE;
    } else if (word && !strcmp(word, "required")) {
        chat->tool_choice = SLUICE_TOOLS_REQUIRED;
    } else if (json_is_object(value)) {
        server_fields choice = server_fields_of(value, "tool_choice", fields->err);
        server_field_string(&choice, "type", &type);
        if (strcmp(type, "function") != 0)
            server_field_refuse(&choice, "type", "'%.40s' is not supported: only function is",
                                type);
        server_fields_only(&choice, known, NULL);
        server_field_string(&choice, "name", &name);
        if (!name || !server_chat_has_tool(chat, name))
            server_field_refuse(&choice, "name", "must be one of the tools");
        chat->tool_choice = SLUICE_TOOLS_NAMED;
        chat->tool_name = fields->err->status ? NULL : strdup(name);
    } else {
        server_field_refuse(fields, "tool_choice",
                            "must be auto, none, required or a function by name");
    }
    if (!chat->tools && chat->tool_choice > SLUICE_TOOLS_NONE)
        server_field_refuse(fields, "tool_choice", "needs tools");
}

static void read_format(json_t *value, server_chat *chat, server_error *err)
{
    static const char *const known[] = {"type", "name", "description", "schema", "strict", NULL};
    const char *type = "";
    bool strict;
    server_fields format = server_fields_of(value, "text.format", err);
    server_field_string(&format, "type", &type);
    server_fields_only(&format, known, NULL);
    server_field_bool(&format, "strict", &strict);
    json_t *schema = server_field_object(&format, "schema");
    if (!strcmp(type, "json_object")) {
        chat->format = SLUICE_ANSWER_OBJECT;
    } else if (!strcmp(type, "json_schema")) {
        if (!schema) server_field_refuse(&format, "schema", "is needed");
        chat->format = SLUICE_ANSWER_SCHEMA;
        chat->schema = schema ? json_dumps(schema, JSON_COMPACT) : NULL;
    } else if (strcmp(type, "text") != 0) {
        server_field_refuse(&format, "type", "must be text, json_object or json_schema");
    }
}

static void read_text(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"format", "verbosity", NULL};
    json_t *value = server_field_object(fields, "text");
    if (!value) return;
    server_fields text = server_fields_of(value, "text", fields->err);
    server_fields_only(&text, known, NULL);
    server_field_only_value(&text, "verbosity", json_string("medium"));
    json_t *format = server_field_object(&text, "format");
    if (format) read_format(format, chat, fields->err);
}

static void read_thinking(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"effort", "summary", NULL};
    json_t *value = server_field_object(fields, "reasoning");
    const char *summary = "auto";
    chat->thinking = true;
    if (!value) return;
    server_fields reasoning = server_fields_of(value, "reasoning", fields->err);
    server_fields_only(&reasoning, known, NULL);
    server_openai_effort(&reasoning, "effort", &chat->thinking);
    server_field_string(&reasoning, "summary", &summary); /* the reasoning itself is told */
    if (strcmp(summary, "auto") != 0)
        server_field_refuse(&reasoning, "summary", "is supported only as \"auto\"");
}

/* Reasoning is told as it is, which is all that its encrypted form is for. */
static void read_include(const server_fields *fields)
{
    json_t *include = server_field_array(fields, "include"), *name;
    size_t i;
    json_array_foreach(include, i, name)
    {
        const char *word = json_string_value(name);
        if (!word || strcmp(word, "reasoning.encrypted_content") != 0)
            server_field_refuse(fields, "include", "holds '%.60s', which is not supported",
                                word ? word : "what is no string");
    }
}

/* A response repeats what it was asked, with the defaults for what was not said. */
static json_t *make_echo(const server_fields *fields, const server_chat *chat)
{
    static const char *const names[] = {"instructions",      "metadata",  "temperature", "top_p",
                                        "max_output_tokens", "reasoning", "text",        "tools",
                                        "tool_choice",       "user",      NULL};
    json_t *echo = json_object();
    for (const char *const *name = names; *name; name++) {
        json_t *value = server_field(fields, *name);
        if (value) json_object_set(echo, *name, value);
    }
    json_t *defaults = json_pack(
        "{s:n, s:{}, s:n, s:n, s:n, s:{s:n, s:n}, s:{s:{s:s}}, s:[], s:s, s:b, s:s, s:b, s:s}",
        "instructions", "metadata", "temperature", "top_p", "max_output_tokens", "reasoning",
        "effort", "summary", "text", "format", "type", "text", "tools", "tool_choice", "auto",
        "parallel_tool_calls", !chat->single_call, "truncation", "disabled", "background", 0,
        "service_tier", "default");
    json_object_update_missing(echo, defaults);
    json_decref(defaults);
    return echo;
}

static void check_fixed(const server_fields *fields)
{
    const char *tier = NULL;
    json_t *options = server_field_object(fields, "stream_options");
    server_field_string(fields, "service_tier", &tier);
    if (tier && strcmp(tier, "auto") != 0 && strcmp(tier, "default") != 0)
        server_field_refuse(fields, "service_tier", "is supported only as \"auto\" or \"default\"");
    server_field_only_value(fields, "truncation", json_string("disabled"));
    server_field_only_value(fields, "background", json_false());
    server_field_only_value(fields, "top_logprobs", json_integer(0));
    if (options)
        server_field_only_value(fields, "stream_options",
                                json_pack("{s:b}", "include_obfuscation", 0));
    read_include(fields);
}

void server_responses_read(server *s, json_t *request, server_chat *chat,
                           server_responses_asked *asked, server_error *err)
{
    static const char *const known[] = {"model",
                                        "input",
                                        "instructions",
                                        "previous_response_id",
                                        "tools",
                                        "tool_choice",
                                        "parallel_tool_calls",
                                        "text",
                                        "reasoning",
                                        "max_output_tokens",
                                        "stream",
                                        "stream_options",
                                        "store",
                                        "include",
                                        "truncation",
                                        "background",
                                        "top_logprobs",
                                        "metadata",
                                        "user",
                                        "safety_identifier",
                                        "prompt_cache_key",
                                        "prompt_cache_retention",
                                        "service_tier",
                                        NULL};
    server_fields fields = server_fields_of(request, "", err);
    server_fields_only(&fields, known, server_sampling_names);
    server_check_model(s, &fields);
    check_fixed(&fields);
    asked->store = true;
    server_field_bool(&fields, "store", &asked->store);
    server_field_bool(&fields, "stream", &asked->stream);
    server_field_integer(&fields, "max_output_tokens", 1, INT32_MAX, &chat->tokens_max);
    server_sampling_read(&fields, &chat->sampling);
    chat->top = -1;
    read_tools(&fields, chat);
    read_tool_choice(&fields, chat);
    read_text(&fields, chat);
    read_thinking(&fields, chat);
    read_input(s, &fields, asked);
    fill_messages(&fields, asked, chat);
    if (err->status) return;
    asked->echo = make_echo(&fields, chat);
    json_object_set_new(asked->echo, "store", json_boolean(asked->store));
}
