/* Tool calls: the form that the template writes and no other, and whatever tokens are drawn under
 * the mask, calls that the reader of replies reads with the right names, all required parameters
 * and values of the right types. */
#include "grammar_cases.h"
#include "grammar_validate.h"

#include "base/rng.h"
#include "sluice/grammar.h"
#include "sluice/text.h"

static const char tools_json[] =
    "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"mail\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"to\":{\"type\":\"string\"},\"count\":{\"type\":\"integer\","
    "\"minimum\":1,\"maximum\":40},\"urgent\":{\"type\":\"boolean\"},\"tags\":{\"type\":\"array\","
    "\"items\":{\"type\":\"string\"},\"maxItems\":2},\"mode\":{\"enum\":[\"fast\",\"slow\"]},"
    "\"code\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":4},\"kind\":{\"$ref\":"
    "\"#/$defs/kind\"}},\"required\":[\"to\",\"count\",\"mode\"],\"additionalProperties\":false,"
    "\"$defs\":{\"kind\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"number\"}},"
    "\"required\":[\"n\"]}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"nowhere\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{}}}}]}";

#define CALL(inside) "<tool_call>\n" inside "</function>\n</tool_call>"
#define PARAMETER(name, value) "<parameter=" name ">\n" value "\n</parameter>\n"
#define MAIL                                                                                       \
    "<function=mail>\n" PARAMETER("to", "Ada") PARAMETER("count", "3") PARAMETER("mode", "fast")

static sluice_answer tool_answer(sluice_tool_choice choice)
{
    return (sluice_answer){.tools = tools_json,
                           .tools_length = strlen(tools_json),
                           .tool_choice = choice,
                           .tool_name = choice == SLUICE_TOOLS_NAMED ? "now" : NULL};
}

static void check(const sluice_answer *answer, const char *name, const char *const *good,
                  const char *const *bad)
{
    sluice_grammar *grammar = grammar_new(answer);
    grammar_check_texts(grammar, name, true, good);
    grammar_check_texts(grammar, name, false, bad);
    sluice_grammar_free(grammar);
}

static void test_calls_have_the_form_of_the_template(void **state)
{
    (void)state;
    sluice_answer answer = tool_answer(SLUICE_TOOLS_REQUIRED);
    check(&answer, "required",
          GRAMMAR_TEXTS(CALL(MAIL), CALL("<function=now>\n"), CALL("<function=nowhere>\n"),
                        CALL(MAIL) "\n" CALL("<function=now>\n")),
          GRAMMAR_TEXTS("", "text", CALL("<function=what>\n"), " " CALL(MAIL), CALL(MAIL) "\n",
                        CALL(MAIL) CALL(MAIL),
                        "<tool_call><function=now>\n</function>\n</tool_call>",
                        CALL("<function=now>\n" PARAMETER("x", "1")), CALL("<function=mail>\n"),
                        CALL("<function=mail>\n" PARAMETER("to", "Ada") PARAMETER("count", "3")),
                        CALL("<function=mail>\n" PARAMETER("count", "3") PARAMETER("to", "Ada")
                                 PARAMETER("mode", "fast")),
                        CALL("<function=mail>\n" PARAMETER("to", "A") PARAMETER("to", "B")
                                 PARAMETER("count", "3") PARAMETER("mode", "fast"))));
}

