/* The request of /v1/chat/completions. What is not read here is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/openai.h"

static const char *const text_types[] = {"text", NULL};

static void read_calls(const server_fields *message, json_t *out)
{
    static const char *const known[] = {"id", "type", "function", "index", NULL};
    static const char *const function_known[] = {"name", "arguments", NULL};
    json_t *calls = server_field_array(message, "tool_calls"), *call, *list;
    size_t i;
    if (!calls || json_array_size(calls) == 0) return;
    list = json_array();
    json_array_foreach(calls, i, call)
    {
        const char *id = NULL, *type = "function", *name = NULL, *arguments = NULL;
        server_fields fields = server_fields_of(call, "messages.tool_calls", message->err);
        server_fields_only(&fields, known, NULL);
        server_field_string(&fields, "id", &id);
        server_field_string(&fields, "type", &type);
        if (strcmp(type, "function") != 0)
            server_field_refuse(&fields, "type", "is supported only as \"function\"");
        json_t *function = json_object_get(call, "function");
        server_fields inner =
            server_fields_of(function, "messages.tool_calls.function", message->err);
        server_fields_only(&inner, function_known, NULL);
        server_field_string(&inner, "name", &name);
        server_field_string(&inner, "arguments", &arguments);
        if (!name || !arguments) server_field_refuse(&inner, "name", "and arguments are needed");
        if (message->err->status) break;
        json_array_append_new(list, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id ? id : "",
                                              "type", "function", "function", "name", name,
                                              "arguments", arguments));
    }
    json_object_set_new(out, "tool_calls", list);
}

static void read_content(const server_fields *message, bool needed, json_t *out)
{
    char place[96];
    json_t *content = server_field(message, "content");
    snprintf(place, sizeof place, "%s.content", message->path);
    if (!content && needed) server_field_refuse(message, "content", "is needed");
    if (message->err->status) return;
    json_object_set_new(out, "content",
                        content ? server_chat_text(content, place, text_types, message->err)
                                : json_string(""));
}

static json_t *read_assistant(const server_fields *message)
{
    static const char *const known[] = {"role",      "content", "reasoning_content", "tool_calls",
                                        "refusal",   "audio",   "function_call",     "annotations",
                                        "reasoning", NULL};
    json_t *out = json_pack("{s:s}", "role", "assistant");
    const char *reasoning = NULL;
    server_fields_only(message, known, NULL);
    server_field_only_value(message, "refusal", json_null());
    server_field_only_value(message, "audio", json_null());
    server_field_only_value(message, "function_call", json_null());
    server_field_only_value(message, "annotations", json_array());
    server_field_string(message, "reasoning", &reasoning);
    server_field_string(message, "reasoning_content", &reasoning);
    read_content(message, false, out);
    read_calls(message, out);
    if (reasoning) json_object_set_new(out, "reasoning_content", json_string(reasoning));
    return out;
}

static json_t *read_tool(const server_fields *message, const server_chat *chat)
{
    static const char *const known[] = {"role", "content", "tool_call_id", "name", NULL};
    json_t *out = json_pack("{s:s}", "role", "tool");
    const char *id = NULL;
    server_fields_only(message, known, NULL);
    server_field_string(message, "tool_call_id", &id);
    if (!id)
        server_field_refuse(message, "tool_call_id", "is needed");
    else if (!server_chat_has_call(chat->messages, id))
        server_field_refuse(message, "tool_call_id", "'%.60s' is no call of the message before",
                            id);
    read_content(message, true, out);
    return out;
}

static void read_message(json_t *value, size_t index, server_chat *chat, server_error *err)
{
    static const char *const known[] = {"role", "content", NULL};
    char place[32];
    const char *role = NULL;
    json_t *out = NULL;
    snprintf(place, sizeof place, "messages[%zu]", index);
    server_fields message = server_fields_of(value, place, err);
    server_field_string(&message, "role", &role);
    if (err->status) return;
    if (role && !strcmp(role, "assistant")) {
        out = read_assistant(&message);
    } else if (role && !strcmp(role, "tool")) {
        out = read_tool(&message, chat);
    } else if (role &&
               (!strcmp(role, "user") || !strcmp(role, "system") || !strcmp(role, "developer"))) {
        server_fields_only(&message, known, NULL);
        out = json_pack("{s:s}", "role", strcmp(role, "developer") ? role : "system");
        read_content(&message, true, out);
    } else {
        server_field_refuse(&message, "role", "must be system, developer, user, assistant or tool");
    }
    if (err->status)
        json_decref(out);
    else
        server_chat_append(chat, out, err);
}

static void read_tools(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type", "function", NULL};
    static const char *const function_known[] = {"name", "description", "parameters", "strict",
                                                 NULL};
    json_t *tools = server_field_array(fields, "tools"), *tool;
    size_t i;
    if (!tools || json_array_size(tools) == 0) return;
    chat->tools = json_array();
    json_array_foreach(tools, i, tool)
    {
        char place[48];
        const char *type = "", *name = NULL, *description = NULL;
        bool strict;
        snprintf(place, sizeof place, "tools[%zu]", i);
        server_fields outer = server_fields_of(tool, place, fields->err);
        server_field_string(&outer, "type", &type);
        if (strcmp(type, "function") != 0)
            server_field_refuse(&outer, "type", "'%.40s' is not supported: only function is", type);
        server_fields_only(&outer, known, NULL);
        snprintf(place, sizeof place, "tools[%zu].function", i);
        server_fields function =
            server_fields_of(json_object_get(tool, "function"), place, fields->err);
        server_fields_only(&function, function_known, NULL);
        server_field_string(&function, "name", &name);
        server_field_string(&function, "description", &description);
        server_field_bool(&function, "strict", &strict); /* every call is held to its schema */
        server_field_object(&function, "parameters");
        if (!name || !*name) server_field_refuse(&function, "name", "is needed");
        if (fields->err->status) return;
        json_t *copy = json_copy(json_object_get(tool, "function"));
        json_object_del(copy, "strict");
        json_array_append_new(chat->tools,
                              json_pack("{s:s, s:o}", "type", "function", "function", copy));
    }
}

