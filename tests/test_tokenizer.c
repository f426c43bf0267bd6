/* The tokenizer: exact on every recorded text, honest about files it cannot read, safe with hostile
 * ones. */
#include "changed_tokenizer.h"

#include "sluice/text.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
