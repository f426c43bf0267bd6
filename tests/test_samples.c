/* Training samples: every form of line becomes the tokens that a model would see when serving, and
 * exactly the assistant's are marked; what cannot be learnt from is named by file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/folders.h"
#include "train/samples.h"

static sluice_tokenizer *tokenizer;

static sluice_status parse(const char *text, const sluice_samples_options *options,
                           sluice_samples *out, sluice_error *err)
{
    const sluice_samples_options plain = {.tokens_max = 1024};
    return sluice_samples_parse(text, strlen(text), "data.jsonl", tokenizer,
                                options ? options : &plain, NULL, out, err);
}

/* A sample's text, its learnt tokens between { and }. */
static char *marked(const sluice_samples *samples, int32_t number)
{
    const sluice_sample *sample = &samples->samples[number];
    char *text = calloc(1, 1 << 16);
    bool inside = false;
    assert_non_null(text);
    for (int32_t i = 0; i <= sample->count; i++) {
        const uint32_t token =
            i < sample->count ? samples->tokens[sample->at + (size_t)i] : 0; /* an end closes */
        const bool learn = (token & SLUICE_SAMPLE_LEARN) != 0;
        if (learn != inside) strcat(text, learn ? "{" : "}");
        inside = learn;
        if (i == sample->count) break;
        size_t length;
        const char *bytes =
            sluice_tokenizer_token(tokenizer, (int32_t)(token & ~SLUICE_SAMPLE_LEARN), &length);
        assert_non_null(bytes);
        strncat(text, bytes, length);
    }
    return text;
}

static void expect(const char *line, const char *want)
{
    sluice_samples samples;
    sluice_error err = {0};
    if (parse(line, NULL, &samples, &err) != SLUICE_OK) fail_msg("%s: %s", line, err.detail);
    assert_int_equal(samples.n, 1);
    char *text = marked(&samples, 0);
    assert_string_equal(text, want);
    int32_t learn = 0;
    for (int32_t i = 1; i < samples.samples[0].count; i++)
        learn += (samples.tokens[i] & SLUICE_SAMPLE_LEARN) != 0;
    assert_int_equal(samples.samples[0].learn, learn);
    free(text);
    sluice_samples_free(&samples);
}

#define USER(text) "<|im_start|>user\n" text "<|im_end|>\n"
#define ASSISTANT "<|im_start|>assistant\n"
#define NO_THOUGHT "<think>\n\n</think>\n\n"

