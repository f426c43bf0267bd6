/* The model of a tokenizer.json: its vocabulary and merges, by far the largest part of the file. It
 * is read as a stream, without a tree, since 250,000 tokens must be ready in a fraction of a
 * second. */
#include <inttypes.h>

#include "tokenizer/tokenizer_file.h"

typedef struct model_reader {
    sluice_tokenizer *tokenizer;
    sluice_json_reader *reader;
    sluice_text_buffer left, right; /* the two sides of a merge, as bytes */
    int32_t guess; /* the token of the next merge: ids mostly follow the merges' order */
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
    /* A token and its merge take about 48 bytes of the file. */
    sluice_vocab_reserve(&m->tokenizer->vocab, (reader->length - reader->at) / 48);
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
    return status;
}

/* The token of a merge. A right guess saves a random access to the table, a fifth of the loading.
 */
static int32_t find_merged(model_reader *m, const char *bytes, size_t length)
{
    const sluice_vocab *vocab = &m->tokenizer->vocab;
    size_t guessed_length = 0;
    const char *guessed = sluice_vocab_token(vocab, m->guess, &guessed_length);
    bool right = guessed && guessed_length == length && !vocab->entries[m->guess].literal &&
                 memcmp(guessed, bytes, length) == 0;
    int32_t id = right ? m->guess : sluice_vocab_find(vocab, bytes, length, false);
    m->guess = id + 1;
    return id;
}

/* One merge of two tokens, given as bytes in m->left and m->right. */
static sluice_status add_merge(model_reader *m, bool left_literal, bool right_literal,
                               uint32_t rank, sluice_error *err)
{
    const sluice_vocab *vocab = &m->tokenizer->vocab;
    const char *name = m->reader->name;
    if (m->left.failed || m->right.failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the merges", name);
    }
    if (!m->left.length || !m->right.length) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: merge %" PRIu32 " has an empty side", name,
                           rank);
    }
    int32_t left = sluice_vocab_find(vocab, m->left.bytes, m->left.length, left_literal);
    int32_t right = sluice_vocab_find(vocab, m->right.bytes, m->right.length, right_literal);
    sluice_text_buffer_append(&m->left, m->right.bytes, m->right.length);
    if (m->left.failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the merges", name);
    }
    /* A literal token is never met in text, so merges of one never apply. */
    if (left >= 0 && right >= 0 && (left_literal || right_literal)) return SLUICE_OK;
    int32_t merged = find_merged(m, m->left.bytes, m->left.length);
    if (left < 0 || right < 0 || merged < 0) {
        int shown = m->left.length > 60 ? 60 : (int)m->left.length;
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: merge %" PRIu32 " (\"%.*s\") %s, which is not in the vocabulary",
                           name, rank, shown, m->left.bytes,
                           left < 0    ? "has a left side"
                           : right < 0 ? "has a right side"
                                       : "gives a token");
    }
    if (!sluice_bpe_add_merge(&m->tokenizer->bpe, left, right, rank, merged)) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the merges", name);
    }
    return SLUICE_OK;
}

/* "a b": the form of older files. Neither side can hold a space, which the alphabet spells U+0120.
 */
static sluice_status read_spaced_merge(model_reader *m, uint32_t rank, sluice_error *err)
{
    const char *text = m->reader->text;
    size_t length = m->reader->text_length;
    const char *space = memchr(text, ' ', length);
    size_t left = space ? (size_t)(space - text) : 0;
    if (!space || memchr(space + 1, ' ', length - left - 1)) {
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: merge %" PRIu32 " is not two tokens with a space between",
                           m->reader->name, rank);
    }
    m->left.length = m->right.length = 0;
    bool left_literal = sluice_vocab_spell(text, left, &m->left);
    bool right_literal = sluice_vocab_spell(space + 1, length - left - 1, &m->right);
    return add_merge(m, left_literal, right_literal, rank, err);
}

static sluice_status read_paired_merge(model_reader *m, uint32_t rank, sluice_error *err)
{
    sluice_json_reader *reader = m->reader;
    sluice_json_token token;
    bool literal[2];
    sluice_text_buffer *sides[2] = {&m->left, &m->right};
    for (int i = 0; i < 2; i++) {
        SLUICE_TRY(sluice_json_next(reader, &token, err));
        if (token != SLUICE_JSON_STRING) return wrong(m, "a side of a merge", token, err);
        sides[i]->length = 0;
        literal[i] = sluice_vocab_spell(reader->text, reader->text_length, sides[i]);
    }
    SLUICE_TRY(sluice_json_next(reader, &token, err));
    if (token != SLUICE_JSON_ARRAY_END) return wrong(m, "a third side of a merge", token, err);
    return add_merge(m, literal[0], literal[1], rank, err);
}

static sluice_status read_merges(model_reader *m, sluice_json_token token, sluice_error *err)
{
    if (token != SLUICE_JSON_ARRAY) return wrong(m, "model.merges", token, err);
    for (uint32_t rank = 0;; rank++) {
        SLUICE_TRY(sluice_json_next(m->reader, &token, err));
        if (token == SLUICE_JSON_ARRAY_END) return SLUICE_OK;
        if (token == SLUICE_JSON_STRING) {
            SLUICE_TRY(read_spaced_merge(m, rank, err));
        } else if (token == SLUICE_JSON_ARRAY) {
            SLUICE_TRY(read_paired_merge(m, rank, err));
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
    model_reader m = {.tokenizer = tokenizer, .reader = reader};
    if (first != SLUICE_JSON_OBJECT) return wrong(&m, "the model", first, err);
    sluice_status status = read_members(&m, err);
    sluice_text_buffer_free(&m.left);
    sluice_text_buffer_free(&m.right);
    if (status == SLUICE_OK) sluice_bpe_init(&tokenizer->bpe, &tokenizer->vocab);
    return status;
}