static void test_values_follow_their_schemas(void **state)
{
    (void)state;
#define WITH(value) CALL("<function=mail>\n" PARAMETER("to", "A") PARAMETER("count", "3") value)
#define MODE PARAMETER("mode", "slow")
    sluice_answer answer = tool_answer(SLUICE_TOOLS_REQUIRED);
    check(&answer, "values",
          GRAMMAR_TEXTS(CALL("<function=mail>\n" PARAMETER("to", "") PARAMETER("count", "40") MODE),
                        CALL("<function=mail>\n" PARAMETER("to", "two\nlines <b>&</b>\n")
                                 PARAMETER("count", "1") MODE),
                        WITH(PARAMETER("urgent", "true") MODE),
                        WITH(PARAMETER("urgent", "False") MODE),
                        WITH(PARAMETER("tags", "[\"a\", \"<b>\"]") MODE),
                        WITH(MODE PARAMETER("code", "\"1\xC3\xA9")),
                        WITH(MODE PARAMETER("kind", "{\"n\": 1.5}"))),
          GRAMMAR_TEXTS(
              CALL("<function=mail>\n" PARAMETER("to", "A") PARAMETER("count", "41") MODE),
              CALL("<function=mail>\n" PARAMETER("to", "A") PARAMETER("count", "\"3\"") MODE),
              CALL("<function=mail>\n" PARAMETER("to", "a</parameter>b") PARAMETER("count", "3")
                       MODE),
              WITH(PARAMETER("urgent", "maybe") MODE), WITH(PARAMETER("mode", "fastest")),
              WITH(PARAMETER("mode", "\"fast\"")), WITH(PARAMETER("tags", "[1]") MODE),
              WITH(PARAMETER("tags", "[\"</parameter>\"]") MODE), WITH(MODE PARAMETER("code", "a")),
              WITH(MODE PARAMETER("code", "abcde")), WITH(MODE PARAMETER("kind", "{}"))));
}

static void test_choices(void **state)
{
    (void)state;
    sluice_answer answer = tool_answer(SLUICE_TOOLS_AUTO);
    check(&answer, "auto",
          GRAMMAR_TEXTS("", "Hello.\n", CALL(MAIL), "I will.\n\n" CALL(MAIL), "a < b <tool",
                        "</tool_call>", CALL(MAIL) "\n" CALL(MAIL)),
          GRAMMAR_TEXTS("<tool_call>", "x <tool_call> y", CALL(MAIL) " text",
                        CALL("<function=x>\n")));
    answer.single_call = true;
    check(&answer, "single", GRAMMAR_TEXTS("Hello.", "a\n" CALL(MAIL)),
          GRAMMAR_TEXTS(CALL(MAIL) "\n" CALL(MAIL)));
    answer = tool_answer(SLUICE_TOOLS_NONE);
    check(&answer, "none", GRAMMAR_TEXTS("", "Hello <tool", "<tool_cal>"),
          GRAMMAR_TEXTS(CALL(MAIL), "<tool_call>",
                        "x<tool_call"
                        ">y"));
    answer = tool_answer(SLUICE_TOOLS_NAMED);
    check(&answer, "named", GRAMMAR_TEXTS(CALL("<function=now>\n")),
          GRAMMAR_TEXTS(CALL(MAIL), "", CALL("<function=nowhere>\n")));
    answer = (sluice_answer){.content = SLUICE_ANSWER_TEXT};
    check(&answer, "text", GRAMMAR_TEXTS("", "anything <b>"), GRAMMAR_TEXTS(NULL));
}

static void test_thinking_comes_first_and_is_free(void **state)
{
    (void)state;
    sluice_answer answer = tool_answer(SLUICE_TOOLS_REQUIRED);
    answer.thinking = true;
    check(&answer, "thinking",
          GRAMMAR_TEXTS("hm <b> </think>\n\n" CALL(MAIL), "</think>" CALL(MAIL),
                        "a </thin </think>\n" CALL(MAIL)),
          GRAMMAR_TEXTS(CALL(MAIL), "hm", "</think>\n\n\n" CALL(MAIL), "</think>text"));
    answer = (sluice_answer){.content = SLUICE_ANSWER_OBJECT, .thinking = true};
    check(&answer, "thinking object", GRAMMAR_TEXTS("x\n</think>\n\n{\"a\": 1}"),
          GRAMMAR_TEXTS("{}", "x</think>1"));
}