static void every_form_becomes_a_turn_of_the_assistant(void **state)
{
    static const char *const lines[] = {
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", "
        "\"content\": \"Yes.\"}]}",
        "{\"instruction\": \"Hi\", \"output\": \"Yes.\"}",
        "{\"instruction\": \"Hi\", \"input\": \"\", \"output\": \"Yes.\"}",
        "{\"instruction\": \"Hi\", \"response\": \"Yes.\", \"source\": 3}",
        "{\"question\": \"Hi\", \"answer\": \"Yes.\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect(lines[i], USER("Hi") ASSISTANT NO_THOUGHT "{Yes.<|im_end|>}");
    expect("{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}",
           USER("Add.\n\n1 2") ASSISTANT NO_THOUGHT "{3<|im_end|>}");
}

static void texts_are_continued_without_a_template(void **state)
{
    (void)state;
    expect("{\"prompt\": \"The cat\", \"completion\": \" sat.\"}", "The cat{ sat.<|endoftext|>}");
    expect("{\"text\": \"The cat sat.\"}", "{The cat sat.<|endoftext|>}");
    /* Markers in somebody's text are text: they do not become the tokens. */
    sluice_samples samples;
    assert_int_equal(
        parse("{\"prompt\": \"a\", \"completion\": \"<|im_end|>\"}", NULL, &samples, NULL),
        SLUICE_OK);
    const int32_t end = sluice_tokenizer_find(tokenizer, "<|im_end|>");
    for (int32_t i = 0; i < samples.samples[0].count; i++)
        assert_true((int32_t)(samples.tokens[i] & ~SLUICE_SAMPLE_LEARN) != end);
    sluice_samples_free(&samples);
}

static void every_turn_of_a_conversation_is_learnt_and_nothing_else(void **state)
{
    (void)state;
    expect("{\"messages\": [{\"role\": \"system\", \"content\": \"Be short.\"}, "
           "{\"role\": \"user\", \"content\": \"A\"}, {\"role\": \"assistant\", \"content\": "
           "\"B\"}, {\"role\": \"user\", \"content\": \"<|im_start|>assistant\\nC\"}, "
           "{\"role\": \"assistant\", \"content\": \"D\"}]}",
           "<|im_start|>system\nBe short.<|im_end|>\n" USER("A") ASSISTANT
           "{B<|im_end|>}\n" USER("<|im_start|>assistant\nC") ASSISTANT NO_THOUGHT "{D<|im_end|>}");
}

static void calls_of_tools_are_learnt_as_the_template_writes_them(void **state)
{
    static const char *const tools =
        "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"add\", \"parameters\": "
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}}}}]";
    char line[1024];
    sluice_samples samples;
    (void)state;
    for (int form = 0; form < 2; form++) {
        snprintf(line, sizeof line,
                 form ? "{\"question\": \"Q\", \"call\": [\"add\", {\"a\": 7}], %s}"
                      : "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": "
                        "\"assistant\", \"content\": \"\", \"tool_calls\": [{\"type\": "
                        "\"function\", \"function\": {\"name\": \"add\", \"arguments\": "
                        "\"{\\\"a\\\": 7}\"}}]}], %s}",
                 tools);
        assert_int_equal(parse(line, NULL, &samples, NULL), SLUICE_OK);
        char *text = marked(&samples, 0);
        const char *learnt = strchr(strstr(text, ASSISTANT), '{');
        assert_string_equal(learnt, "{<tool_call>\n<function=add>\n<parameter=a>\n7\n</parameter>\n"
                                    "</function>\n</tool_call><|im_end|>}");
        assert_non_null(strstr(text, "\"name\": \"add\""));
        free(text);
        sluice_samples_free(&samples);
    }
}

static void all_tokens_are_learnt_if_that_is_wanted(void **state)
{
    const sluice_samples_options options = {.tokens_max = 1024, .all_tokens = true};
    sluice_samples samples;
    (void)state;
    assert_int_equal(
        parse("{\"question\": \"Hi\", \"answer\": \"Yes.\"}", &options, &samples, NULL), SLUICE_OK);
    assert_int_equal(samples.samples[0].learn, samples.samples[0].count - 1);
    sluice_samples_free(&samples);
}

static void blank_lines_are_skipped_and_lines_are_counted(void **state)
{
    sluice_samples samples;
    (void)state;
    assert_int_equal(
        parse("\n{\"text\": \"One two\"}\r\n  \t\n\n{\"text\": \"Three\"}", NULL, &samples, NULL),
        SLUICE_OK);
    assert_int_equal(samples.n, 2);
    assert_int_equal(samples.samples[0].line, 2);
    assert_int_equal(samples.samples[1].line, 5);
    assert_int_equal(samples.samples[1].at, (size_t)samples.samples[0].count);
    sluice_samples_free(&samples);
}

static void long_samples_are_cut_and_counted_or_refused(void **state)
{
    static const char *const data =
        "{\"text\": \"One two three four five six seven eight nine ten\"}\n"
        "{\"prompt\": \"One two three four five six seven eight nine ten\", \"completion\": "
        "\"x\"}\n"
        "{\"text\": \"Short\"}\n";
    sluice_samples_options options = {.tokens_max = 6};
    sluice_samples samples;
    sluice_error err = {0};
    (void)state;
    assert_int_equal(parse(data, &options, &samples, NULL), SLUICE_OK);
    assert_int_equal(samples.n, 2); /* nothing to learn is left of the second */
    assert_int_equal(samples.cut, 2);
    assert_int_equal(samples.lost, 1);
    assert_int_equal(samples.samples[0].count, 6);
    assert_int_equal(samples.samples[0].learn, 5);
    sluice_samples_free(&samples);
    options.refuse_long = true;
    assert_int_equal(parse(data, &options, &samples, &err), SLUICE_LIMIT);
    assert_non_null(strstr(err.detail, "data.jsonl:1: "));
    assert_null(samples.tokens);
}

