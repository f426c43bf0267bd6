/* The model of a tokenizer.json: its vocabulary and merges, by far the largest part of the file. It
 * is read as a stream, without a tree, since 250,000 tokens must be ready in a fraction of a
 * second. */
#include <inttypes.h>

#include "tokenizer/merge_batch.h"
#include "tokenizer/tokenizer_file.h"

typedef struct model_reader {
    sluice_tokenizer *tokenizer;
    sluice_json_reader *reader;
    sluice_merge_batch batch;
    bool has_vocab, has_merges, merges_wait;
    sluice_json_reader merges; /* at the merges, if they stand before the vocabulary */
} model_reader;

static sluice_status wrong(const model_reader *m, const char *what, sluice_json_token token,
                           sluice_error *err)
{
    return sluice_fail(err, SLUICE_CORRUPT, "%s: %s is %s at byte %zu", m->reader->name, what,
                       sluice_json_token_name(token), m->reader->at);
}

/* A whole number that is no id gives -1, which no vocabulary takes. */
static int64_t parse_id(const char *text, size_t length)
{
    int64_t id = 0;
    if (length > 10) return -1;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        id = id * 10 + (text[i] - '0');
    }
    return id;
}

static sluice_status read_vocab(model_reader *m, sluice_json_token token, sluice_error *err)
{
    sluice_json_reader *reader = m->reader;
    if (token != SLUICE_JSON_OBJECT) return wrong(m, "model.vocab", token, err);
    if (m->has_vocab) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: two vocabularies", reader->name);
    }
    m->has_vocab = true;
    sluice_text_buffer spelling = {0};
    sluice_status status = SLUICE_OK;
    for (;;) {
        status = sluice_json_next(reader, &token, err);
        if (status != SLUICE_OK || token == SLUICE_JSON_OBJECT_END) break;
        spelling.length = 0;
        sluice_text_buffer_append(&spelling, reader->text, reader->text_length);
        status = sluice_json_next(reader, &token, err);
        if (status != SLUICE_OK) break;
        if (token != SLUICE_JSON_NUMBER) {
            status = wrong(m, "an id of model.vocab", token, err);
            break;
        }
        if (spelling.failed) {
            status = sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", reader->name);
            break;
        }
        status = sluice_vocab_add(&m->tokenizer->vocab, reader->name,
                                  spelling.length ? spelling.bytes : "", spelling.length,
                                  parse_id(reader->text, reader->text_length), err);
        if (status != SLUICE_OK) break;
    }
    sluice_text_buffer_free(&spelling);
    if (status != SLUICE_OK) return status;
    return sluice_vocab_index(&m->tokenizer->vocab, reader->name, err);
}

/* "a b": the form of older files. Neither side can hold a space, which the alphabet spells U+0120.
 */
static sluice_status read_spaced_merge(model_reader *m, sluice_error *err)
{
    const char *text = m->reader->text;
    size_t length = m->reader->text_length;
    const char *space = memchr(text, ' ', length);
    size_t left = space ? (size_t)(space - text) : 0;
    if (!space || memchr(space + 1, ' ', length - left - 1)) {
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: merge %" PRIu32 " is not two tokens with a space between",
                           m->reader->name, m->batch.rank);
    }
    sluice_merge_batch_side(&m->batch, 0, text, left);
    sluice_merge_batch_side(&m->batch, 1, space + 1, length - left - 1);
    return sluice_merge_batch_next(&m->batch, err);
}

static sluice_status read_paired_merge(model_reader *m, sluice_error *err)
{
    sluice_json_reader *reader = m->reader;
    sluice_json_token token;
    for (int side = 0; side < 2; side++) {
        SLUICE_TRY(sluice_json_next(reader, &token, err));
        if (token != SLUICE_JSON_STRING) return wrong(m, "a side of a merge", token, err);
        sluice_merge_batch_side(&m->batch, side, reader->text, reader->text_length);
    }
    SLUICE_TRY(sluice_json_next(reader, &token, err));
    if (token != SLUICE_JSON_ARRAY_END) return wrong(m, "a third side of a merge", token, err);
    return sluice_merge_batch_next(&m->batch, err);
}

static sluice_status read_merges(model_reader *m, sluice_json_token token, sluice_error *err)
{
    if (token != SLUICE_JSON_ARRAY) return wrong(m, "model.merges", token, err);
    sluice_bpe_reserve(m->batch.bpe, (size_t)m->batch.vocab->count);
    for (;;) {
        SLUICE_TRY(sluice_json_next(m->reader, &token, err));
        if (token == SLUICE_JSON_ARRAY_END) return sluice_merge_batch_flush(&m->batch, err);
        if (token == SLUICE_JSON_STRING) {
            SLUICE_TRY(read_spaced_merge(m, err));
        } else if (token == SLUICE_JSON_ARRAY) {
            SLUICE_TRY(read_paired_merge(m, err));
        } else {
            return wrong(m, "a merge", token, err);
        }
    }
}