static void test_content_may_be_json_beside_calls(void **state)
{
    (void)state;
    sluice_answer answer = tool_answer(SLUICE_TOOLS_AUTO);
    answer.content = SLUICE_ANSWER_OBJECT;
    check(&answer, "object or call", GRAMMAR_TEXTS("{}", CALL(MAIL)),
          GRAMMAR_TEXTS("", "text", "{}" CALL(MAIL), "{}\n" CALL(MAIL)));
}

static void refused(const char *tools, sluice_tool_choice choice, const char *name,
                    sluice_status status, const char *words)
{
    sluice_answer answer = {
        .tools = tools, .tools_length = strlen(tools), .tool_choice = choice, .tool_name = name};
    grammar_check_refused(&answer, status, words);
}

static void test_what_is_wrong_with_tools_is_said_with_its_place(void **state)
{
    (void)state;
#define TOOL(parameters)                                                                           \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" parameters "}}]"
    sluice_tool_choice any = SLUICE_TOOLS_AUTO;
    refused(TOOL("{\"properties\":{\"a\":{\"multipleOf\":2}}}"), any, NULL, SLUICE_UNSUPPORTED,
            "the tools at /0/function/parameters/properties/a: multipleOf is not supported");
    refused(TOOL("{\"anyOf\":[]}"), any, NULL, SLUICE_UNSUPPORTED,
            "at /0/function/parameters: anyOf is not supported for parameters");
    refused(TOOL("{\"type\":\"string\"}"), any, NULL, SLUICE_BAD_INPUT, "no object");
    refused(TOOL("{\"properties\":{\"a<b\":{}}}"), any, NULL, SLUICE_UNSUPPORTED, "a name");
    refused(TOOL("{\"properties\":{\"a\":{\"$ref\":\"#/properties/b\"},\"b\":{}}}"), any, NULL,
            SLUICE_UNSUPPORTED, "#/$defs/NAME");
    refused(TOOL("{\"properties\":{\"a\":{\"const\":\"</parameter>\"}}}"), any, NULL,
            SLUICE_UNSUPPORTED, "</parameter>");
    refused("[{\"name\":\"\"}]", any, NULL, SLUICE_UNSUPPORTED, "the tools at /0: a name");
    refused("[{\"type\":\"function\"}]", any, NULL, SLUICE_BAD_INPUT, "without a name");
    refused("[{\"name\":\"f\"},{\"name\":\"f\"}]", any, NULL, SLUICE_BAD_INPUT,
            "the tools at /1: a second tool");
    refused(TOOL("{}"), SLUICE_TOOLS_NAMED, "g", SLUICE_BAD_INPUT, "none called g");
    refused("[]", SLUICE_TOOLS_REQUIRED, NULL, SLUICE_BAD_INPUT, "there are none");
    refused("[", any, NULL, SLUICE_BAD_INPUT, "the tools");
}

static const json_t *tool_schema(const json_t *tools, const char *name)
{
    const json_t *list = json_object_get(tools, "tools");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *tool = json_object_get(json_array_get(list, i), "function");
        if (strcmp(json_string_value(json_object_get(tool, "name")), name) == 0) {
            return json_object_get(tool, "parameters");
        }
    }
    return NULL;
}

static void check_reply(const sluice_reply *reply, const json_t *tools, const char *text)
{
    if (!reply->call_count) fail_msg("no call in '%s'", text);
    if (reply->content.length) fail_msg("content beside calls in '%s'", text);
    for (size_t i = 0; i < reply->call_count; i++) {
        const sluice_call *call = &reply->calls[i];
        json_t *arguments =
            json_loadb(call->arguments.bytes, call->arguments.length, JSON_REJECT_DUPLICATES, NULL);
        bool known = strcmp(call->name.bytes, "mail") == 0 ||
                     strcmp(call->name.bytes, "now") == 0 ||
                     strcmp(call->name.bytes, "nowhere") == 0;
        if (!known || !call->complete || !arguments) fail_msg("call %zu of '%s'", i, text);
        const json_t *schema = tool_schema(tools, call->name.bytes);
        if (schema && !validate(schema, schema, arguments)) {
            fail_msg("%s from '%s'", call->arguments.bytes, text);
        }
        json_decref(arguments);
    }
}

