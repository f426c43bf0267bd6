/* Conversations of any API; see chat.h. */
#include "server/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void server_chat_free(server_chat *chat)
{
    json_decref(chat->messages);
    json_decref(chat->tools);
    free(chat->tool_name);
    free(chat->schema);
    server_job_request_free(&chat->job);
    *chat = (server_chat){0};
}

bool server_chat_has_call(const json_t *messages, const char *id)
{
    for (size_t i = json_array_size(messages); i-- > 0;) {
        json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls"), *call;
        size_t k;
        json_array_foreach(calls, k, call)
        {
            const char *known = json_string_value(json_object_get(call, "id"));
            if (known && !strcmp(known, id)) return true;
        }
        if (calls) break;
    }
    return false;
}

bool server_chat_has_tool(const server_chat *chat, const char *name)
{
    json_t *tool;
    size_t i;
    json_array_foreach(chat->tools, i, tool)
    {
        json_t *known = json_object_get(json_object_get(tool, "function"), "name");
        if (json_is_string(known) && !strcmp(json_string_value(known), name)) return true;
    }
    return false;
}

static bool is_system(json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && !strcmp(role, "system");
}

/* Appends the second system message's text to the first's. */
static bool merge_system(json_t *first, json_t *second)
{
    server_buffer both = {0};
    json_t *a = json_object_get(first, "content"), *b = json_object_get(second, "content");
    server_buffer_append(&both, json_string_value(a), json_string_length(a));
    server_buffer_text(&both, "\n\n");
    server_buffer_append(&both, json_string_value(b), json_string_length(b));
    bool merged = !both.failed &&
                  json_object_set_new(first, "content", json_stringn(both.bytes, both.length)) == 0;
    server_buffer_free(&both);
    return merged;
}

void server_chat_append(server_chat *chat, json_t *message, server_error *err)
{
    json_t *first = json_array_get(chat->messages, 0);
    bool kept;
    if (!chat->messages) chat->messages = json_array();
    if (message && is_system(message) && json_array_size(chat->messages) == 1 && is_system(first)) {
        kept = merge_system(first, message);
        json_decref(message);
    } else {
        kept = json_array_append_new(chat->messages, message) == 0;
    }
    if (!kept) server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
}

static bool listed(const char *const *types, const char *type)
{
    for (; *types; types++)
        if (!strcmp(*types, type)) return true;
    return false;
}

static void append_part(server_buffer *out, json_t *part, const char *place,
                        const char *const *types, server_error *err)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    json_t *text = json_object_get(part, "text");
    if (!type)
        server_error_set(err, 400, NULL, place, "%s must be an object with a type", place);
    else if (!listed(types, type))
        server_error_set(err, 400, NULL, place,
                         "%s is of the type '%.40s', which is not supported: only text is", place,
                         type);
    else if (!json_is_string(text))
        server_error_set(err, 400, NULL, place, "%s.text must be a string", place);
    else
        server_buffer_append(out, json_string_value(text), json_string_length(text));
}

json_t *server_chat_text(json_t *content, const char *place, const char *const *types,
                         server_error *err)
{
    if (json_is_string(content)) return json_incref(content);
    if (!json_is_array(content)) {
        server_error_set(err, 400, NULL, place, "%s must be a string or an array of parts", place);
        return NULL;
    }
    server_buffer text = {0};
    json_t *part, *joined = NULL;
    size_t i;
    json_array_foreach(content, i, part)
    {
        char at[96];
        snprintf(at, sizeof at, "%.70s[%zu]", place, i);
        append_part(&text, part, at, types, err);
    }
    if (!err->status) joined = json_stringn(text.bytes ? text.bytes : "", text.length);
    if (!joined) server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
    server_buffer_free(&text);
    return joined;
}
