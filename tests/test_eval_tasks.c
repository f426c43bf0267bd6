/* Tasks on Nano: what is right, files that are refused, and logs that a run goes on from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/task_file.h"
#include "support/engines.h"
#include "support/folders.h"

enum { BATCH = 4 };

static sluice_engine *engine;
static char folder[FOLDERS_PATH_MAX];

static int open_all(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = 1024;
    options.sessions = BATCH;
    engine = engines_open(NULL, &options);
    folders_make(folder);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    folders_remove(folder);
    sluice_engine_close(engine);
    return 0;
}

static const char *file_of(const char *name, const char *text)
{
    const char *path = folders_path(folder, name);
    folders_save(path, text, strlen(text));
    return path;
}

static sluice_task_score ask(const char *path, const sluice_eval_task_options *options)
{
    sluice_task_score score, all;
    sluice_error err = {0};
    if (sluice_eval_tasks(engine, &path, 1, options, &score, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_memory_equal(&score, &all, sizeof all);
    return score;
}

/* Whether a model that answers with text is right. */
static bool right(const char *line, const char *text)
{
    const char *path = file_of("judged.jsonl", line);
    sluice_eval_task_options options = {0};
    sluice_tasks tasks = {.engine = engine, .paths = &path};
    sluice_error err = {0};
    json_t *got = NULL;
    bool is_right;
    if (sluice_tasks_load(&tasks, 1, &options, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    sluice_ask_answer answer = {.task = &tasks.tasks[0], .text = text, .length = strlen(text)};
    assert_int_equal(sluice_task_judge(NULL, &answer, &is_right, &got, &err), SLUICE_OK);
    json_decref(got);
    sluice_tasks_free(&tasks);
    return is_right;
}

static void an_answer_is_right_if_equal_but_for_white_space_around(void **state)
{
    (void)state;
    static const char line[] = "{\"question\": \"Where?\", \"answer\": \"New York\\n\"}\n";
    assert_true(right(line, "New York"));
    assert_true(right(line, "\n New York \n"));
    assert_false(right(line, "New  York"));
    assert_false(right(line, "new york"));
    assert_false(right(line, "New York."));
    assert_false(right(line, ""));
}

#define TOOLS                                                                                      \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"timer\", \"parameters\": "    \
    "{\"type\": \"object\", \"properties\": {\"minutes\": {\"type\": \"integer\"}, \"label\": "    \
    "{\"type\": \"string\"}}}}}]"
#define CALL(minutes)                                                                              \
    "<tool_call>\n<function=timer>\n<parameter=minutes>\n" minutes                                 \
    "\n</parameter>\n<parameter=label>\n5\n</parameter>\n</function>\n</tool_call>"

static void a_call_is_right_if_name_and_arguments_are(void **state)
{
    (void)state;
    static const char line[] = "{\"question\": \"Wake me\", " TOOLS
                               ", \"call\": [\"timer\", {\"label\": \"5\", \"minutes\": 12}]}";
    assert_true(right(line, CALL("12")));
    assert_true(right(line, "I set it.\n\n" CALL("12")));
    assert_false(right(line, CALL("13")));
    assert_false(right(line, CALL("12") "\n" CALL("12")));
    assert_false(right(line, "timer"));
    assert_false(right(line, "<tool_call>\n<function=timer>\n<parameter=minutes>\n12\n"
                             "</parameter>\n<parameter=label>\n5\n"));
    assert_false(right(line, "<tool_call>\n<function=timer>\n<parameter=minutes>\n12\n"
                             "</parameter>\n</function>\n</tool_call>"));
    /* A call where an answer was wanted. */
    assert_false(right("{\"question\": \"Wake me\", " TOOLS ", \"answer\": \"12\"}", CALL("12")));
}

static void nano_answers_as_it_does_alone_however_many_are_asked(void **state)
{
    (void)state;
    const char *tasks[] = {engines_source_path("models/nano/tasks/tool.jsonl"),
                           engines_source_path("models/nano/tasks/fact.jsonl")};
    const char *logs[] = {folders_path(folder, "alone.jsonl"), folders_path(folder, "four.jsonl")};
    sluice_task_score each[2][2], all[2];
    for (int i = 0; i < 2; i++) {
        sluice_eval_task_options options = {.items_max = 6, .batch = i ? BATCH : 1, .log = logs[i]};
        assert_int_equal(sluice_eval_tasks(engine, tasks, 2, &options, each[i], &all[i], NULL),
                         SLUICE_OK);
        assert_int_equal(all[i].items, 12);
        assert_int_equal(all[i].right, 12); /* Nano knows capitals and tools: quality.json */
        assert_int_equal(all[i].cut, 0);
    }
    assert_memory_equal(each[0], each[1], sizeof each[0]);
    /* The same answers, though in another order. */
    size_t bytes[2];
    char *alone = folders_load(logs[0], &bytes[0]), *four = folders_load(logs[1], &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    for (char *line = strtok(alone, "\n"); line; line = strtok(NULL, "\n"))
        if (!strstr(four, line)) fail_msg("not among the answers of four: %s", line);
    free(alone);
    free(four);
}

static void answers_that_do_not_end_are_cut(void **state)
{
    (void)state;
    const char *path =
        file_of("long.jsonl", "{\"question\": \"Tell me a long story about a king.\","
                              " \"answer\": \"no\"}\n");
    sluice_eval_task_options options = {.tokens_max = 3};
    sluice_task_score score = ask(path, &options);
    assert_int_equal(score.cut, 1);
    assert_int_equal(score.right, 0);
}

static void thinking_comes_before_the_answer(void **state)
{
    (void)state;
    const char *path = engines_source_path("models/nano/tasks/word.jsonl");
    const char *log = folders_path(folder, "thinking.jsonl");
    sluice_eval_task_options options = {
        .items_max = 4, .batch = BATCH, .thinking = true, .log = log};
    assert_true(ask(path, &options).right >= 2); /* of 60 it gets 87% */
    size_t bytes;
    char *text = folders_load(log, &bytes);
    assert_null(strstr(text, "<think>"));
    free(text);
}

static const char *facts(void)
{
    return engines_source_path("models/nano/tasks/fact.jsonl");
}

static void a_run_goes_on_where_its_log_ends(void **state)
{
    (void)state;
    const char *log = folders_path(folder, "log.jsonl");
    sluice_eval_task_options options = {.items_max = 5, .log = log};
    sluice_task_score whole = ask(facts(), &options);
    size_t bytes, again;
    char *text = folders_load(log, &bytes);
    /* The head and two answers, and the third torn. */
    char *at = text;
    for (int i = 0; i < 3; i++)
        at = strchr(at, '\n') + 1;
    folders_save(log, text, (size_t)(at - text) + 20);
    sluice_task_score resumed = ask(facts(), &options);
    assert_int_equal(resumed.resumed, 2);
    assert_int_equal(resumed.items, whole.items);
    assert_int_equal(resumed.right, whole.right);
    char *rewritten = folders_load(log, &again);
    assert_int_equal(again, bytes);
    assert_memory_equal(rewritten, text, bytes);
    assert_int_equal(ask(facts(), &options).resumed, 5);
    free(rewritten);
    free(text);
}

static void refused(const char *path, sluice_eval_task_options options, sluice_status expected,
                    const char *words)
{
    sluice_task_score all;
    sluice_error err = {0};
    sluice_status status = sluice_eval_tasks(engine, &path, 1, &options, NULL, &all, &err);
    if (status != expected || !strstr(err.detail, words))
        fail_msg("%s ('%s') instead of '%s'", sluice_status_name(status), err.detail, words);
}

static void a_log_of_another_run_is_refused(void **state)
{
    (void)state;
    const char *log = folders_path(folder, "other.jsonl");
    sluice_eval_task_options options = {.items_max = 2, .log = log};
    ask(facts(), &options);
    options.thinking = true;
    refused(facts(), options, SLUICE_USAGE, "\"thinking\" was false and is true");
    options.thinking = false;
    options.tokens_max = 50;
    refused(facts(), options, SLUICE_USAGE, "\"tokens_max\" was 256 and is 50");
    options.tokens_max = 0;
    const char *mine = file_of("mine.jsonl", "{\"question\": \"What is 1 + 1?\", "
                                             "\"answer\": \"2\"}\n");
    ask(mine, &options);
    file_of("mine.jsonl", "{\"question\": \"What is 1 + 2?\", \"answer\": \"3\"}\n");
    refused(mine, options, SLUICE_USAGE, "has changed");
    file_of("other.jsonl", "{\"evaluation\": \"tasks\"\n");
    refused(facts(), options, SLUICE_BAD_INPUT, "other.jsonl: line 1");
    file_of("other.jsonl", "{\"question\": 1}\n");
    refused(facts(), options, SLUICE_BAD_INPUT, "not the log");
}

static void a_bad_line_is_named_before_anything_runs(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"{\"question\": \"a\"", "line 2: "},
        {"[1]", "not a JSON object"},
        {"", "line 2: empty"},
        {"{\"answer\": \"a\"}", "\"question\""},
        {"{\"question\": \" \", \"answer\": \"a\"}", "\"question\""},
        {"{\"question\": 7, \"answer\": \"a\"}", "\"question\""},
        {"{\"question\": \"a\"}", "either \"answer\" or \"call\""},
        {"{\"question\": \"a\", \"answer\": \"b\", \"call\": [\"c\", {}], " TOOLS "}", "either"},
        {"{\"question\": \"a\", \"answer\": \"\"}", "\"answer\""},
        {"{\"question\": \"a\", \"answer\": 4}", "\"answer\""},
        {"{\"question\": \"a\", \"call\": [\"c\", {}]}", "needs \"tools\""},
        {"{\"question\": \"a\", \"call\": [\"c\"], " TOOLS "}", "[name, {arguments}]"},
        {"{\"question\": \"a\", \"call\": [\"c\", 3], " TOOLS "}", "[name, {arguments}]"},
        {"{\"question\": \"a\", \"answer\": \"b\", \"tools\": {}}", "must be an array"},
    };
    char text[1024];
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(text, sizeof text, "{\"question\": \"a\", \"answer\": \"b\"}\n%s\n", lines[i][0]);
        const char *path = file_of("bad.jsonl", text);
        refused(path, (sluice_eval_task_options){0}, SLUICE_BAD_INPUT, lines[i][1]);
        refused(path, (sluice_eval_task_options){0}, SLUICE_BAD_INPUT, "bad.jsonl: line 2: ");
    }
    refused(file_of("empty.jsonl", ""), (sluice_eval_task_options){0}, SLUICE_BAD_INPUT, "empty");
    refused(folders_path(folder, "none"), (sluice_eval_task_options){0}, SLUICE_NOT_FOUND, "none");
}

static void a_question_longer_than_the_context_is_refused(void **state)
{
    (void)state;
    enum { WORDS = 1100 };
    char *text = malloc(3 * WORDS + 64), *at = text;
    assert_non_null(text);
    at += sprintf(at, "{\"answer\": \"b\", \"question\": \"");
    for (int i = 0; i < WORDS; i++)
        at += sprintf(at, "a 7");
    sprintf(at, "\"}\n");
    refused(file_of("much.jsonl", text), (sluice_eval_task_options){0}, SLUICE_LIMIT,
            "much.jsonl: line 1: ");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_right_if_equal_but_for_white_space_around),
        cmocka_unit_test(a_call_is_right_if_name_and_arguments_are),
        cmocka_unit_test(nano_answers_as_it_does_alone_however_many_are_asked),
        cmocka_unit_test(answers_that_do_not_end_are_cut),
        cmocka_unit_test(thinking_comes_before_the_answer),
        cmocka_unit_test(a_run_goes_on_where_its_log_ends),
        cmocka_unit_test(a_log_of_another_run_is_refused),
        cmocka_unit_test(a_bad_line_is_named_before_anything_runs),
        cmocka_unit_test(a_question_longer_than_the_context_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