static void read_named_choice(const server_fields *fields, json_t *value, server_chat *chat)
{
    static const char *const known[] = {"type", "function", NULL};
    const char *type = "", *name = NULL;
    server_fields choice = server_fields_of(value, "tool_choice", fields->err);
    server_fields_only(&choice, known, NULL);
    server_field_string(&choice, "type", &type);
    server_fields function =
        server_fields_of(json_object_get(value, "function"), "tool_choice.function", fields->err);
    server_field_string(&function, "name", &name);
    if (strcmp(type, "function") != 0 || !name)
        server_field_refuse(&choice, "type", "must be function, with its name");
    else if (!server_chat_has_tool(chat, name))
        server_field_refuse(&function, "name", "'%.60s' is not among the tools", name);
    if (fields->err->status) return;
    chat->tool_choice = SLUICE_TOOLS_NAMED;
    chat->tool_name = strdup(name);
}

static void read_tool_choice(const server_fields *fields, server_chat *chat)
{
    json_t *value = server_field(fields, "tool_choice");
    const char *word = json_string_value(value);
    bool parallel = true;
    server_field_bool(fields, "parallel_tool_calls", &parallel);
    chat->single_call = !parallel;
    if (!value) return;
    if (word && !strcmp(word, "auto"))
        chat->tool_choice = SLUICE_TOOLS_AUTO;
    else if (word && !strcmp(word, "none"))
        chat->tool_choice = SLUICE_TOOLS_NONE;
    else if (word && !strcmp(word, "required"))
        chat->tool_choice = SLUICE_TOOLS_REQUIRED;
    else if (json_is_object(value))
        read_named_choice(fields, value, chat);
    else
        server_field_refuse(fields, "tool_choice",
                            "must be auto, none, required or a function by name");
    if (!chat->tools && chat->tool_choice > SLUICE_TOOLS_NONE)
        server_field_refuse(fields, "tool_choice", "needs tools");
}

static void read_schema(const server_fields *format, server_chat *chat)
{
    static const char *const known[] = {"name", "description", "schema", "strict", NULL};
    const char *name = NULL;
    bool strict;
    server_fields fields = server_fields_of(json_object_get(format->object, "json_schema"),
                                            "response_format.json_schema", format->err);
    server_fields_only(&fields, known, NULL);
    server_field_string(&fields, "name", &name);
    server_field_bool(&fields, "strict", &strict);
    json_t *schema = server_field(&fields, "schema");
    if (!schema) server_field_refuse(&fields, "schema", "is needed");
    if (format->err->status) return;
    chat->format = SLUICE_ANSWER_SCHEMA;
    chat->schema = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!chat->schema)
        server_error_set(format->err, 503, "overloaded", NULL, "no memory for the request");
}

static void read_format(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type", "json_schema", NULL};
    json_t *value = server_field(fields, "response_format");
    const char *type = "";
    if (!value) return;
    server_fields format = server_fields_of(value, "response_format", fields->err);
    server_fields_only(&format, known, NULL);
    server_field_string(&format, "type", &type);
    if (!strcmp(type, "json_object"))
        chat->format = SLUICE_ANSWER_OBJECT;
    else if (!strcmp(type, "json_schema"))
        read_schema(&format, chat);
    else if (strcmp(type, "text") != 0)
        server_field_refuse(&format, "type", "must be text, json_object or json_schema");
}

