/* The content of a chat message: a string, or a list of items of text, images and videos. */
#ifndef SLUICE_TOKENIZER_CHAT_CONTENT_H
#define SLUICE_TOKENIZER_CHAT_CONTENT_H

#include "tokenizer/json_value.h"
#include "tokenizer/rope.h"

/* What the template counts across messages. Zero-initialise. */
typedef struct sluice_chat_media {
    size_t images, videos;
    bool add_vision_id; /* write "Picture 1: " before an image */
} sluice_chat_media;

/* Appends a content, which may be NULL. Its first and last bytes without white space (as Python's
 * strip has it) are [*begin, *end) of to, which must be empty. With count, images and videos are
 * counted. SLUICE_BAD_INPUT: what the template refuses, in its words. */
sluice_status sluice_chat_content_render(const sluice_json_value *content, sluice_chat_media *media,
                                         bool count, bool is_system, sluice_rope *to, size_t *begin,
                                         size_t *end, sluice_error *err);

/* Cuts white space off both ends of bytes [*begin, *end) of a valid UTF-8 text. */
void sluice_chat_trim(const char *text, size_t *begin, size_t *end);

/* What Python calls the type of a value. */
const char *sluice_chat_type_name(const sluice_json_value *value);

#endif
