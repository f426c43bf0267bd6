/* What a tokenizer.json may say: what is refused by name, what is corrupt, and what patterns mean.
 */
#include "changed_tokenizer.h"

#include "sluice/text.h"

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
        cmocka_unit_test(test_what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(test_files_that_contradict_themselves_are_corrupt),
        cmocka_unit_test(test_a_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_patterns_mean_what_the_reference_means),
        cmocka_unit_test(test_byte_level_cuts_by_itself_unless_told_otherwise),
        cmocka_unit_test(test_white_space_is_what_unicode_says_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
