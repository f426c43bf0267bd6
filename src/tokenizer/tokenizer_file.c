/* A tokenizer.json as a whole: its members, and the parts around the model. What the reference
 * could do and this cannot is refused with its name, never skipped: a tokenizer that is nearly
 * right is wrong. */
#include "tokenizer/tokenizer_file.h"

#include <stdlib.h>

#include "tokenizer/normalize.h"

/* The pattern that a ByteLevel pre-tokenizer cuts by itself (GPT-2's). */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bool is_nothing(const sluice_json_value *value)
{
    return !value || value->kind == SLUICE_JSON_IS_NULL;
}

/* The sentence for a part of a kind that is not supported. */
static sluice_status refuse_type(const char *name, const char *part, const sluice_json_value *value,
                                 sluice_error *err)
{
    const sluice_json_value *type = sluice_json_get(value, "type");
    if (!sluice_json_is(type, SLUICE_JSON_IS_STRING)) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: a %s has no type", name, part);
    }
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: the %s %.60s is not supported", name, part,
                       type->text);
}

static bool has_type(const sluice_json_value *value, const char *type)
{
    return sluice_json_is_string(sluice_json_get(value, "type"), type);
}

typedef sluice_status (*part_fn)(sluice_tokenizer *tokenizer, const char *name,
                                 const sluice_json_value *value, sluice_error *err);

/* Calls fn for the part, or for each of a Sequence (whose members are called by list). */
static sluice_status each_part(sluice_tokenizer *tokenizer, const char *name, const char *part,
                               const char *list, const sluice_json_value *value, part_fn fn,
                               sluice_error *err)
{
    if (is_nothing(value)) return SLUICE_OK;
    if (!has_type(value, "Sequence")) return fn(tokenizer, name, value, err);
    const sluice_json_value *members = sluice_json_get(value, list);
    if (!sluice_json_is(members, SLUICE_JSON_IS_ARRAY)) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: a Sequence %s has no %s", name, part, list);
    }
    for (const sluice_json_value *at = members->first; at; at = at->next) {
        SLUICE_TRY(fn(tokenizer, name, at, err));
    }
    return SLUICE_OK;
}

static sluice_status read_normalizer(sluice_tokenizer *tokenizer, const char *name,
                                     const sluice_json_value *value, sluice_error *err)
{
    if (!has_type(value, "NFC")) return refuse_type(name, "normalizer", value, err);
    tokenizer->nfc = true;
    return SLUICE_OK;
}

static sluice_status add_split(sluice_tokenizer *tokenizer, const char *name, const char *pattern,
                               size_t length, bool literal, sluice_error *err)
{
    if (tokenizer->split_count == SLUICE_SPLITS_MAX) {
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: more than %d Split pre-tokenizers", name,
                           SLUICE_SPLITS_MAX);
    }
    sluice_split **split = &tokenizer->splits[tokenizer->split_count];
    SLUICE_TRY(sluice_split_new(name, pattern, length, literal, split, err));
    tokenizer->split_count++;
    return SLUICE_OK;
}

static sluice_status read_split(sluice_tokenizer *tokenizer, const char *name,
                                const sluice_json_value *value, sluice_error *err)
{
    /* Whether a piece is a match makes no difference to Isolated, so invert makes none. */
    const sluice_json_value *behavior = sluice_json_get(value, "behavior");
    if (!sluice_json_is_string(behavior, "Isolated")) {
        bool named = sluice_json_is(behavior, SLUICE_JSON_IS_STRING);
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: the behavior %.60s of a Split pre-tokenizer is not supported", name,
                           named ? behavior->text : "(none)");
    }
    const sluice_json_value *pattern = sluice_json_get(value, "pattern");
    const sluice_json_value *regex = sluice_json_get(pattern, "Regex");
    const sluice_json_value *string = sluice_json_get(pattern, "String");
    const sluice_json_value *found = regex ? regex : string;
    if (!sluice_json_is(found, SLUICE_JSON_IS_STRING)) {
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: the pattern of a Split pre-tokenizer is neither Regex nor String",
                           name);
    }
    return add_split(tokenizer, name, found->text, found->length, found != regex, err);
}

/* Mapping bytes to characters needs no work here, since tokens are kept as bytes. */
static sluice_status read_pre_tokenizer(sluice_tokenizer *tokenizer, const char *name,
                                        const sluice_json_value *value, sluice_error *err)
{
    if (has_type(value, "Split")) return read_split(tokenizer, name, value, err);
    if (!has_type(value, "ByteLevel")) return refuse_type(name, "pre_tokenizer", value, err);
    if (sluice_json_is_truthy(sluice_json_get(value, "add_prefix_space"))) {
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: the option add_prefix_space of the ByteLevel pre-tokenizer is not "
                           "supported",
                           name);
    }
    const sluice_json_value *use_regex = sluice_json_get(value, "use_regex");
    if (use_regex && use_regex->kind == SLUICE_JSON_IS_FALSE) return SLUICE_OK;
    return add_split(tokenizer, name, byte_level_pattern, sizeof byte_level_pattern - 1, false,
                     err);
}

