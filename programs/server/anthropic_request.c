/* The request of /v1/messages, turned into a conversation in OpenAI's form. What is not read here
 * is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/anthropic.h"
#include "server/openai.h"

static const char *const text_types[] = {"text", NULL};

static void append(server_chat *chat, const char *role, json_t *content, server_error *err)
{
    if (err->status)
        json_decref(content);
    else
        server_chat_append(chat, json_pack("{s:s, s:o}", "role", role, "content", content), err);
}

static json_t *with_error_mark(json_t *text)
{
    server_buffer marked = {0};
    server_buffer_text(&marked, "Error: ");
    server_buffer_append(&marked, json_string_value(text), json_string_length(text));
    json_decref(text);
    text = marked.failed ? NULL : json_stringn(marked.bytes, marked.length);
    server_buffer_free(&marked);
    return text;
}

static void read_result(const server_fields *block, server_chat *chat)
{
    static const char *const known[] = {"type",     "tool_use_id",   "content",
                                        "is_error", "cache_control", NULL};
    char place[96];
    const char *id = NULL;
    bool is_error = false;
    server_fields_only(block, known, NULL);
    server_field_string(block, "tool_use_id", &id);
    if (!id || !server_chat_has_call(chat->messages, id))
        server_field_refuse(block, "tool_use_id", "is no tool_use of the message before");
    server_field_bool(block, "is_error", &is_error);
    json_t *content = server_field(block, "content");
    snprintf(place, sizeof place, "%.80s.content", block->path);
    if (block->err->status) return;
    json_t *text =
        content ? server_chat_text(content, place, text_types, block->err) : json_string("");
    if (text && is_error) text = with_error_mark(text);
    append(chat, "tool", text, block->err);
}

/* The user's text goes behind the results that stand in the same message. */
static void read_user(json_t *content, const char *place, server_chat *chat, server_error *err)
{
    json_t *texts = json_array(), *part;
    size_t i;
    json_array_foreach(content, i, part)
    {
        char at[64];
        snprintf(at, sizeof at, "%.40s[%zu]", place, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        server_fields block = server_fields_of(part, at, err);
        if (type && !strcmp(type, "tool_result"))
            read_result(&block, chat);
        else
            json_array_append(texts, part);
        if (err->status) break;
    }
    if (!err->status && json_array_size(texts) > 0)
        append(chat, "user", server_chat_text(texts, place, text_types, err), err);
    json_decref(texts);
}

static void read_call(const server_fields *block, json_t *calls)
{
    static const char *const known[] = {"type",          "id",     "name", "input",
                                        "cache_control", "caller", NULL};
    const char *id = NULL, *name = NULL;
    server_fields_only(block, known, NULL);
    server_field_string(block, "id", &id);
    server_field_string(block, "name", &name);
    json_t *input = server_field_object(block, "input");
    if (!id || !name || !input) server_field_refuse(block, "id", ", name and input are needed");
    if (block->err->status) return;
    char *arguments = json_dumps(input, JSON_COMPACT);
    json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function",
                                           "function", "name", name, "arguments",
                                           arguments ? arguments : "{}"));
    free(arguments);
}

