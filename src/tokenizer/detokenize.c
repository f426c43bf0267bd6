/* Ids to text, at once or as a stream. Both feed the bytes of tokens through the same step, so that
 * the pieces of a stream are the whole text. */
#include <stdlib.h>

#include "tokenizer/text_buffer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

struct sluice_detokenizer {
    const sluice_tokenizer *tokenizer;
    bool skip_special;
    sluice_text_buffer bytes; /* not looked at yet: at most an incomplete character between calls */
    sluice_text_buffer text;  /* complete since the last push */
};

/* Moves complete characters from bytes to text; what is ill-formed becomes U+FFFD. */
static void move_complete(sluice_text_buffer *bytes, sluice_text_buffer *text)
{
    size_t at = 0;
    while (at < bytes->length) {
        size_t valid = sluice_utf8_check(bytes->bytes + at, bytes->length - at);
        sluice_text_buffer_append(text, bytes->bytes + at, valid);
        at += valid;
        if (at == bytes->length) break;
        size_t step;
        uint32_t codepoint;
        if (sluice_utf8_step(bytes->bytes + at, bytes->length - at, &step, &codepoint) ==
            SLUICE_UTF8_INCOMPLETE) {
            break;
        }
        sluice_text_buffer_append_string(text, replacement);
        at += step;
    }
    sluice_text_buffer_consume(bytes, at);
}

static void append_token(const sluice_tokenizer *tokenizer, int32_t id, bool skip_special,
                         sluice_text_buffer *bytes)
{
    size_t length;
    const char *token = sluice_tokenizer_token(tokenizer, id, &length);
    if (!token || (skip_special && sluice_tokenizer_is_special(tokenizer, id))) return;
    sluice_text_buffer_append(bytes, token, length);
}

sluice_status sluice_tokenizer_decode(const sluice_tokenizer *tokenizer, const int32_t *ids,
                                      size_t count, bool skip_special, sluice_text *out,
                                      sluice_error *err)
{
    sluice_text_buffer bytes = {0}, text = {0};
    for (size_t i = 0; i < count; i++)
        append_token(tokenizer, ids[i], skip_special, &bytes);
    if (!bytes.failed) move_complete(&bytes, &text);
    if (bytes.length) sluice_text_buffer_append_string(&text, replacement);
    if (bytes.failed) text.failed = true;
    sluice_text_buffer_free(&bytes);
    return sluice_text_buffer_take(&text, out, err);
}

sluice_status sluice_detokenizer_new(const sluice_tokenizer *tokenizer, bool skip_special,
                                     sluice_detokenizer **out, sluice_error *err)
{
    sluice_detokenizer *detokenizer = calloc(1, sizeof *detokenizer);
    *out = detokenizer;
    if (!detokenizer) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a detokenizer");
    detokenizer->tokenizer = tokenizer;
    detokenizer->skip_special = skip_special;
    return SLUICE_OK;
}

void sluice_detokenizer_free(sluice_detokenizer *detokenizer)
{
    if (!detokenizer) return;
    sluice_text_buffer_free(&detokenizer->bytes);
    sluice_text_buffer_free(&detokenizer->text);
    free(detokenizer);
}

sluice_status sluice_detokenizer_push(sluice_detokenizer *detokenizer, int32_t id,
                                      const char **text, size_t *length, sluice_error *err)
{
    sluice_text_buffer *bytes = &detokenizer->bytes, *complete = &detokenizer->text;
    complete->length = 0;
    append_token(detokenizer->tokenizer, id, detokenizer->skip_special, bytes);
    if (!bytes->failed) move_complete(bytes, complete);
    *text = complete->length ? complete->bytes : "";
    *length = complete->length;
    if (bytes->failed || complete->failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a token's text");
    }
    return SLUICE_OK;
}

void sluice_detokenizer_finish(sluice_detokenizer *detokenizer, const char **text, size_t *length)
{
    *text = detokenizer->bytes.length ? replacement : "";
    *length = strlen(*text);
    detokenizer->bytes.length = 0;
    detokenizer->text.length = 0;
}