static sluice_status read_decoder(sluice_tokenizer *tokenizer, const char *name,
                                  const sluice_json_value *value, sluice_error *err)
{
    (void)tokenizer;
    if (has_type(value, "ByteLevel")) return SLUICE_OK;
    return refuse_type(name, "decoder", value, err);
}

/* A ByteLevel post-processor moves offsets only; any other adds tokens to a text. */
static sluice_status read_post_processor(sluice_tokenizer *tokenizer, const char *name,
                                         const sluice_json_value *value, sluice_error *err)
{
    (void)tokenizer;
    if (has_type(value, "ByteLevel")) return SLUICE_OK;
    return refuse_type(name, "post_processor", value, err);
}

/* The added token's place among the tokens: it may stand in the vocabulary already, under its id.
 */
static sluice_status join_vocab(sluice_tokenizer *tokenizer, const char *name,
                                const sluice_added_token *token, sluice_error *err)
{
    sluice_text_buffer spelled = {0};
    bool literal = sluice_vocab_spell(token->content, token->length, &spelled);
    if (spelled.failed) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", name);
    int32_t known = sluice_vocab_find(&tokenizer->vocab, spelled.bytes, spelled.length, literal);
    sluice_text_buffer_free(&spelled);
    if (known == token->id) return SLUICE_OK;
    return sluice_vocab_add(&tokenizer->vocab, name, token->content, token->length, token->id, err);
}

static sluice_status read_added_token(sluice_tokenizer *tokenizer, const char *name,
                                      const sluice_json_value *value, sluice_error *err)
{
    const sluice_json_value *content = sluice_json_get(value, "content");
    const sluice_json_value *id = sluice_json_get(value, "id");
    if (!sluice_json_is(content, SLUICE_JSON_IS_STRING) || !content->length ||
        !sluice_json_is(id, SLUICE_JSON_IS_NUMBER)) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: added token %zu has no content or no id", name,
                           tokenizer->added_count);
    }
    long long number = 0;
    for (size_t i = 0; i < id->length && number >= 0 && number < SLUICE_VOCAB_MAX; i++) {
        bool digit = id->text[i] >= '0' && id->text[i] <= '9';
        number = digit ? number * 10 + (id->text[i] - '0') : -1;
    }
    if (number < 0 || number >= SLUICE_VOCAB_MAX) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: added token \"%.60s\" has the id %.20s", name,
                           content->text, id->text);
    }
    sluice_added_token *token = &tokenizer->added[tokenizer->added_count];
    *token = (sluice_added_token){
        .length = content->length,
        .id = (int32_t)number,
        .special = sluice_json_is_truthy(sluice_json_get(value, "special")),
        .normalized = sluice_json_is_truthy(sluice_json_get(value, "normalized")),
        .lstrip = sluice_json_is_truthy(sluice_json_get(value, "lstrip")),
        .rstrip = sluice_json_is_truthy(sluice_json_get(value, "rstrip")),
        .single_word = sluice_json_is_truthy(sluice_json_get(value, "single_word"))};
    token->content = malloc(content->length + 1);
    if (!token->content) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", name);
    memcpy(token->content, content->text, content->length + 1);
    tokenizer->added_count++;
    return join_vocab(tokenizer, name, token, err);
}

static int compare_ids(const void *left, const void *right)
{
    const sluice_added_token *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

static sluice_status fill_matchers(sluice_tokenizer *tokenizer, const char *name, sluice_error *err)
{
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const sluice_added_token *token = &tokenizer->added[i];
        sluice_text_buffer content = {0};
        if (token->normalized && tokenizer->nfc) {
            SLUICE_TRY(sluice_nfc_append(token->content, token->length, &content, err));
        } else {
            sluice_text_buffer_append(&content, token->content, token->length);
        }
        sluice_matcher *own = token->normalized ? &tokenizer->normalized : &tokenizer->raw;
        bool added = !content.failed &&
                     sluice_matcher_add(own, content.bytes, content.length, token) &&
                     sluice_matcher_add(&tokenizer->all, token->content, token->length, token);
        sluice_text_buffer_free(&content);
        if (!added) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", name);
    }
    return SLUICE_OK;
}