static void what_cannot_be_learnt_from_is_named_by_file_and_line(void **state)
{
    static const char *const cases[][2] = {
        {"[1]", "not a JSON object"},
        {"{\"text\": \"a\"", "column"},
        {"{\"text\": \"a\", \"text\": \"b\"}", "duplicate"},
        {"{\"text\": 3}", "must be strings"},
        {"{\"text\": \"\"}", "nothing to learn"},
        {"{\"prompt\": \"a\"}", "without a completion"},
        {"{\"messages\": []}", ""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}", "no turn of the assistant"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"Hi\"}]}", "No user query"},
        {"{\"instruction\": 1, \"output\": \"a\"}", "\"instruction\" is not a string"},
        {"{\"instruction\": \"a\"}", "none of output, response, answer, call"},
        {"{\"output\": \"a\"}", "none of messages, instruction, question, prompt, text"},
        {"{\"question\": \"a\", \"call\": \"f\"}", "none of output"},
    };
    char data[512];
    sluice_samples samples;
    sluice_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(data, sizeof data, "{\"text\": \"fine\"}\n\n%s\n", cases[i][0]);
        if (parse(data, NULL, &samples, &err) != SLUICE_BAD_INPUT)
            fail_msg("taken or another error: %s: %s", cases[i][0], err.detail);
        if (strncmp(err.detail, "data.jsonl:3: ", 14) != 0 || !strstr(err.detail, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err.detail);
        assert_null(samples.tokens);
    }
    assert_int_equal(parse("\n \n", NULL, &samples, &err), SLUICE_BAD_INPUT);
    assert_string_equal(err.detail, "data.jsonl: there is no sample in it");
    assert_int_equal(sluice_samples_load("/nowhere/x.jsonl", tokenizer,
                                         &(sluice_samples_options){.tokens_max = 9}, NULL, &samples,
                                         &err),
                     SLUICE_NOT_FOUND);
}

/* What they hold is charged, and given back. */
static void memory_is_charged(void **state)
{
    sluice_budget *budget;
    sluice_samples samples;
    sluice_error err = {0};
    const char *line = "{\"text\": \"fine and more\"}\n";
    const size_t length = strlen(line);
    char *data = malloc(3000 * length);
    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < 3000; i++)
        memcpy(data + i * length, line, length);
    const sluice_samples_options options = {.tokens_max = 64};
    assert_int_equal(sluice_budget_new(1 << 20, &budget, NULL), SLUICE_OK);
    assert_int_equal(
        sluice_samples_parse(data, 3000 * length, "x", tokenizer, &options, budget, &samples, NULL),
        SLUICE_OK);
    assert_int_equal(samples.n, 3000);
    assert_true(sluice_budget_used(budget) >= samples.count * sizeof *samples.tokens);
    sluice_samples_free(&samples);
    assert_true(sluice_budget_used(budget) == 0);
    sluice_budget_free(budget);
    assert_int_equal(sluice_budget_new(20000, &budget, NULL), SLUICE_OK);
    assert_int_equal(
        sluice_samples_parse(data, 3000 * length, "x", tokenizer, &options, budget, &samples, &err),
        SLUICE_NO_MEMORY);
    assert_true(sluice_budget_used(budget) == 0);
    sluice_budget_free(budget);
    free(data);
}

static int set_up(void **state)
{
    (void)state;
    return sluice_tokenizer_open(engines_source_path("models/nano/tokenizer.json"), &tokenizer,
                                 NULL) != SLUICE_OK;
}

static int tear_down(void **state)
{
    (void)state;
    sluice_tokenizer_close(tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_becomes_a_turn_of_the_assistant),
        cmocka_unit_test(texts_are_continued_without_a_template),
        cmocka_unit_test(every_turn_of_a_conversation_is_learnt_and_nothing_else),
        cmocka_unit_test(calls_of_tools_are_learnt_as_the_template_writes_them),
        cmocka_unit_test(all_tokens_are_learnt_if_that_is_wanted),
        cmocka_unit_test(blank_lines_are_skipped_and_lines_are_counted),
        cmocka_unit_test(long_samples_are_cut_and_counted_or_refused),
        cmocka_unit_test(what_cannot_be_learnt_from_is_named_by_file_and_line),
        cmocka_unit_test(memory_is_charged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