/* Merges name tokens, so they wait for a vocabulary that stands behind them. */
static sluice_status meet_merges(model_reader *m, sluice_json_token token, sluice_error *err)
{
    if (m->has_merges) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: two lists of merges", m->reader->name);
    }
    m->has_merges = true;
    if (m->has_vocab) return read_merges(m, token, err);
    if (token != SLUICE_JSON_ARRAY) return wrong(m, "model.merges", token, err);
    m->merges_wait = true;
    m->merges = *m->reader;
    m->merges.decoded = (sluice_text_buffer){0};
    return sluice_json_skip(m->reader, token, err);
}

static sluice_status read_waiting_merges(model_reader *m, sluice_error *err)
{
    sluice_json_reader *reader = m->reader;
    m->reader = &m->merges;
    sluice_status status = read_merges(m, SLUICE_JSON_ARRAY, err);
    sluice_json_reader_free(&m->merges);
    m->reader = reader;
    return status;
}

/* An option that must be off; off is null, false, 0 or an empty string. */
static sluice_status require_off(const model_reader *m, const char *option, sluice_json_token token,
                                 sluice_error *err)
{
    const sluice_json_reader *reader = m->reader;
    if (token == SLUICE_JSON_NULL || token == SLUICE_JSON_FALSE) return SLUICE_OK;
    if (token == SLUICE_JSON_STRING && !reader->text_length) return SLUICE_OK;
    if (token == SLUICE_JSON_NUMBER &&
        (sluice_json_text_is(reader, "0") || sluice_json_text_is(reader, "0.0"))) {
        return SLUICE_OK;
    }
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: the BPE option %s is set, which is not "
                       "supported",
                       reader->name, option);
}

static sluice_status read_member(model_reader *m, sluice_error *err)
{
    static const char *const off[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                      "end_of_word_suffix", "byte_fallback"};
    sluice_json_reader *reader = m->reader;
    sluice_json_token token;
    const char *option = NULL;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        if (sluice_json_text_is(reader, off[i])) option = off[i];
    }
    bool is_type = sluice_json_text_is(reader, "type");
    bool is_vocab = sluice_json_text_is(reader, "vocab");
    bool is_merges = sluice_json_text_is(reader, "merges");
    bool is_ignore = sluice_json_text_is(reader, "ignore_merges");
    SLUICE_TRY(sluice_json_next(reader, &token, err));
    if (option) {
        SLUICE_TRY(require_off(m, option, token, err));
    } else if (is_type) {
        if (token != SLUICE_JSON_STRING) return wrong(m, "model.type", token, err);
        if (sluice_json_text_is(reader, "BPE")) return SLUICE_OK;
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: the model is %.*s, not BPE", reader->name,
                           (int)(reader->text_length > 40 ? 40 : reader->text_length),
                           reader->text);
    } else if (is_vocab) {
        return read_vocab(m, token, err);
    } else if (is_merges) {
        return meet_merges(m, token, err);
    } else if (is_ignore) {
        if (token != SLUICE_JSON_TRUE && token != SLUICE_JSON_FALSE) {
            return wrong(m, "model.ignore_merges", token, err);
        }
        m->tokenizer->bpe.ignore_merges = token == SLUICE_JSON_TRUE;
    }
    return sluice_json_skip(reader, token, err);
}

static sluice_status read_members(model_reader *m, sluice_error *err)
{
    for (;;) {
        sluice_json_token token;
        SLUICE_TRY(sluice_json_next(m->reader, &token, err));
        if (token == SLUICE_JSON_OBJECT_END) break;
        SLUICE_TRY(read_member(m, err));
    }
    if (!m->has_vocab || !m->has_merges) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: the model has no %s", m->reader->name,
                           m->has_vocab ? "merges" : "vocab");
    }
    return m->merges_wait ? read_waiting_merges(m, err) : SLUICE_OK;
}

sluice_status sluice_tokenizer_read_model(sluice_tokenizer *tokenizer, sluice_json_reader *reader,
                                          sluice_json_token first, sluice_error *err)
{
    model_reader m = {
        .tokenizer = tokenizer,
        .reader = reader,
        .batch = {.name = reader->name, .vocab = &tokenizer->vocab, .bpe = &tokenizer->bpe}};
    if (first != SLUICE_JSON_OBJECT) return wrong(&m, "the model", first, err);
    sluice_status status = read_members(&m, err);
    sluice_merge_batch_free(&m.batch);
    if (status == SLUICE_OK) sluice_bpe_init(&tokenizer->bpe, &tokenizer->vocab);
    return status;
}