/* Mostly tokens that go on with the answer's form, so that values end. */
static int32_t draw(sluice_rng *rng, const uint32_t *mask, int32_t vocab, int32_t newline)
{
    bool may_end = mask[newline / 32] >> (newline % 32) & 1;
    if (may_end && sluice_rng_below(rng, 4) == 0) return newline;
    int32_t id = (int32_t)sluice_rng_below(rng, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++, id = (id + 1) % vocab)
        if (mask[id / 32] >> (id % 32) & 1) return id;
    fail_msg("nothing may come: the grammar has a dead end");
    return -1;
}

static void test_random_tokens_make_calls_that_can_be_read(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer;
    sluice_token_trie *trie;
    sluice_tools *tools;
    sluice_error err = {0};
    assert_int_equal(sluice_tokenizer_open(TEXT_NANO, &tokenizer, NULL), SLUICE_OK);
    assert_int_equal(sluice_token_trie_new(tokenizer, &trie, NULL), SLUICE_OK);
    assert_int_equal(sluice_tools_open(tools_json, strlen(tools_json), &tools, NULL), SLUICE_OK);
    json_t *document = json_loads(tools_json, 0, NULL);
    int32_t stop = sluice_tokenizer_find(tokenizer, "<|im_end|>");
    int32_t newline = sluice_tokenizer_find(tokenizer, "\n");
    int32_t vocab = sluice_tokenizer_vocab(tokenizer);
    sluice_rng rng;
    sluice_rng_seed(&rng, 5);
    for (int thinking = 0; thinking < 2; thinking++) {
        sluice_answer answer = tool_answer(SLUICE_TOOLS_REQUIRED);
        answer.thinking = thinking;
        sluice_grammar *grammar = grammar_new(&answer);
        sluice_constraint *constraint;
        assert_int_equal(sluice_constraint_new(grammar, trie, &stop, 1, &constraint, NULL),
                         SLUICE_OK);
        for (int run = 0; run < 150; run++) {
            int32_t ids[600], count = 0;
            sluice_constraint_restart(constraint);
            while (count < 600) {
                const uint32_t *mask;
                if (sluice_constraint_mask(constraint, 600 - count, &mask, &err) != SLUICE_OK) {
                    fail_msg("%s", err.detail);
                }
                int32_t id = draw(&rng, mask, vocab, newline);
                assert_int_equal(sluice_constraint_accept(constraint, id, NULL), SLUICE_OK);
                if (id == stop) break;
                ids[count++] = id;
            }
            assert_true(count < 600 || sluice_constraint_is_complete(constraint));
            sluice_text text;
            sluice_reply reply;
            assert_int_equal(
                sluice_tokenizer_decode(tokenizer, ids, (size_t)count, false, &text, NULL),
                SLUICE_OK);
            assert_int_equal(
                sluice_reply_read(tools, thinking, text.bytes, text.length, &reply, NULL),
                SLUICE_OK);
            check_reply(&reply, document, text.bytes);
            sluice_reply_free(&reply);
            sluice_text_free(&text);
        }
        sluice_constraint_free(constraint);
        sluice_grammar_free(grammar);
    }
    json_decref(document);
    sluice_tools_close(tools);
    sluice_token_trie_free(trie);
    sluice_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_have_the_form_of_the_template),
        cmocka_unit_test(test_values_follow_their_schemas),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_thinking_comes_first_and_is_free),
        cmocka_unit_test(test_content_may_be_json_beside_calls),
        cmocka_unit_test(test_what_is_wrong_with_tools_is_said_with_its_place),
        cmocka_unit_test(test_random_tokens_make_calls_that_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
