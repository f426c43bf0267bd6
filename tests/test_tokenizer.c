/* The tokenizer: exact on every recorded text, honest about files it cannot read, safe with hostile
 * ones. */
#include "text_cases.h"

#include "sluice/text.h"

static sluice_tokenizer *open_file(const char *path)
{
    sluice_tokenizer *tokenizer;
    sluice_error err;
    if (sluice_tokenizer_open(path, &tokenizer, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return tokenizer;
}

static void assert_ids(const sluice_ids *got, const json_t *want, const char *what)
{
    if (got->count != json_array_size(want)) {
        fail_msg("%s: %zu ids, not %zu", what, got->count, json_array_size(want));
    }
    for (size_t i = 0; i < got->count; i++) {
        int id = (int)json_number_value(json_array_get(want, i));
        if (got->ids[i] != id) fail_msg("%s: id %zu is %d, not %d", what, i, got->ids[i], id);
    }
}

static const sluice_tokenizer *nano;
static size_t cases_with_special;

/* The stream of pieces is the whole text, and each piece is UTF-8 by itself. */
static void check_stream(const sluice_ids *ids, const char *want, size_t want_length,
                         const char *what)
{
    sluice_detokenizer *stream;
    const char *piece;
    size_t length, joined_length = 0;
    char *joined = malloc(want_length + 64);
    assert_int_equal(sluice_detokenizer_new(nano, false, &stream, NULL), SLUICE_OK);
    for (size_t i = 0; i <= ids->count; i++) {
        if (i < ids->count) {
            assert_int_equal(sluice_detokenizer_push(stream, ids->ids[i], &piece, &length, NULL),
                             SLUICE_OK);
        } else {
            sluice_detokenizer_finish(stream, &piece, &length);
        }
        assert_true(joined_length + length <= want_length);
        memcpy(joined + joined_length, piece, length);
        joined_length += length;
        json_t *valid = json_stringn(piece, length);
        assert_non_null(valid);
        json_decref(valid);
    }
    text_assert_equal(joined, joined_length, want, want_length, what);
    sluice_detokenizer_free(stream);
    free(joined);
}

static void check_case(size_t index, const char *line, size_t length)
{
    (void)length;
    char what[32];
    snprintf(what, sizeof what, "case %zu", index);
    json_t *value = text_parse(line), *text = json_object_get(value, "text");
    json_t *decoded = json_object_get(value, "decoded");
    json_t *plain = json_object_get(value, "ids"), *special = json_object_get(value, "ids_special");
    cases_with_special += !json_equal(plain, special);
    for (int everywhere = 0; everywhere < 2; everywhere++) {
        sluice_ids ids;
        assert_int_equal(
            sluice_tokenizer_encode(nano, json_string_value(text), json_string_length(text),
                                    everywhere ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER,
                                    &ids, NULL),
            SLUICE_OK);
        assert_ids(&ids, everywhere ? special : plain, what);
        sluice_ids trusted;
        sluice_span whole = {0, json_string_length(text)};
        assert_int_equal(sluice_tokenizer_encode_trusted(nano, json_string_value(text), whole.end,
                                                         &whole, (size_t)everywhere, &trusted,
                                                         NULL),
                         SLUICE_OK);
        assert_ids(&trusted, everywhere ? special : plain, what);
        sluice_ids_free(&trusted);
        if (everywhere) {
            sluice_text out;
            assert_int_equal(sluice_tokenizer_decode(nano, ids.ids, ids.count, false, &out, NULL),
                             SLUICE_OK);
            text_assert_equal(out.bytes, out.length, json_string_value(decoded),
                              json_string_length(decoded), what);
            check_stream(&ids, out.bytes, out.length, what);
            sluice_text_free(&out);
        }
        sluice_ids_free(&ids);
    }
    json_decref(value);
}

static void test_every_recorded_text_encodes_and_decodes_exactly(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_file(TEXT_NANO);
    nano = tokenizer;
    cases_with_special = 0;
    assert_int_equal(text_each_line(TEXT_TOKENIZER_CASES, check_case), 300);
    assert_true(cases_with_special > 0);
    sluice_tokenizer_close(tokenizer);
}

/* The tiny tokenizer (bytes only) as JSON to change. */
static json_t *tiny(void)
{
    size_t length;
    char *bytes = text_read_file(TEXT_TINY, &length);
    json_t *file = json_loads(bytes, 0, NULL);
    assert_non_null(file);
    free(bytes);
    return file;
}

static sluice_status open_json(json_t *file, sluice_tokenizer **tokenizer, sluice_error *err)
{
    char *json = json_dumps(file, 0);
    sluice_status status =
        sluice_tokenizer_open_bytes("test.json", json, strlen(json), tokenizer, err);
    free(json);
    json_decref(file);
    return status;
}

static sluice_tokenizer *open_changed(json_t *file)
{
    sluice_tokenizer *tokenizer;
    sluice_error err;
    if (open_json(file, &tokenizer, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return tokenizer;
}

static void set(json_t *file, const char *member, const char *json)
{
    json_object_set_new(file, member, json_loads(json, JSON_DECODE_ANY, NULL));
}

static void set_model(json_t *file, const char *member, const char *json)
{
    set(json_object_get(file, "model"), member, json);
}

static void add_vocab(json_t *file, const char *token, int id)
{
    json_object_set_new(json_object_get(json_object_get(file, "model"), "vocab"), token,
                        json_integer(id));
}

static void assert_encodes(const sluice_tokenizer *tokenizer, const char *text, const char *want)
{
    sluice_ids ids;
    json_t *list = text_parse(want);
    assert_int_equal(sluice_tokenizer_encode(tokenizer, text, strlen(text),
                                             SLUICE_SPECIAL_EVERYWHERE, &ids, NULL),
                     SLUICE_OK);
    assert_ids(&ids, list, text);
    sluice_ids_free(&ids);
    json_decref(list);
}

/* Adds ab, bc, abc with merges of both forms. In the tiny vocabulary "a" is 64 and so on. */
static json_t *with_merges(const char *merges)
{
    json_t *file = tiny();
    add_vocab(file, "ab", 263);
    add_vocab(file, "bc", 264);
    add_vocab(file, "abc", 265);
    set_model(file, "merges", merges);
    return file;
}

static void test_the_lowest_rank_merges_first_in_both_spellings(void **state)
{
    (void)state;
    static const char *const first_ab[] = {"[[\"a\",\"b\"],[\"b\",\"c\"],[\"ab\",\"c\"]]",
                                           "[\"a b\",\"b c\",\"ab c\"]"};
    for (size_t i = 0; i < 2; i++) {
        sluice_tokenizer *tokenizer = open_changed(with_merges(first_ab[i]));
        assert_encodes(tokenizer, "abc", "[265]");
        assert_encodes(tokenizer, "bcab", "[264,263]");
        sluice_tokenizer_close(tokenizer);
    }
    sluice_tokenizer *tokenizer = open_changed(with_merges("[\"b c\",\"a b\",\"ab c\"]"));
    assert_encodes(tokenizer, "abc", "[64,264]");
    sluice_tokenizer_close(tokenizer);
}

static void test_ignore_merges_takes_a_whole_piece_that_is_a_token(void **state)
{
    (void)state;
    json_t *file = with_merges("[\"b c\",\"a b\"]");
    set_model(file, "ignore_merges", "true");
    sluice_tokenizer *tokenizer = open_changed(file);
    assert_encodes(tokenizer, "abc", "[265]");
    assert_encodes(tokenizer, "abca", "[64,264,64]");
    sluice_tokenizer_close(tokenizer);
}

static void test_merges_may_stand_before_the_vocabulary(void **state)
{
    (void)state;
    json_t *file = with_merges("[\"a b\",\"ab c\"]"), *model = json_object_get(file, "model");
    json_t *turned = json_object();
    json_object_set(turned, "merges", json_object_get(model, "merges"));
    json_object_set(turned, "vocab", json_object_get(model, "vocab"));
    json_object_set(file, "model", turned);
    json_decref(turned);
    sluice_tokenizer *tokenizer = open_changed(file);
    assert_encodes(tokenizer, "abc", "[265]");
    sluice_tokenizer_close(tokenizer);
}

/* The heap and the linear search agree: a long piece and the same piece among short ones. */
static void test_long_words_merge_as_short_ones_do(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_changed(with_merges("[\"a b\",\"b c\",\"ab c\"]"));
    size_t words = 200000;
    char *text = malloc(words * 4 + 1);
    for (size_t i = 0; i < words; i++)
        memcpy(text + i * 4, "abcb", 4);
    sluice_ids ids;
    assert_int_equal(
        sluice_tokenizer_encode(tokenizer, text, words * 4, SLUICE_SPECIAL_NEVER, &ids, NULL),
        SLUICE_OK);
    assert_int_equal(ids.count, words * 2);
    for (size_t i = 0; i < ids.count; i++)
        assert_int_equal(ids.ids[i], i % 2 ? 65 : 265);
    sluice_ids_free(&ids);
    free(text);
    sluice_tokenizer_close(tokenizer);
}

static void test_of_equal_ranks_the_leftmost_merges(void **state)
{
    (void)state;
    json_t *file = tiny();
    add_vocab(file, "aa", 263);
    set_model(file, "merges", "[\"a a\"]");
    sluice_tokenizer *tokenizer = open_changed(file);
    assert_encodes(tokenizer, "aaa", "[263,64]");
    char text[1001];
    memset(text, 'a', sizeof text);
    sluice_ids ids;
    assert_int_equal(
        sluice_tokenizer_encode(tokenizer, text, sizeof text, SLUICE_SPECIAL_NEVER, &ids, NULL),
        SLUICE_OK);
    assert_int_equal(ids.count, 501);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(ids.ids[i], 263);
    assert_int_equal(ids.ids[500], 64);
    sluice_ids_free(&ids);
    sluice_tokenizer_close(tokenizer);
}

static json_t *with_added(const char *flags)
{
    char added[512];
    snprintf(added, sizeof added,
             "[{\"id\":300,\"content\":\"<x>\",%s},"
             "{\"id\":301,\"content\":\"<x><y>\",\"special\":true}]",
             flags);
    json_t *file = tiny();
    set(file, "added_tokens", added);
    return file;
}

static void test_added_tokens_honour_their_flags(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_changed(with_added("\"special\":false"));
    assert_encodes(tokenizer, "a<x>", "[64,300]");
    assert_encodes(tokenizer, "<x><y>", "[301]"); /* the longest counts */
    assert_encodes(tokenizer, "<x><x>", "[300,300]");
    assert_int_equal(sluice_tokenizer_find(tokenizer, "<x>"), 300);
    assert_int_equal(sluice_tokenizer_find(tokenizer, "<z>"), -1);
    assert_false(sluice_tokenizer_is_special(tokenizer, 300));
    assert_true(sluice_tokenizer_is_special(tokenizer, 301));
    assert_int_equal(sluice_tokenizer_vocab(tokenizer), 302);
    sluice_tokenizer_close(tokenizer);

    tokenizer = open_changed(with_added("\"lstrip\":true,\"rstrip\":true"));
    assert_encodes(tokenizer, "a \xC2\xA0<x>\n\t b", "[64,300,65]");
    assert_encodes(tokenizer, "<x>  <x>", "[300,300]");
    sluice_tokenizer_close(tokenizer);

    tokenizer = open_changed(with_added("\"single_word\":true"));
    assert_encodes(tokenizer, " <x>.", "[220,300,13]");
    assert_encodes(tokenizer, "a<x>", "[64,27,87,29]");
    assert_encodes(tokenizer, "<x>_", "[27,87,29,62]");
    sluice_tokenizer_close(tokenizer);
}

static void test_normalized_tokens_are_found_behind_the_normaliser(void **state)
{
    (void)state;
    static const char added[] = "[{\"id\":300,\"content\":\"e\\u0301\",\"normalized\":%s}]";
    char json[96];
    for (int normalized = 0; normalized < 2; normalized++) {
        snprintf(json, sizeof json, added, normalized ? "true" : "false");
        json_t *file = tiny();
        set(file, "added_tokens", json);
        sluice_tokenizer *tokenizer = open_changed(file);
        /* Composed and not: the bytes of U+00E9 are C3 A9, tokens 127 and 102. */
        assert_encodes(tokenizer, "\xC3\xA9", normalized ? "[300]" : "[127,102]");
        assert_encodes(tokenizer, "e\xCC\x81", "[300]");
        sluice_tokenizer_close(tokenizer);
    }
}

static void test_untrusted_text_never_becomes_an_added_token(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_file(TEXT_NANO);
    static const char text[] = "<|im_start|><|im_start|><|im_end|><|im_start|>";
    sluice_span trusted[] = {{0, 12}, {14, 34}}; /* the second span cuts a token's head off */
    int32_t start = sluice_tokenizer_find(tokenizer, "<|im_start|>");
    int32_t end = sluice_tokenizer_find(tokenizer, "<|im_end|>");
    sluice_ids ids;
    assert_int_equal(
        sluice_tokenizer_encode_trusted(tokenizer, text, strlen(text), trusted, 2, &ids, NULL),
        SLUICE_OK);
    assert_int_equal(ids.ids[0], start);
    int starts = 0, ends = 0;
    for (size_t i = 0; i < ids.count; i++) {
        starts += ids.ids[i] == start;
        ends += ids.ids[i] == end;
    }
    assert_int_equal(starts, 1);
    assert_int_equal(ends, 1);
    sluice_text back;
    assert_int_equal(sluice_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, NULL),
                     SLUICE_OK);
    assert_string_equal(back.bytes, text);
    sluice_text_free(&back);
    sluice_ids_free(&ids);
    sluice_span wrong[] = {{5, 9}, {8, 12}};
    assert_int_equal(
        sluice_tokenizer_encode_trusted(tokenizer, text, strlen(text), wrong, 2, &ids, NULL),
        SLUICE_USAGE);
    sluice_tokenizer_close(tokenizer);
}

static void test_text_that_is_not_utf8_names_its_byte(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_file(TEXT_TINY);
    static const struct {
        const char *text;
        const char *where;
    } cases[] = {{"ok \xFF", "byte 3 (0xff)"},
                 {"\xC0\x80", "byte 0 (0xc0)"},
                 {"abcdefgh\xE2\x82", "byte 8 (0xe2)"},
                 {"\xED\xA0\x80", "byte 0 (0xed)"},
                 {"x\xF4\x90\x80\x80", "byte 1 (0xf4)"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_ids ids;
        sluice_error err;
        assert_int_equal(sluice_tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text),
                                                 SLUICE_SPECIAL_NEVER, &ids, &err),
                         SLUICE_BAD_INPUT);
        assert_null(ids.ids);
        assert_non_null(strstr(err.detail, cases[i].where));
    }
    sluice_tokenizer_close(tokenizer);
}

static void test_broken_characters_decode_to_replacements(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_file(TEXT_TINY);
    /* F0 9F 8E alone is one ill-formed part, FF another, and E2 82 at the end a third. */
    static const unsigned char bytes[] = {'a', 0xF0, 0x9F, 0x8E, 'b', 0xFF, 0xE2, 0x82};
    int32_t ids[sizeof bytes + 2];
    size_t count = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        for (int32_t id = 0; id < 256; id++) {
            size_t length;
            const char *token = sluice_tokenizer_token(tokenizer, id, &length);
            if (length == 1 && (unsigned char)*token == bytes[i]) ids[count++] = id;
        }
    }
    assert_int_equal(count, sizeof bytes);
    static const char want[] = "a\xEF\xBF\xBD"
                               "b\xEF\xBF\xBD\xEF\xBF\xBD";
    sluice_text text;
    assert_int_equal(sluice_tokenizer_decode(tokenizer, ids, count, false, &text, NULL), SLUICE_OK);
    assert_string_equal(text.bytes, want);
    sluice_text_free(&text);
    sluice_ids list = {ids, count};
    nano = tokenizer;
    check_stream(&list, want, sizeof want - 1, "broken characters");
    /* Ids of no token add nothing; special ones are left out on demand. */
    int32_t strange[] = {-1, 64, 999999, sluice_tokenizer_find(tokenizer, "<|im_end|>"), INT32_MAX};
    assert_int_equal(sluice_tokenizer_decode(tokenizer, strange, 5, true, &text, NULL), SLUICE_OK);
    assert_string_equal(text.bytes, "a");
    sluice_text_free(&text);
    sluice_tokenizer_close(tokenizer);
}

/* 1 MB each; quadratic work on any of these would take minutes. */
static void test_long_hostile_texts_take_linear_time(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer = open_file(TEXT_NANO);
    static const char *const units[] = {
        "a", "abcdefghij", " ", "\n ", "\xCC\x81\xCC\xA3", "<|im_end", "'s", "\xE4\xB8\xAD", "!?"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t unit = strlen(units[i]), count = 1000000 / unit;
        char *text = malloc(unit * count);
        for (size_t j = 0; j < count; j++)
            memcpy(text + j * unit, units[i], unit);
        sluice_ids ids;
        assert_int_equal(sluice_tokenizer_encode(tokenizer, text, unit * count,
                                                 SLUICE_SPECIAL_EVERYWHERE, &ids, NULL),
                         SLUICE_OK);
        sluice_text back;
        assert_int_equal(sluice_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, NULL),
                         SLUICE_OK);
        /* Only the marks change under NFC, and not in length. */
        assert_int_equal(back.length, unit * count);
        sluice_text_free(&back);
        sluice_ids_free(&ids);
        free(text);
    }
    sluice_tokenizer_close(tokenizer);
}

