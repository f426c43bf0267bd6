/* Text to ids: added tokens are cut out, what lies between them is normalised, split and encoded.
 * The order is the reference's: added tokens that are not normalised, then per part the normaliser,
 * then added tokens that are, then per part the pre-tokenizers and the merges. */
#include <stdlib.h>

#include "tokenizer/normalize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

#define TEXT_BYTES_MAX ((size_t)1 << 30)

typedef struct encoder {
    const sluice_tokenizer *tokenizer;
    bool skip_special;
    bool match_normalized; /* look for added tokens behind normalisation */
    sluice_id_list ids;
    sluice_bpe_scratch bpe;
    sluice_split_scratch splits[SLUICE_SPLITS_MAX];
} encoder;

/* Cuts a piece by the pre-tokenizers from the level on. */
static sluice_status split_piece(encoder *e, int level, const char *text, size_t length,
                                 sluice_error *err)
{
    if (!length) return SLUICE_OK;
    if (level == e->tokenizer->split_count) {
        return sluice_bpe_encode(&e->tokenizer->bpe, &e->bpe, text, length, &e->ids, err);
    }
    size_t done = 0, from = 0, matched = SIZE_MAX;
    while (from < length) {
        size_t begin, end;
        SLUICE_TRY(sluice_split_find(e->tokenizer->splits[level], &e->splits[level], text, length,
                                     from, &begin, &end, err));
        if (begin == length) break;
        from = end;
        if (begin == end) {
            /* An empty match cuts too, unless right behind another; then the search moves on. */
            size_t step;
            sluice_utf8_decode(text + end, &step);
            from += step;
            if (begin == matched) continue;
        }
        matched = end;
        SLUICE_TRY(split_piece(e, level + 1, text + done, begin - done, err));
        SLUICE_TRY(split_piece(e, level + 1, text + begin, end - begin, err));
        done = end;
    }
    return split_piece(e, level + 1, text + done, length - done, err);
}

static sluice_status encode_normalized(encoder *e, const char *text, size_t length,
                                       sluice_error *err)
{
    size_t done = 0, from = 0;
    sluice_match match;
    while (e->match_normalized && sluice_matcher_find(&e->tokenizer->normalized, text, length, from,
                                                      length, done, e->skip_special, &match)) {
        if (match.begin > done) {
            SLUICE_TRY(split_piece(e, 0, text + done, match.begin - done, err));
        }
        sluice_id_list_append(&e->ids, match.token->id);
        done = match.end;
        from = match.next;
    }
    return split_piece(e, 0, text + done, length - done, err);
}

/* Text without added tokens that are looked for before normalisation. */
static sluice_status encode_part(encoder *e, const char *text, size_t length, sluice_error *err)
{
    if (!length) return SLUICE_OK;
    if (!e->tokenizer->nfc || sluice_nfc_is_certain(text, length)) {
        return encode_normalized(e, text, length, err);
    }
    sluice_text_buffer normalized = {0};
    sluice_status status = sluice_nfc_append(text, length, &normalized, err);
    if (status == SLUICE_OK) {
        status = encode_normalized(e, normalized.bytes, normalized.length, err);
    }
    sluice_text_buffer_free(&normalized);
    return status;
}

/* Encodes the text before a match and the match. */
static sluice_status encode_match(encoder *e, const char *text, size_t *done,
                                  const sluice_match *match, sluice_error *err)
{
    if (match->begin > *done) {
        SLUICE_TRY(encode_part(e, text + *done, match->begin - *done, err));
    }
    sluice_id_list_append(&e->ids, match->token->id);
    *done = match->end;
    return SLUICE_OK;
}

static sluice_status encode_text(encoder *e, const char *text, size_t length, sluice_error *err)
{
    size_t done = 0, from = 0;
    sluice_match match;
    while (sluice_matcher_find(&e->tokenizer->raw, text, length, from, length, done,
                               e->skip_special, &match)) {
        SLUICE_TRY(encode_match(e, text, &done, &match, err));
        from = match.next;
    }
    return encode_part(e, text + done, length - done, err);
}

/* With trusted spans all added tokens are looked for in the text as it is: a template's tokens
 * count even where a mark in the message behind them would compose with their last character. */
static sluice_status encode_trusted(encoder *e, const char *text, size_t length,
                                    const sluice_span *trusted, size_t trusted_count,
                                    sluice_error *err)
{
    size_t done = 0;
    for (size_t i = 0; i < trusted_count; i++) {
        size_t from = trusted[i].begin;
        sluice_match match;
        while (sluice_matcher_find(&e->tokenizer->all, text, length, from, trusted[i].end, done,
                                   false, &match)) {
            SLUICE_TRY(encode_match(e, text, &done, &match, err));
            from = match.next;
        }
    }
    return encode_part(e, text + done, length - done, err);
}

static sluice_status check_text(const char *text, size_t length, sluice_error *err)
{
    if (length > TEXT_BYTES_MAX) {
        return sluice_fail(err, SLUICE_LIMIT, "a text of %zu bytes; the limit is %zu", length,
                           TEXT_BYTES_MAX);
    }
    size_t valid = sluice_utf8_check(text, length);
    if (valid < length) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "the text is not UTF-8 at byte %zu (0x%02x)",
                           valid, (unsigned char)text[valid]);
    }
    return SLUICE_OK;
}

/* Hands the ids over, or frees them if something has failed. */
static sluice_status finish(encoder *e, sluice_status status, sluice_ids *out, sluice_error *err)
{
    sluice_bpe_scratch_free(&e->bpe);
    for (int i = 0; i < e->tokenizer->split_count; i++)
        sluice_split_scratch_free(&e->splits[i]);
    if (status == SLUICE_OK && !sluice_id_list_reserve(&e->ids, 1)) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory to encode text");
    }
    if (status == SLUICE_OK) {
        *out = (sluice_ids){e->ids.ids, e->ids.count};
    } else {
        free(e->ids.ids);
    }
    return status;
}

sluice_status sluice_tokenizer_encode(const sluice_tokenizer *tokenizer, const char *text,
                                      size_t length, sluice_special special, sluice_ids *out,
                                      sluice_error *err)
{
    *out = (sluice_ids){0};
    SLUICE_TRY(check_text(text, length, err));
    encoder e = {.tokenizer = tokenizer,
                 .skip_special = special == SLUICE_SPECIAL_NEVER,
                 .match_normalized = true};
    return finish(&e, encode_text(&e, text, length, err), out, err);
}

sluice_status sluice_tokenizer_encode_trusted(const sluice_tokenizer *tokenizer, const char *text,
                                              size_t length, const sluice_span *trusted,
                                              size_t trusted_count, sluice_ids *out,
                                              sluice_error *err)
{
    *out = (sluice_ids){0};
    SLUICE_TRY(check_text(text, length, err));
    for (size_t i = 0, last = 0; i < trusted_count; last = trusted[i++].end) {
        if (trusted[i].begin < last || trusted[i].end < trusted[i].begin ||
            trusted[i].end > length) {
            return sluice_fail(err, SLUICE_USAGE, "trusted span %zu is out of order or range", i);
        }
    }
    encoder e = {.tokenizer = tokenizer};
    return finish(&e, encode_trusted(&e, text, length, trusted, trusted_count, err), out, err);
}
