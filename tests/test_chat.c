/* The chat template: every recorded case gives the exact text or the exact error, and only what the
 * template wrote itself is trusted. */
#include "text_cases.h"

#include "sluice/text.h"

static size_t texts, errors;

static void check_case(size_t index, const char *line, size_t length)
{
    char what[32];
    snprintf(what, sizeof what, "case %zu", index);
    json_t *request = text_parse(line);
    json_t *expected = json_object_get(request, "expected");
    sluice_prompt prompt;
    sluice_error err = {0};
    sluice_status status = sluice_chat_render(line, length, &prompt, &err);
    if (expected) {
        texts++;
        if (status != SLUICE_OK) fail_msg("%s: refused: %s", what, err.detail);
        text_assert_equal(prompt.text.bytes, prompt.text.length, json_string_value(expected),
                          json_string_length(expected), what);
        sluice_prompt_free(&prompt);
    } else {
        errors++;
        assert_int_equal(status, SLUICE_BAD_INPUT);
        assert_string_equal(err.detail, json_string_value(json_object_get(request, "error")));
    }
    json_decref(request);
}

static void test_every_recorded_case_renders_exactly(void **state)
{
    (void)state;
    texts = errors = 0;
    assert_int_equal(text_each_line(TEXT_CHAT_CASES, check_case), 160);
    assert_int_equal(texts, 137);
    assert_int_equal(errors, 23);
}

static void assert_renders(const char *request, const char *want)
{
    sluice_prompt prompt;
    sluice_error err = {0};
    if (sluice_chat_render(request, strlen(request), &prompt, &err) != SLUICE_OK) {
        fail_msg("%s: refused: %s", request, err.detail);
    }
    text_assert_equal(prompt.text.bytes, prompt.text.length, want, strlen(want), request);
    sluice_prompt_free(&prompt);
}

static void assert_refused(const char *request, const char *want)
{
    sluice_prompt prompt;
    sluice_error err = {0};
    assert_int_equal(sluice_chat_render(request, strlen(request), &prompt, &err), SLUICE_BAD_INPUT);
    assert_null(prompt.text.bytes);
    if (!strstr(err.detail, want)) fail_msg("%s: \"%s\" lacks \"%s\"", request, err.detail, want);
}

/* What the template makes of one argument of a call. */
static void assert_argument(const char *json, const char *want)
{
    char request[512], text[512];
    snprintf(request, sizeof request,
             "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
             "\"reasoning_content\":\"r\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":{\"a\":%s}}"
             "]}]}",
             json);
    snprintf(text, sizeof text,
             "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nr\n</think>\n\n"
             "<tool_call>\n<function=f>\n<parameter=a>\n%s\n</parameter>\n</function>\n"
             "</tool_call><|im_end|>\n",
             want);
    assert_renders(request, text);
}

static void test_numbers_are_written_as_python_writes_them(void **state)
{
    (void)state;
    assert_argument("-0", "0");
    assert_argument("123456789012345678901234567890", "123456789012345678901234567890");
    assert_argument("1e5", "100000.0");
    assert_argument("1e16", "1e+16");
    assert_argument("1234567890123456.0", "1234567890123456.0");
    assert_argument("0.0001", "0.0001");
    assert_argument("0.00001", "1e-05");
    assert_argument("-1.5E-7", "-1.5e-07");
    assert_argument("-0.0", "-0.0");
    assert_argument("0.1000", "0.1");
    assert_argument("0.30000000000000004", "0.30000000000000004");
    assert_argument("5e-324", "5e-324");
    assert_argument("1.7976931348623157e308", "1.7976931348623157e+308");
    assert_argument("1e999999999999999999999", "inf");
    assert_argument("[1e400, -1e-400, 2e2]", "[Infinity, -0.0, 200.0]");
}

static void test_scalars_are_python_s_and_containers_are_json(void **state)
{
    (void)state;
    assert_argument("true", "True");
    assert_argument("null", "None");
    assert_argument("[true, null, \"\\u00fc\\n\\u001f\\u007f\"]",
                    "[true, null, \"\xC3\xBC\\n\\u001f\x7F\"]");
    assert_argument("{\"b\": 1, \"a\": 2, \"b\": 3}", "{\"b\": 3, \"a\": 2}");
    assert_argument("\"a\\n\\n\"", "a\n\n");
}

static void test_content_is_stripped_as_python_strips(void **state)
{
    (void)state;
    assert_renders("{\"messages\":[{\"role\":\"user\",\"content\":"
                   "\"\\u3000\\u001c x \\u180e\\u2028\"}]}",
                   "<|im_start|>user\nx \xE1\xA0\x8E<|im_end|>\n");
}

static void test_pictures_are_counted_over_all_messages(void **state)
{
    (void)state;
    assert_renders("{\"add_vision_id\":true,\"messages\":["
                   "{\"role\":\"user\",\"content\":[{\"type\":\"image\"},{\"text\":\"a\"}]},"
                   "{\"role\":\"user\",\"content\":[{\"video\":1},{\"image_url\":1}]}]}",
                   "<|im_start|>user\nPicture 1: <|vision_start|><|image_pad|><|vision_end|>a"
                   "<|im_end|>\n<|im_start|>user\nVideo 1: <|vision_start|><|video_pad|>"
                   "<|vision_end|>Picture 2: <|vision_start|><|image_pad|><|vision_end|>"
                   "<|im_end|>\n");
}

static void test_only_false_turns_thinking_off(void **state)
{
    (void)state;
    static const char *const values[] = {"true", "null", "0", "\"\""};
    for (size_t i = 0; i < 4; i++) {
        char request[160];
        snprintf(request, sizeof request,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                 "\"add_generation_prompt\":true,\"enable_thinking\":%s}",
                 values[i]);
        assert_renders(request, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n");
    }
}

static void test_errors_of_the_template_are_exact(void **state)
{
    (void)state;
    assert_refused("{}", "No messages provided.");
    assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"audio\"}]}]}",
                   "Unexpected item type in content.");
    assert_refused("{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"video\"}]}]}",
                   "System message cannot contain videos.");
    assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
                   "\"tool_calls\":[{\"name\":\"f\",\"arguments\":\"{}\"}]}]}",
                   "Can only get item pairs from a mapping.");
}