static void assert_refused(json_t *file, sluice_status status, const char *word)
{
    sluice_tokenizer *tokenizer;
    sluice_error err = {0};
    sluice_status got = open_json(file, &tokenizer, &err);
    if (got != status || !strstr(err.detail, word)) {
        fail_msg("%s: \"%s\", not %s with \"%s\"", sluice_status_name(got), err.detail,
                 sluice_status_name(status), word);
    }
    assert_null(tokenizer);
    assert_non_null(strstr(err.detail, "test.json"));
}

static void test_what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"normalizer", "{\"type\":\"NFKC\"}", "NFKC"},
        {"normalizer",
         "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Lowercase\"}]}",
         "Lowercase"},
        {"pre_tokenizer", "{\"type\":\"Metaspace\"}", "Metaspace"},
        {"pre_tokenizer", "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "add_prefix_space"},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\"}", "Removed"},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}", "pattern"},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bx\"},\"behavior\":\"Isolated\"}",
         "escape"},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}",
         "intersection"},
        {"pre_tokenizer", "null", "pre_tokenizer"},
        {"decoder", "{\"type\":\"WordPiece\"}", "WordPiece"},
        {"decoder", "null", "decoder"},
        {"post_processor", "{\"type\":\"TemplateProcessing\"}", "TemplateProcessing"},
        {"truncation", "{\"max_length\":5}", "truncation"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *file = tiny();
        set(file, cases[i][0], cases[i][1]);
        assert_refused(file, SLUICE_UNSUPPORTED, cases[i][2]);
    }
    static const char *const options[][3] = {{"type", "\"Unigram\"", "Unigram"},
                                             {"dropout", "0.1", "dropout"},
                                             {"unk_token", "\"<unk>\"", "unk_token"},
                                             {"byte_fallback", "true", "byte_fallback"},
                                             {"end_of_word_suffix", "\"</w>\"", "end_of_word"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        json_t *file = tiny();
        set_model(file, options[i][0], options[i][1]);
        assert_refused(file, SLUICE_UNSUPPORTED, options[i][2]);
    }
}