static void read_assistant(json_t *content, const char *place, server_chat *chat, server_error *err)
{
    json_t *texts = json_array(), *calls = json_array(), *part;
    const char *reasoning = NULL;
    size_t i;
    json_array_foreach(content, i, part)
    {
        char at[64];
        snprintf(at, sizeof at, "%.40s[%zu]", place, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        server_fields block = server_fields_of(part, at, err);
        if (type && !strcmp(type, "thinking"))
            server_field_string(&block, "thinking", &reasoning);
        else if (type && !strcmp(type, "tool_use"))
            read_call(&block, calls);
        else
            json_array_append(texts, part);
        if (err->status) break;
    }
    json_t *text = err->status ? NULL : server_chat_text(texts, place, text_types, err);
    if (!err->status) {
        json_t *message = json_pack("{s:s, s:O}", "role", "assistant", "content", text);
        if (json_array_size(calls) > 0) json_object_set(message, "tool_calls", calls);
        if (reasoning) json_object_set_new(message, "reasoning_content", json_string(reasoning));
        server_chat_append(chat, message, err);
    }
    json_decref(text);
    json_decref(texts);
    json_decref(calls);
}

static void read_message(json_t *value, size_t index, server_chat *chat, server_error *err)
{
    static const char *const known[] = {"role", "content", NULL};
    char path[32], place[48];
    const char *role = "";
    snprintf(path, sizeof path, "messages[%zu]", index);
    snprintf(place, sizeof place, "%s.content", path);
    server_fields message = server_fields_of(value, path, err);
    server_fields_only(&message, known, NULL);
    server_field_string(&message, "role", &role);
    json_t *content = server_field(&message, "content");
    bool user = !strcmp(role, "user"), assistant = !strcmp(role, "assistant");
    if (!user && !assistant) server_field_refuse(&message, "role", "must be user or assistant");
    if (!json_is_string(content) && !json_is_array(content))
        server_field_refuse(&message, "content", "must be a string or an array of blocks");
    if (err->status) return;
    if (json_is_string(content))
        append(chat, role, json_incref(content), err);
    else if (user)
        read_user(content, place, chat, err);
    else
        read_assistant(content, place, chat, err);
}

static void read_tools(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type",   "name",          "description", "input_schema",
                                        "strict", "cache_control", NULL};
    json_t *tools = server_field_array(fields, "tools"), *tool;
    size_t i;
    if (!tools || json_array_size(tools) == 0) return;
    chat->tools = json_array();
    json_array_foreach(tools, i, tool)
    {
        char place[32];
        const char *type = "custom", *name = NULL, *description = NULL;
        bool strict;
        snprintf(place, sizeof place, "tools[%zu]", i);
        server_fields one = server_fields_of(tool, place, fields->err);
        server_field_string(&one, "type", &type);
        if (strcmp(type, "custom") != 0)
            server_field_refuse(&one, "type", "'%.40s' is not supported: only custom is", type);
        server_fields_only(&one, known, NULL);
        server_field_string(&one, "name", &name);
        server_field_string(&one, "description", &description);
        server_field_bool(&one, "strict", &strict); /* every call is held to its schema */
        json_t *schema = server_field_object(&one, "input_schema");
        if (!name || !schema) server_field_refuse(&one, "name", "and input_schema are needed");
        if (fields->err->status) return;
        json_t *function = json_pack("{s:s}", "name", name);
        if (description) json_object_set_new(function, "description", json_string(description));
        json_object_set(function, "parameters", schema);
        json_array_append_new(chat->tools,
                              json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
}

static void read_tool_choice(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type", "name", "disable_parallel_tool_use", NULL};
    json_t *value = server_field_object(fields, "tool_choice");
    const char *type = "", *name = NULL;
    if (!value) return;
    server_fields choice = server_fields_of(value, "tool_choice", fields->err);
    server_fields_only(&choice, known, NULL);
    server_field_string(&choice, "type", &type);
    server_field_string(&choice, "name", &name);
    server_field_bool(&choice, "disable_parallel_tool_use", &chat->single_call);
    if (!strcmp(type, "auto"))
        chat->tool_choice = SLUICE_TOOLS_AUTO;
    else if (!strcmp(type, "none"))
        chat->tool_choice = SLUICE_TOOLS_NONE;
    else if (!strcmp(type, "any"))
        chat->tool_choice = SLUICE_TOOLS_REQUIRED;
    else if (!strcmp(type, "tool"))
        chat->tool_choice = SLUICE_TOOLS_NAMED;
    else
        server_field_refuse(&choice, "type", "must be auto, any, tool or none");
    if (!chat->tools && chat->tool_choice > SLUICE_TOOLS_NONE)
        server_field_refuse(fields, "tool_choice", "needs tools");
    if (chat->tool_choice != SLUICE_TOOLS_NAMED || fields->err->status) return;
    if (name && server_chat_has_tool(chat, name))
        chat->tool_name = strdup(name);
    else
        server_field_refuse(&choice, "name", "must be one of the tools");
}

static void read_thinking(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"type", "budget_tokens", "display", NULL};
    json_t *value = server_field_object(fields, "thinking");
    const char *type = "";
    int64_t budget = 0;
    if (!value) return;
    server_fields thinking = server_fields_of(value, "thinking", fields->err);
    server_fields_only(&thinking, known, NULL);
    server_field_string(&thinking, "type", &type);
    server_field_integer(&thinking, "budget_tokens", 1, INT32_MAX, &budget);
    server_field_only_value(&thinking, "display", json_string("summarized"));
    chat->thinking = !strcmp(type, "enabled") || !strcmp(type, "adaptive");
    if (!chat->thinking && strcmp(type, "disabled") != 0)
        server_field_refuse(&thinking, "type", "must be enabled, adaptive or disabled");
    if (!strcmp(type, "enabled") && budget == 0)
        server_field_refuse(&thinking, "budget_tokens", "is needed");
    chat->job.thinking_max = (int32_t)budget;
}

/* {"format": {"type": "json_schema", "schema": ...}} */
static void read_output(const server_fields *fields, server_chat *chat)
{
    static const char *const known[] = {"format", NULL};
    static const char *const format_known[] = {"type", "schema", NULL};
    json_t *value = server_field_object(fields, "output_config");
    if (!value) return;
    server_fields output = server_fields_of(value, "output_config", fields->err);
    server_fields_only(&output, known, NULL);
    json_t *format = server_field_object(&output, "format");
    if (!format) return;
    server_fields inner = server_fields_of(format, "output_config.format", fields->err);
    server_fields_only(&inner, format_known, NULL);
    server_field_only_value(&inner, "type", json_string("json_schema"));
    json_t *schema = server_field_object(&inner, "schema");
    if (!schema) server_field_refuse(&inner, "schema", "is needed");
    if (fields->err->status) return;
    chat->format = SLUICE_ANSWER_SCHEMA;
    chat->schema = json_dumps(schema, JSON_COMPACT);
    if (!chat->schema)
        server_error_set(fields->err, 503, "overloaded", NULL, "no memory for the request");
}

void server_anthropic_read(const server *s, json_t *request, bool counting, server_chat *chat,
                           bool *stream, server_error *err)
{
    static const char *const known[] = {
        "model",    "messages",      "system",       "max_tokens", "stop_sequences", "stream",
        "tools",    "temperature",   "top_p",        "top_k",      "tool_choice",    "thinking",
        "metadata", "output_config", "service_tier", NULL};
    server_fields fields = server_fields_of(request, "", err);
    json_t *messages = server_field_array(&fields, "messages"), *message;
    json_t *system = server_field(&fields, "system");
    const char *tier = NULL;
    size_t i;
    server_fields_only(&fields, known, NULL);
    server_check_model(s, &fields);
    server_field_string(&fields, "service_tier", &tier); /* there is one tier */
    server_field_integer(&fields, "max_tokens", 1, INT32_MAX, &chat->tokens_max);
    if (!counting && chat->tokens_max == 0) server_field_refuse(&fields, "max_tokens", "is needed");
    server_field_bool(&fields, "stream", stream);
    server_sampling_read(&fields, &chat->sampling);
    server_stops_read(&fields, "stop_sequences", &chat->job);
    chat->top = -1;
    read_tools(&fields, chat);
    read_tool_choice(&fields, chat);
    read_thinking(&fields, chat);
    read_output(&fields, chat);
    if (system && !err->status)
        append(chat, "system", server_chat_text(system, "system", text_types, err), err);
    if (!messages || json_array_size(messages) == 0)
        server_field_refuse(&fields, "messages", "must be an array with at least one message");
    json_array_foreach(messages, i, message) if (!err->status) read_message(message, i, chat, err);
}