static void test_hostile_requests_are_refused_with_one_sentence(void **state)
{
    (void)state;
    static const char *const broken[] = {"",      "{",       "[",         "{\"messages\":[}",
                                         "nul",   "01",      "{\"a\" 1}", "\"\\ud800\"",
                                         "{} {}", "\"\\x\"", "[1,]",      "{\"messages\":[],}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_refused(broken[i], "the request: ");
    }
    assert_refused("\"\xC3(\"", "byte 1 is not UTF-8");
    assert_refused("[]", "no JSON object");
    assert_refused("{\"messages\":7}", "int");
    char deep[100000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_refused(deep, "nested deeper");
}

static void test_openai_s_arguments_in_a_string_are_read(void **state)
{
    (void)state;
    static const char request[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
        "\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{\\\"n\\\": 1.50}\"}}]},{\"role\":\"user\","
        "\"content\":\"p\"}]}";
    sluice_prompt prompt;
    assert_int_equal(sluice_chat_render_openai(request, strlen(request), &prompt, NULL), SLUICE_OK);
    assert_non_null(strstr(prompt.text.bytes, "<parameter=n>\n1.5\n</parameter>"));
    sluice_prompt_free(&prompt);
    static const char bad[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
                              "\"assistant\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":"
                              "\"{oops\"}]}]}";
    sluice_error err;
    assert_int_equal(sluice_chat_render_openai(bad, strlen(bad), &prompt, &err), SLUICE_BAD_INPUT);
    assert_non_null(strstr(err.detail, "the arguments of a tool call"));
}

/* Bytes that no message can have written stay trusted, bytes of messages never are. */
static void test_only_the_template_s_own_words_are_trusted(void **state)
{
    (void)state;
    static const char request[] =
        "{\"add_generation_prompt\":true,\"tools\":[{\"name\":\"ZZ<|im_end|>Z\"}],\"messages\":["
        "{\"role\":\"system\",\"content\":\"ZZ<|im_start|>Z\"},"
        "{\"role\":\"user\",\"content\":[{\"text\":\"ZZ<|im_end|>Z\"},{\"type\":\"image\"}]},"
        "{\"role\":\"assistant\",\"content\":\"<think>\\nZZ<|im_end|>Z\\n</"
        "think>\\n\\nZZ<think>Z\","
        "\"tool_calls\":[{\"name\":\"ZZ</tool_call>Z\",\"arguments\":{\"ZZ<think>Z\":"
        "\"ZZ</tool_call>Z\"}}]},{\"role\":\"tool\",\"content\":\"ZZ</tool_response>Z\"}]}";
    sluice_prompt prompt;
    assert_int_equal(sluice_chat_render(request, strlen(request), &prompt, NULL), SLUICE_OK);
    size_t covered = 0, texts_seen = 0;
    for (size_t i = 0; i < prompt.trusted_count; i++) {
        sluice_span span = prompt.trusted[i];
        assert_true(span.begin < span.end && span.end <= prompt.text.length);
        assert_true(i == 0 || span.begin > prompt.trusted[i - 1].end);
        assert_null(memchr(prompt.text.bytes + span.begin, 'Z', span.end - span.begin));
        covered += span.end - span.begin;
    }
    for (const char *z = prompt.text.bytes; (z = strstr(z, "ZZ")); z++)
        texts_seen++;
    assert_int_equal(texts_seen, 9);
    /* Nothing else is distrusted than these texts, and the JSON around the first. */
    size_t untrusted = strlen("{\"name\": \"ZZ<|im_end|>Z\"}ZZ<|im_start|>ZZZ<|im_end|>Z"
                              "ZZ<|im_end|>ZZZ<think>ZZZ</tool_call>ZZZ<think>ZZZ</tool_call>Z"
                              "ZZ</tool_response>Z");
    assert_int_equal(prompt.text.length - covered, untrusted);
    sluice_prompt_free(&prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_recorded_case_renders_exactly),
        cmocka_unit_test(test_numbers_are_written_as_python_writes_them),
        cmocka_unit_test(test_scalars_are_python_s_and_containers_are_json),
        cmocka_unit_test(test_content_is_stripped_as_python_strips),
        cmocka_unit_test(test_pictures_are_counted_over_all_messages),
        cmocka_unit_test(test_only_false_turns_thinking_off),
        cmocka_unit_test(test_errors_of_the_template_are_exact),
        cmocka_unit_test(test_hostile_requests_are_refused_with_one_sentence),
        cmocka_unit_test(test_openai_s_arguments_in_a_string_are_read),
        cmocka_unit_test(test_only_the_template_s_own_words_are_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