/* GBNF, as llama.cpp's server takes it. Tools and formats are grammars of their own. */
static void read_grammar(const server_fields *fields, server_chat *chat)
{
    const char *source = NULL;
    server_field_string(fields, "grammar", &source);
    if (!source) return;
    if (chat->format != SLUICE_ANSWER_TEXT)
        server_field_refuse(fields, "grammar", "is not supported together with response_format");
    else if (chat->tools)
        server_field_refuse(fields, "grammar", "is not supported together with tools");
    if (fields->err->status) return;
    chat->format = SLUICE_ANSWER_GBNF;
    chat->schema = strdup(source);
    if (!chat->schema)
        server_error_set(fields->err, 503, "overloaded", NULL, "no memory for the request");
}

/* Three ways to say the same; they must not contradict each other. */
static void read_thinking(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"enable_thinking", NULL};
    json_t *kwargs = server_field_object(fields, "chat_template_kwargs");
    chat->thinking = true;
    server_openai_effort(fields, "reasoning_effort", &chat->thinking);
    server_field_bool(fields, "enable_thinking", &chat->thinking);
    if (!kwargs) return;
    server_fields inner = server_fields_of(kwargs, "chat_template_kwargs", fields->err);
    server_fields_only(&inner, known, NULL);
    server_field_bool(&inner, "enable_thinking", &chat->thinking);
}

static void read_limits(const server_fields *fields, server_chat *chat)
{
    bool logprobs = false;
    int64_t top = -1;
    server_field_integer(fields, "max_tokens", 1, INT32_MAX, &chat->tokens_max);
    server_field_integer(fields, "max_completion_tokens", 1, INT32_MAX, &chat->tokens_max);
    server_field_bool(fields, "logprobs", &logprobs);
    server_field_integer(fields, "top_logprobs", 0, SERVER_TOP_MAX, &top);
    if (top >= 0 && !logprobs) server_field_refuse(fields, "top_logprobs", "needs logprobs");
    chat->top = logprobs ? (int32_t)(top < 0 ? 0 : top) : -1;
}

static void read_stream(const server_fields *fields, server_openai_extra *extra)
{
    static const char *const known[] = {"include_usage", "include_obfuscation", NULL};
    json_t *options = server_field_object(fields, "stream_options");
    server_field_bool(fields, "stream", &extra->stream);
    if (!options) return;
    if (!extra->stream) server_field_refuse(fields, "stream_options", "needs stream");
    server_fields inner = server_fields_of(options, "stream_options", fields->err);
    server_fields_only(&inner, known, NULL);
    server_field_only_value(&inner, "include_obfuscation", json_false());
    server_field_bool(&inner, "include_usage", &extra->include_usage);
}

void server_openai_chat_read(const server *s, json_t *request, server_chat *chat,
                             server_openai_extra *extra, server_error *err)
{
    static const char *const known[] = {"messages",
                                        "tools",
                                        "tool_choice",
                                        "parallel_tool_calls",
                                        "response_format",
                                        "grammar",
                                        "stop",
                                        "max_tokens",
                                        "max_completion_tokens",
                                        "stream",
                                        "stream_options",
                                        "logprobs",
                                        "top_logprobs",
                                        "n",
                                        "logit_bias",
                                        "enable_thinking",
                                        "chat_template_kwargs",
                                        "reasoning_effort",
                                        "model",
                                        "user",
                                        "metadata",
                                        "safety_identifier",
                                        "prompt_cache_key",
                                        "service_tier",
                                        "store",
                                        "prompt_cache_retention",
                                        "modalities",
                                        "verbosity",
                                        NULL};
    server_fields fields = server_fields_of(request, "", err);
    json_t *messages, *message;
    size_t i;
    server_fields_only(&fields, known, server_sampling_names);
    server_check_model(s, &fields);
    server_openai_check_fixed(&fields);
    server_field_only_value(&fields, "n", json_integer(1));
    server_field_only_value(&fields, "logit_bias", json_object());
    server_field_only_value(&fields, "modalities", json_pack("[s]", "text"));
    server_field_only_value(&fields, "verbosity", json_string("medium"));
    read_tools(&fields, chat);
    read_tool_choice(&fields, chat);
    read_format(&fields, chat);
    read_grammar(&fields, chat);
    read_thinking(&fields, chat);
    read_limits(&fields, chat);
    read_stream(&fields, extra);
    server_sampling_read(&fields, &chat->sampling);
    server_stops_read(&fields, "stop", &chat->job);
    messages = server_field_array(&fields, "messages");
    if (!messages || json_array_size(messages) == 0)
        server_field_refuse(&fields, "messages", "must be an array with at least one message");
    json_array_foreach(messages, i, message) if (!err->status) read_message(message, i, chat, err);
}