static sluice_status read_added_tokens(sluice_tokenizer *tokenizer, const char *name,
                                       const sluice_json_value *value, sluice_error *err)
{
    if (is_nothing(value)) return SLUICE_OK;
    if (value->kind != SLUICE_JSON_IS_ARRAY) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: added_tokens is no array", name);
    }
    tokenizer->added = calloc(value->count + 1, sizeof *tokenizer->added);
    if (!tokenizer->added) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", name);
    for (const sluice_json_value *at = value->first; at; at = at->next) {
        SLUICE_TRY(read_added_token(tokenizer, name, at, err));
    }
    qsort(tokenizer->added, tokenizer->added_count, sizeof *tokenizer->added, compare_ids);
    for (size_t i = 1; i < tokenizer->added_count; i++) {
        if (tokenizer->added[i - 1].id == tokenizer->added[i].id) {
            return sluice_fail(err, SLUICE_CORRUPT, "%s: two added tokens have the id %d", name,
                               (int)tokenizer->added[i].id);
        }
    }
    return fill_matchers(tokenizer, name, err);
}

sluice_status sluice_tokenizer_read_parts(sluice_tokenizer *tokenizer, const char *name,
                                          const sluice_tokenizer_parts *parts, sluice_error *err)
{
    if (is_nothing(parts->decoder.root)) {
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: no decoder; ByteLevel is needed", name);
    }
    if (is_nothing(parts->pre_tokenizer.root)) {
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: no pre_tokenizer; ByteLevel is needed",
                           name);
    }
    SLUICE_TRY(each_part(tokenizer, name, "normalizer", "normalizers", parts->normalizer.root,
                         read_normalizer, err));
    SLUICE_TRY(each_part(tokenizer, name, "pre_tokenizer", "pretokenizers",
                         parts->pre_tokenizer.root, read_pre_tokenizer, err));
    SLUICE_TRY(
        each_part(tokenizer, name, "decoder", "decoders", parts->decoder.root, read_decoder, err));
    SLUICE_TRY(each_part(tokenizer, name, "post_processor", "processors",
                         parts->post_processor.root, read_post_processor, err));
    return read_added_tokens(tokenizer, name, parts->added_tokens.root, err);
}

/* Where a member of the file belongs; NULL for one that is not kept. */
static sluice_json_document *find_part(sluice_tokenizer_parts *parts,
                                       const sluice_json_reader *reader)
{
    if (sluice_json_text_is(reader, "added_tokens")) return &parts->added_tokens;
    if (sluice_json_text_is(reader, "normalizer")) return &parts->normalizer;
    if (sluice_json_text_is(reader, "pre_tokenizer")) return &parts->pre_tokenizer;
    if (sluice_json_text_is(reader, "decoder")) return &parts->decoder;
    if (sluice_json_text_is(reader, "post_processor")) return &parts->post_processor;
    return NULL;
}

static sluice_status read_members(sluice_tokenizer *tokenizer, sluice_json_reader *reader,
                                  sluice_tokenizer_parts *parts, sluice_error *err)
{
    bool has_model = false;
    sluice_json_token token;
    SLUICE_TRY(sluice_json_next(reader, &token, err));
    if (token != SLUICE_JSON_OBJECT) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: the file is %s, not an object", reader->name,
                           sluice_json_token_name(token));
    }
    for (;;) {
        SLUICE_TRY(sluice_json_next(reader, &token, err));
        if (token == SLUICE_JSON_OBJECT_END) break;
        sluice_json_document *part = find_part(parts, reader);
        bool is_model = sluice_json_text_is(reader, "model");
        bool is_cut = sluice_json_text_is(reader, "truncation");
        SLUICE_TRY(sluice_json_next(reader, &token, err));
        if ((is_model && has_model) || (part && part->root)) {
            return sluice_fail(err, SLUICE_CORRUPT, "%s: a member stands twice before byte %zu",
                               reader->name, reader->at);
        }
        if (is_model) {
            has_model = true;
            SLUICE_TRY(sluice_tokenizer_read_model(tokenizer, reader, token, err));
        } else if (part) {
            SLUICE_TRY(sluice_json_read_value(reader, token, part, err));
        } else if (is_cut && token != SLUICE_JSON_NULL) {
            return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: truncation is not supported",
                               reader->name);
        } else {
            SLUICE_TRY(sluice_json_skip(reader, token, err));
        }
    }
    SLUICE_TRY(sluice_json_next(reader, &token, err));
    if (!has_model) return sluice_fail(err, SLUICE_CORRUPT, "%s: it has no model", reader->name);
    return sluice_tokenizer_read_parts(tokenizer, reader->name, parts, err);
}

sluice_status sluice_tokenizer_read(sluice_tokenizer *tokenizer, const char *name, const char *json,
                                    size_t length, sluice_error *err)
{
    sluice_json_reader reader;
    SLUICE_TRY(sluice_json_reader_init(&reader, name, SLUICE_CORRUPT, json, length, err));
    sluice_tokenizer_parts parts = {0};
    sluice_status status = read_members(tokenizer, &reader, &parts, err);
    sluice_json_document_free(&parts.added_tokens);
    sluice_json_document_free(&parts.normalizer);
    sluice_json_document_free(&parts.pre_tokenizer);
    sluice_json_document_free(&parts.decoder);
    sluice_json_document_free(&parts.post_processor);
    sluice_json_reader_free(&reader);
    return status;
}
