/* One line of a data file as text with what is to be learnt (see samples.h). */
#define _GNU_SOURCE /* memmem */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/samples.h"

#define START "<|im_start|>"
#define END "<|im_end|>"
#define ASSISTANT START "assistant\n"
#define NO_THOUGHT "<think>\n\n</think>\n\n"

static sluice_status no_memory(const char *what, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", what);
}

static sluice_status add_part(sluice_sample_text *text, size_t begin, size_t end, bool learn,
                              sluice_error *err)
{
    if (begin == end) return SLUICE_OK;
    void *parts = realloc(text->parts, (text->n_parts + 1) * sizeof *text->parts);
    if (!parts) return no_memory("a sample", err);
    text->parts = parts;
    text->parts[text->n_parts++] = (sluice_sample_part){begin, end, learn};
    return SLUICE_OK;
}

/* Where a marker of the template's own begins, from `from` on: a user may write one too. */
static size_t find_marker(const sluice_prompt *prompt, const char *marker, size_t from)
{
    const size_t length = strlen(marker);
    for (size_t at = from; at < prompt->text.length;) {
        const char *hit = memmem(prompt->text.bytes + at, prompt->text.length - at, marker, length);
        if (!hit) break;
        const size_t begin = (size_t)(hit - prompt->text.bytes);
        for (size_t i = 0; i < prompt->trusted_count; i++)
            if (prompt->trusted[i].begin <= begin && begin + length <= prompt->trusted[i].end)
                return begin;
        at = begin + 1;
    }
    return prompt->text.length;
}

/* The assistant's turns of a rendered conversation. A turn without reasoning is rendered with an
 * empty one where it is the last; a prompt with thinking off brings that along. */
static sluice_status mark_turns(sluice_sample_text *text, const char *what, sluice_error *err)
{
    const sluice_prompt *prompt = &text->prompt;
    const size_t length = prompt->text.length;
    size_t at = 0;
    for (;;) {
        size_t begin = find_marker(prompt, ASSISTANT, at);
        if (begin == length) break;
        begin += strlen(ASSISTANT);
        if (length - begin >= strlen(NO_THOUGHT) &&
            memcmp(prompt->text.bytes + begin, NO_THOUGHT, strlen(NO_THOUGHT)) == 0)
            begin += strlen(NO_THOUGHT);
        size_t end = find_marker(prompt, END, begin);
        if (end < length) end += strlen(END);
        SLUICE_TRY(add_part(text, at, begin, false, err));
        SLUICE_TRY(add_part(text, begin, end, true, err));
        at = end;
    }
    if (at == 0)
        return sluice_fail(err, SLUICE_BAD_INPUT,
                           "%s: the conversation has no turn of the assistant to learn", what);
    return SLUICE_OK; /* what follows the last turn teaches nothing */
}

static sluice_status render(json_t *request, const char *what, sluice_sample_text *out,
                            sluice_error *err)
{
    sluice_error inner = {0};
    char *json = request ? json_dumps(request, JSON_COMPACT) : NULL;
    if (!json) return no_memory(what, err);
    const sluice_status status =
        sluice_chat_render_openai(json, strlen(json), &out->prompt, &inner);
    free(json);
    if (status != SLUICE_OK) return sluice_fail(err, status, "%s: %s", what, inner.detail);
    return mark_turns(out, what, err);
}

/* The first of some members, that must be a string if it is there; NULL: none. */
static sluice_status member(const json_t *root, const char *const *keys, const char *what,
                            const json_t **value, sluice_error *err)
{
    *value = NULL;
    for (; *keys; keys++) {
        *value = json_object_get(root, *keys);
        if (!*value) continue;
        if (!json_is_string(*value))
            return sluice_fail(err, SLUICE_BAD_INPUT, "%s: \"%s\" is not a string", what, *keys);
        return SLUICE_OK;
    }
    return SLUICE_OK;
}

/* The user's turn of the instruction forms: instruction, and input below it. */
static sluice_status user_turn(const json_t *root, const char *what, json_t **content,
                               sluice_error *err)
{
    static const char *const questions[] = {"instruction", "question", NULL};
    static const char *const inputs[] = {"input", NULL};
    const json_t *question, *input;
    SLUICE_TRY(member(root, questions, what, &question, err));
    SLUICE_TRY(member(root, inputs, what, &input, err));
    if (!question)
        return sluice_fail(
            err, SLUICE_BAD_INPUT,
            "%s: none of messages, instruction, question, prompt, text is a member of it", what);
    *content = input && json_string_length(input)
                   ? json_sprintf("%s\n\n%s", json_string_value(question), json_string_value(input))
                   : json_stringn(json_string_value(question), json_string_length(question));
    return *content ? SLUICE_OK : no_memory(what, err);
}

