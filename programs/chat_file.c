/* Conversations on disk: FILE is JSON that any program can read, FILE.state is the model's state.
 *
 * Only FILE is needed to go on; with a state that fits (same model, same tokens) the conversation
 * need not be run through the model again. Both are written beside their place and renamed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"

static const char format_name[] = "sluice chat 1";

/* path and suffix in one string; freed by the caller. */
static char *with_suffix(const char *path, const char *suffix)
{
    char *name = NULL;
    return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

static json_t *to_json(const cli_chat *chat)
{
    json_t *tokens = json_array();
    for (int32_t i = 0; i < chat->transcript_count; i++)
        json_array_append_new(tokens, json_integer(chat->transcript[i]));
    return json_pack("{s:s, s:s, s:b, s:O, s:o}", "format", format_name, "model", chat->info->name,
                     "thinking", chat->thinking, "messages", chat->messages, "tokens", tokens);
}

static bool write_and_rename(json_t *value, const char *partial, const char *path)
{
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool written = json_dumpfd(value, fd, JSON_INDENT(1)) == 0 && fsync(fd) == 0;
    int error = written ? 0 : errno;
    if (close(fd) != 0 && written) {
        written = false;
        error = errno;
    }
    if (written && rename(partial, path) == 0) return true;
    if (written) error = errno;
    unlink(partial);
    errno = error;
    return false;
}

void cli_chat_save(cli_chat *chat, const char *path)
{
    sluice_error err = {0};
    json_t *value = to_json(chat);
    char *partial = with_suffix(path, ".partial"), *state = with_suffix(path, ".state");
    if (!value || !partial || !state) {
        cli_fail("not enough memory to save the conversation");
    } else if (!write_and_rename(value, partial, path)) {
        cli_fail("%s: %s", path, errno ? strerror(errno) : "writing failed");
    } else if (sluice_session_save(chat->session, state, &err) != SLUICE_OK) {
        cli_fail("the conversation is saved, the model's state is not: %s", err.detail);
    } else if (!chat->quiet) {
        cli_note("saved to %s, the model's state to %s", path, state);
    }
    free(state);
    free(partial);
    json_decref(value);
}

/* NULL, or what is wrong with the messages of a file. */
static const char *check_messages(const json_t *messages)
{
    if (!json_is_array(messages)) return "\"messages\" is missing or no array";
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        const json_t *reasoning = json_object_get(message, "reasoning_content");
        if (!role || !json_is_string(json_object_get(message, "content")))
            return "a message lacks \"role\" or \"content\"";
        if (reasoning && !json_is_string(reasoning)) return "\"reasoning_content\" is no string";
        if (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 &&
            (strcmp(role, "system") != 0 || i > 0))
            return "a message has an unexpected role";
    }
    return NULL;
}

/* The tokens of a file, if they can be this model's; 0 if not. */
static int32_t read_tokens(const cli_chat *chat, const json_t *tokens, int32_t *out)
{
    size_t count = json_array_size(tokens);
    if (count >= (size_t)chat->info->context) return 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *token = json_array_get(tokens, i);
        json_int_t id = json_integer_value(token);
        if (!json_is_integer(token) || id < 0 || id >= chat->info->vocab) return 0;
        out[i] = (int32_t)id;
    }
    return (int32_t)count;
}

/* Takes over the state if it was saved after these very tokens. */
static void load_state(cli_chat *chat, const char *path, const json_t *tokens)
{
    sluice_error err = {0};
    char *state = with_suffix(path, ".state");
    int32_t count = 0;
    const char *problem = NULL;
    chat->transcript_count = 0;
    sluice_session_clear(chat->session);
    if (!state)
        problem = "not enough memory";
    else if (sluice_session_load(chat->session, state, &err) != SLUICE_OK)
        problem = err.detail;
    free(state);
    if (!problem) {
        const int32_t *seen = sluice_session_tokens(chat->session, &count);
        int32_t known = read_tokens(chat, tokens, chat->transcript);
        if (count <= known && memcmp(seen, chat->transcript, (size_t)count * sizeof *seen) == 0)
            chat->transcript_count = known;
        else
            problem = "it belongs to another conversation";
    }
    if (problem) {
        sluice_session_clear(chat->session);
        cli_note("the model's state was not taken over (%s): the next answer reads the whole "
                 "conversation again",
                 problem);
    }
}

void cli_chat_load(cli_chat *chat, const char *path)
{
    json_error_t error;
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const char *format = json_string_value(json_object_get(value, "format"));
    json_t *messages = json_object_get(value, "messages");
    const char *problem = NULL;
    if (!value && access(path, R_OK) != 0)
        problem = strerror(errno);
    else if (!value)
        problem = error.text;
    else if (!format || strcmp(format, format_name) != 0)
        problem = "not a conversation that was saved by /save";
    else
        problem = check_messages(messages);
    if (problem) {
        cli_fail("%s: %s; nothing was loaded", path, problem);
        json_decref(value);
        return;
    }
    json_decref(chat->messages);
    chat->messages = json_incref(messages);
    chat->thinking = json_is_true(json_object_get(value, "thinking"));
    load_state(chat, path, json_object_get(value, "tokens"));
    if (!chat->quiet)
        cli_note("loaded %zu messages from %s", json_array_size(chat->messages), path);
    json_decref(value);
}
