/* The content of a chat message: see chat_content.h. The names render_content and the errors' texts
 * are those of the family's template; errors that the template leaves to Python are in Python's
 * words. */
#include "tokenizer/chat_content.h"

#include <stdio.h>

#include "tokenizer/json_write.h"
#include "tokenizer/utf8.h"

typedef struct item_reader {
    sluice_chat_media *media;
    bool count, is_system;
    sluice_rope *to;
} item_reader;

void sluice_chat_trim(const char *text, size_t *begin, size_t *end)
{
    size_t step;
    while (*begin < *end) {
        if (!sluice_utf8_is_python_space(sluice_utf8_decode(text + *begin, &step))) break;
        *begin += step;
    }
    while (*begin < *end) {
        size_t last = sluice_utf8_previous(text, *end);
        if (!sluice_utf8_is_python_space(sluice_utf8_decode(text + last, &step))) break;
        *end = last;
    }
}

const char *sluice_chat_type_name(const sluice_json_value *value)
{
    switch (value->kind) {
    case SLUICE_JSON_IS_NULL: return "NoneType";
    case SLUICE_JSON_IS_FALSE:
    case SLUICE_JSON_IS_TRUE: return "bool";
    case SLUICE_JSON_IS_STRING: return "str";
    case SLUICE_JSON_IS_ARRAY: return "list";
    case SLUICE_JSON_IS_OBJECT: return "dict";
    default: return memchr(value->text, '.', value->length) ? "float" : "int";
    }
}

/* Python's `word in item`: a member's key, an element, or a part of a string. */
static bool holds(const sluice_json_value *item, const char *word)
{
    if (item->kind == SLUICE_JSON_IS_OBJECT) return sluice_json_get(item, word) != NULL;
    if (item->kind == SLUICE_JSON_IS_STRING) {
        return memmem(item->text, item->length, word, strlen(word)) != NULL;
    }
    for (const sluice_json_value *at = item->first; at; at = at->next) {
        if (sluice_json_is_string(at, word)) return true;
    }
    return false;
}

static sluice_status render_medium(const item_reader *r, bool is_video, sluice_error *err)
{
    if (r->is_system) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "System message cannot contain %s.",
                           is_video ? "videos" : "images");
    }
    size_t *counter = is_video ? &r->media->videos : &r->media->images;
    *counter += r->count;
    size_t begin = r->to->text.length;
    if (r->media->add_vision_id) {
        char label[48];
        snprintf(label, sizeof label, "%s %zu: ", is_video ? "Video" : "Picture", *counter);
        sluice_text_buffer_append_string(&r->to->text, label);
    }
    sluice_text_buffer_append_string(&r->to->text,
                                     is_video ? "<|vision_start|><|video_pad|><|vision_end|>"
                                              : "<|vision_start|><|image_pad|><|vision_end|>");
    sluice_rope_trust(r->to, begin);
    return SLUICE_OK;
}

static sluice_status render_item(const item_reader *r, const sluice_json_value *item,
                                 sluice_error *err)
{
    if (item->kind < SLUICE_JSON_IS_STRING) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "argument of type '%s' is not iterable",
                           sluice_chat_type_name(item));
    }
    const sluice_json_value *type = sluice_json_get(item, "type");
    if (holds(item, "image") || holds(item, "image_url") || sluice_json_is_string(type, "image")) {
        return render_medium(r, false, err);
    }
    if (holds(item, "video") || sluice_json_is_string(type, "video")) {
        return render_medium(r, true, err);
    }
    if (!holds(item, "text")) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "Unexpected item type in content.");
    }
    const sluice_json_value *text = sluice_json_get(item, "text");
    if (!text) return SLUICE_OK;
    if (text->kind > SLUICE_JSON_IS_STRING) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the text of a content item is a %s",
                           sluice_chat_type_name(text));
    }
    sluice_json_write_str(&r->to->text, text);
    return SLUICE_OK;
}

sluice_status sluice_chat_content_render(const sluice_json_value *content, sluice_chat_media *media,
                                         bool count, bool is_system, sluice_rope *to, size_t *begin,
                                         size_t *end, sluice_error *err)
{
    item_reader r = {media, count, is_system, to};
    if (sluice_json_is(content, SLUICE_JSON_IS_STRING)) {
        sluice_rope_append(to, content->text, content->length, false);
    } else if (sluice_json_is(content, SLUICE_JSON_IS_ARRAY)) {
        for (const sluice_json_value *at = content->first; at; at = at->next) {
            SLUICE_TRY(render_item(&r, at, err));
        }
    } else if (content && content->kind != SLUICE_JSON_IS_NULL) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "Unexpected content type.");
    }
    *begin = 0;
    *end = to->text.length;
    if (!to->text.failed) sluice_chat_trim(to->text.bytes, begin, end);
    return SLUICE_OK;
}