static void test_files_that_contradict_themselves_are_corrupt(void **state)
{
    (void)state;
    static const char *const models[][3] = {
        {"merges", "[[\"a\",\"b\"]]", "which is not in the vocabulary"},
        {"merges", "[[\"nope\",\"b\"]]", "which is not in the vocabulary"},
        {"merges", "[[\"a\",\"nope\"]]", "which is not in the vocabulary"},
        {"merges", "[[\"\",\"a\"]]", "empty side"}, /* the only way to a cycle */
        {"merges", "[[\"a\"]]", "side of a merge"},
        {"merges", "[[\"a\",\"b\",\"c\"]]", "third side"},
        {"merges", "[\"ab\"]", "two tokens"},
        {"merges", "[\"a b c\"]", "two tokens"},
        {"merges", "[7]", "a number"},
        {"merges", "{}", "model.merges"},
        {"vocab", "[]", "model.vocab"},
        {"vocab", "{\"a\":0,\"b\":0}", "which another has"},
        {"vocab", "{\"a\":-1}", "not within"},
        {"vocab", "{\"a\":99999999999}", "not within"},
        {"vocab", "{\"a\":4194304}", "not within"},
        {"vocab", "{\"a\":1.5}", "not within"},
        {"vocab", "{\"a\":\"x\"}", "a string"}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        json_t *file = tiny();
        set_model(file, models[i][0], models[i][1]);
        assert_refused(file, SLUICE_CORRUPT, models[i][2]);
    }
    static const char *const parts[][3] = {
        {"added_tokens", "[{\"id\":5,\"content\":\"<x>\"}]", "which another has"},
        {"added_tokens", "[{\"id\":300,\"content\":\"a\"}]", "twice"},
        {"added_tokens", "[{\"id\":300,\"content\":\"<x>\"},{\"id\":300,\"content\":\"<x>\"}]",
         "two added tokens"},
        {"added_tokens", "[{\"id\":300}]", "no content"},
        {"added_tokens", "[{\"id\":300,\"content\":\"\"}]", "no content"},
        {"added_tokens", "[{\"id\":1e9,\"content\":\"<x>\"}]", "has the id"},
        {"added_tokens", "{}", "added_tokens"},
        {"normalizer", "{}", "no type"},
        {"pre_tokenizer", "{\"type\":\"Sequence\"}", "no pretokenizers"},
        {"model", "[]", "the model"},
        {"model", "{}", "no vocab"},
        {"model", "{\"vocab\":{}}", "no merges"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *file = tiny();
        set(file, parts[i][0], parts[i][1]);
        assert_refused(file, SLUICE_CORRUPT, parts[i][2]);
    }
    json_t *file = tiny();
    json_object_del(file, "model");
    assert_refused(file, SLUICE_CORRUPT, "no model");
}

/* Of the tiny file every prefix, and of Nano's some, is refused; the whole is not. */
static void test_a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {TEXT_TINY, TEXT_NANO};
    static const size_t steps[] = {1, 7919};
    for (int i = 0; i < 2; i++) {
        size_t length;
        char *bytes = text_read_file(paths[i], &length);
        while (length && (bytes[length - 1] == '\n' || bytes[length - 1] == ' '))
            length--;
        for (size_t cut = 0; cut < length; cut += steps[i]) {
            sluice_tokenizer *tokenizer;
            sluice_error err;
            char *copy = malloc(cut ? cut : 1);
            memcpy(copy, bytes, cut);
            assert_int_equal(sluice_tokenizer_open_bytes("cut.json", copy, cut, &tokenizer, &err),
                             SLUICE_CORRUPT);
            assert_null(tokenizer);
            assert_null(strchr(err.detail, '\n'));
            free(copy);
        }
        free(bytes);
    }
    sluice_tokenizer *tokenizer;
    sluice_error err;
    assert_int_equal(sluice_tokenizer_open("/nonexistent/tokenizer.json", &tokenizer, &err),
                     SLUICE_NOT_FOUND);
    char deep[4096];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"x\":", 5);
    assert_int_equal(sluice_tokenizer_open_bytes("deep.json", deep, sizeof deep, &tokenizer, &err),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "nested deeper"));
}