static sluice_status assistant_turn(json_t *root, const char *what, json_t **turn,
                                    sluice_error *err)
{
    static const char *const answers[] = {"output", "response", "answer", NULL};
    const json_t *answer;
    json_t *call = json_object_get(root, "call");
    SLUICE_TRY(member(root, answers, what, &answer, err));
    if (answer) {
        *turn = json_pack("{s:s,s:s%}", "role", "assistant", "content", json_string_value(answer),
                          json_string_length(answer));
    } else if (json_is_string(json_array_get(call, 0)) && json_is_object(json_array_get(call, 1))) {
        *turn = json_pack("{s:s,s:s,s:[{s:s,s:{s:O,s:O}}]}", "role", "assistant", "content", "",
                          "tool_calls", "type", "function", "function", "name",
                          json_array_get(call, 0), "arguments", json_array_get(call, 1));
    } else {
        return sluice_fail(err, SLUICE_BAD_INPUT,
                           "%s: none of output, response, answer, call is a member of it", what);
    }
    return *turn ? SLUICE_OK : no_memory(what, err);
}

static sluice_status read_instruction(json_t *root, const char *what, sluice_sample_text *out,
                                      sluice_error *err)
{
    json_t *content = NULL, *turn = NULL, *tools = json_object_get(root, "tools");
    SLUICE_TRY(user_turn(root, what, &content, err));
    const sluice_status status = assistant_turn(root, what, &turn, err);
    if (status != SLUICE_OK) {
        json_decref(content);
        return status;
    }
    json_t *request =
        json_pack("{s:[{s:s,s:o},o]}", "messages", "role", "user", "content", content, turn);
    if (request && tools) json_object_set(request, "tools", tools);
    const sluice_status rendered = render(request, what, out, err);
    json_decref(request);
    return rendered;
}

/* Two texts, or one, without a template. */
static sluice_status read_plain(const json_t *first, bool learn_first, const json_t *second,
                                const char *what, sluice_sample_text *out, sluice_error *err)
{
    if (!json_is_string(first) || (second && !json_is_string(second)))
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: prompt, completion and text must be strings",
                           what);
    const size_t a = json_string_length(first), b = second ? json_string_length(second) : 0;
    out->prompt.text.bytes = malloc(a + b + 1);
    if (!out->prompt.text.bytes) return no_memory(what, err);
    memcpy(out->prompt.text.bytes, json_string_value(first), a);
    if (b) memcpy(out->prompt.text.bytes + a, json_string_value(second), b);
    out->prompt.text.bytes[a + b] = '\0';
    out->prompt.text.length = a + b;
    out->ends = true;
    SLUICE_TRY(add_part(out, 0, a, learn_first, err));
    return add_part(out, a, a + b, true, err);
}

static sluice_status read_root(json_t *root, const char *what, sluice_sample_text *out,
                               sluice_error *err)
{
    if (!json_is_object(root))
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: it is not a JSON object", what);
    if (json_object_get(root, "messages")) return render(root, what, out, err);
    if (json_object_get(root, "text"))
        return read_plain(json_object_get(root, "text"), true, NULL, what, out, err);
    if (json_object_get(root, "prompt"))
        return json_object_get(root, "completion")
                   ? read_plain(json_object_get(root, "prompt"), false,
                                json_object_get(root, "completion"), what, out, err)
                   : sluice_fail(err, SLUICE_BAD_INPUT, "%s: a prompt without a completion", what);
    return read_instruction(root, what, out, err);
}

sluice_status sluice_sample_text_read(const char *line, size_t bytes, const char *what,
                                      sluice_sample_text *out, sluice_error *err)
{
    json_error_t error;
    *out = (sluice_sample_text){0};
    json_t *root = json_loadb(line, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: column %d: %s", what, error.column,
                           error.text);
    const sluice_status status = read_root(root, what, out, err);
    json_decref(root);
    if (status != SLUICE_OK) sluice_sample_text_free(out);
    return status;
}

void sluice_sample_text_free(sluice_sample_text *text)
{
    sluice_prompt_free(&text->prompt);
    free(text->parts);
    *text = (sluice_sample_text){0};
}