static void test_patterns_mean_what_the_reference_means(void **state)
{
    (void)state;
    /* "ab" and its parts show where the text is cut. */
    static const struct {
        const char *pattern, *text, *ids;
    } cases[] = {
        {"\\\\s",
         "a\xC2\x85"
         "b",
         "[64,126,227,65]"},
        {"b", "ab", "[64,65]"},
        {"x*", "ab", "[64,65]"}, /* empty matches cut too */
        {"[^\\\\s]+", "ab", "[263]"},
        {"a(?=b)", "ab", "[64,65]"},
        {"c{,2}b", "ab", "[64,65]"},
        {"$", "ab", "[263]"},
        {"(?i:A)", "ab", "[64,65]"},
        {"\\\\p{Ll}+", "ab", "[263]"},
        {"\\\\p{L}{1,1}", "ab", "[64,65]"},
        {"\\\\x{61}+", "ab", "[64,65]"},
        {"\\\\u0061", "ab", "[64,65]"},
        {"\\\\w", "ab", "[64,65]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char split[160];
        snprintf(split, sizeof split,
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                 "{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\","
                 "\"use_regex\":false}]}",
                 cases[i].pattern);
        json_t *file = with_merges("[\"a b\"]");
        set(file, "pre_tokenizer", split);
        sluice_tokenizer *tokenizer = open_changed(file);
        assert_encodes(tokenizer, cases[i].text, cases[i].ids);
        sluice_tokenizer_close(tokenizer);
    }
}

static void test_byte_level_cuts_by_itself_unless_told_otherwise(void **state)
{
    (void)state;
    /* "ab" and a space before it: GPT-2's pattern keeps "'s", " ab" and "1" apart. */
    json_t *file = with_merges("[\"a b\",\"\xC4\xA0 ab\",\"b '\"]");
    add_vocab(file,
              "\xC4\xA0"
              "ab",
              266);
    add_vocab(file, "b'", 267);
    set(file, "pre_tokenizer", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}");
    sluice_tokenizer *tokenizer = open_changed(file);
    assert_encodes(tokenizer, "ab ab1b's", "[263,266,16,65,6,82]");
    sluice_tokenizer_close(tokenizer);

    file = with_merges("[\"a b\",\"b '\"]");
    add_vocab(file, "b'", 267);
    set(file, "pre_tokenizer", "{\"type\":\"ByteLevel\",\"use_regex\":false}");
    tokenizer = open_changed(file);
    assert_encodes(tokenizer, "ab1b's", "[263,16,267,82]");
    sluice_tokenizer_close(tokenizer);
}

/* U+180E was white space once, and PCRE2's \s still takes it. The first byte of a character merges
 * with the letter before it unless the text is cut there. */
static void test_white_space_is_what_unicode_says_now(void **state)
{
    (void)state;
    json_t *file = tiny();
    add_vocab(file, "a\xC3\xA1", 263); /* a and the byte E1 */
    add_vocab(file, "a\xC3\xA2", 264); /* a and the byte E2 */
    set_model(file, "merges", "[\"a \xC3\xA1\",\"a \xC3\xA2\"]");
    set(file, "pre_tokenizer",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\"\\\\s\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]}");
    sluice_tokenizer *tokenizer = open_changed(file);
    static const struct {
        const char *text;
        int32_t first;
    } cases[] = {{"a\xE1\xA0\x8E", 263},  /* U+180E */
                 {"a\xE1\x9A\x80", 64},   /* U+1680 */
                 {"a\xE2\x80\x83", 64},   /* U+2003 */
                 {"a\xE2\x80\x8B", 264}}; /* U+200B */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_ids ids;
        assert_int_equal(sluice_tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text),
                                                 SLUICE_SPECIAL_NEVER, &ids, NULL),
                         SLUICE_OK);
        assert_int_equal(ids.ids[0], cases[i].first);
        sluice_ids_free(&ids);
    }
    sluice_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_recorded_text_encodes_and_decodes_exactly),
        cmocka_unit_test(test_the_lowest_rank_merges_first_in_both_spellings),
        cmocka_unit_test(test_ignore_merges_takes_a_whole_piece_that_is_a_token),
        cmocka_unit_test(test_merges_may_stand_before_the_vocabulary),
        cmocka_unit_test(test_long_words_merge_as_short_ones_do),
        cmocka_unit_test(test_of_equal_ranks_the_leftmost_merges),
        cmocka_unit_test(test_added_tokens_honour_their_flags),
        cmocka_unit_test(test_normalized_tokens_are_found_behind_the_normaliser),
        cmocka_unit_test(test_untrusted_text_never_becomes_an_added_token),
        cmocka_unit_test(test_text_that_is_not_utf8_names_its_byte),
        cmocka_unit_test(test_broken_characters_decode_to_replacements),
        cmocka_unit_test(test_long_hostile_texts_take_linear_time),
        cmocka_unit_test(test_what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(test_files_that_contradict_themselves_are_corrupt),
        cmocka_unit_test(test_a_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_patterns_mean_what_the_reference_means),
        cmocka_unit_test(test_byte_level_cuts_by_itself_unless_told_otherwise),
        cmocka_unit_test(test_white_space_is_what_unicode_says_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
