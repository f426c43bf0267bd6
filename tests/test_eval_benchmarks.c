/* MMLU, GSM8K and HumanEval on Nano, from small files in their official forms: what is asked, what
 * counts as right, and files that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "eval/task.h"
#include "sluice/benchmarks.h"
#include "support/engines.h"
#include "support/folders.h"

enum { BATCH = 3 };

static sluice_engine *engine;
static char folder[FOLDERS_PATH_MAX];

static int open_all(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = 1024;
    options.sessions = BATCH + 1;
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

static const char *data(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/benchmarks/%s", name);
    return engines_source_path(path);
}

static const char *file_of(const char *name, const char *text)
{
    const char *path = folders_path(folder, name);
    folders_save(path, text, strlen(text));
    return path;
}

/* ---- MMLU ---- */

static void ask_mmlu(const char *split, int32_t shots, const sluice_eval_task_options *options,
                     sluice_mmlu *out)
{
    sluice_error err = {0};
    if (sluice_eval_mmlu(engine, data("mmlu"), split, shots, options, out, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
}

static void mmlu_has_subjects_groups_and_averages(void **state)
{
    (void)state;
    sluice_mmlu mmlu;
    sluice_eval_task_options options = {.batch = BATCH};
    ask_mmlu("test", -1, &options, &mmlu);
    assert_int_equal(mmlu.n_subjects, 3);
    assert_string_equal(mmlu.subjects[0].name, "abstract_algebra");
    assert_string_equal(mmlu.subjects[1].name, "high_school_geography");
    assert_string_equal(mmlu.subjects[2].name, "made_up");
    assert_string_equal(sluice_mmlu_group_name(mmlu.subjects[0].group), "STEM");
    assert_string_equal(sluice_mmlu_group_name(mmlu.subjects[1].group), "social sciences");
    assert_string_equal(sluice_mmlu_group_name(mmlu.subjects[2].group), "unlisted");
    assert_int_equal(mmlu.subjects[0].score.items, 2);
    assert_int_equal(mmlu.subjects[1].score.items, 3);
    assert_int_equal(mmlu.all.items, 6);
    int32_t right = 0;
    double mean = 0;
    for (int i = 0; i < 3; i++) {
        right += mmlu.subjects[i].score.right;
        mean += mmlu.subjects[i].score.accuracy.value / 3;
    }
    assert_int_equal(mmlu.all.right, right);
    assert_true(mmlu.subjects_mean > mean - 1e-12 && mmlu.subjects_mean < mean + 1e-12);
    assert_int_equal(mmlu.groups[mmlu.subjects[1].group].items, 3);
    sluice_mmlu_free(&mmlu);
    ask_mmlu("val", 2, &options, &mmlu);
    assert_int_equal(mmlu.all.items, 1);
    sluice_mmlu_free(&mmlu);
}

/* The likeliest of four letters after text. */
static int likeliest_letter(const char *text)
{
    static const char *const letters[] = {" A", " B", " C", " D"};
    const sluice_tokenizer *tokenizer = sluice_engine_tokenizer(engine);
    sluice_session *session = engines_session(engine);
    engines_rows rows = engines_rows_new(engine, 1);
    sluice_ids ids, letter;
    float best = 0;
    int answer = -1;
    assert_int_equal(
        sluice_tokenizer_encode(tokenizer, text, strlen(text), SLUICE_SPECIAL_NEVER, &ids, NULL),
        SLUICE_OK);
    sluice_input input = {session, ids.ids, (int32_t)ids.count, (int32_t)ids.count - 1};
    engines_step(engine, &input, 1, engines_rows_keep, &rows);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            sluice_tokenizer_encode(tokenizer, letters[i], 2, SLUICE_SPECIAL_NEVER, &letter, NULL),
            SLUICE_OK);
        assert_int_equal(letter.count, 1);
        if (answer < 0 || rows.logits[letter.ids[0]] > best) {
            best = rows.logits[letter.ids[0]];
            answer = i;
        }
        sluice_ids_free(&letter);
    }
    sluice_ids_free(&ids);
    engines_rows_free(&rows);
    sluice_session_close(session);
    return answer;
}

static void mmlu_asks_as_its_authors_do(void **state)
{
    (void)state;
    static const char prompt[] =
        "The following are multiple choice questions (with answers) about  high school "
        "geography.\n\n"
        "What is the capital of France?\nA. Paris\nB. Rome\nC. Madrid\nD. Berlin\nAnswer: A\n\n"
        "Which of these is a river?\nA. Everest\nB. Nile\nC. Sahara\nD. Baltic\nAnswer: B\n\n"
        "What is the capital of Spain?\nA. Madrid\nB. Lisbon\nC. Paris\nD. Rome\nAnswer:";
    const char *log = folders_path(folder, "mmlu.jsonl");
    sluice_mmlu mmlu;
    sluice_eval_task_options options = {.items_max = 1, .log = log};
    ask_mmlu("test", 2, &options, &mmlu);
    sluice_mmlu_free(&mmlu);
    size_t bytes;
    char expected[64], *text = folders_load(log, &bytes);
    snprintf(expected, sizeof expected, "{\"letter\":\"%c\",\"answer\":\"A\",\"shots\":2}",
             'A' + likeliest_letter(prompt));
    char *second = strstr(text, "geography_test.csv");
    assert_non_null(second);
    if (!strstr(second, expected)) fail_msg("no %s in %s", expected, second);
    free(text);
}

static void mmlu_gives_the_same_whatever_is_shared_or_batched(void **state)
{
    (void)state;
    sluice_mmlu one, many, resumed;
    const char *log = folders_path(folder, "resumed.jsonl");
    sluice_eval_task_options alone = {.batch = 1}, together = {.batch = BATCH, .log = log};
    ask_mmlu("test", -1, &alone, &one);
    ask_mmlu("test", -1, &together, &many);
    ask_mmlu("test", -1, &together, &resumed);
    assert_int_equal(resumed.all.resumed, 6);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(one.subjects[i].score.right, many.subjects[i].score.right);
        assert_int_equal(one.subjects[i].score.right, resumed.subjects[i].score.right);
    }
    sluice_mmlu_free(&one);
    sluice_mmlu_free(&many);
    sluice_mmlu_free(&resumed);
}

static void examples_that_do_not_fit_are_left_out(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.context = 128;
    sluice_engine *small = engines_open(NULL, &options);
    const char *log = folders_path(folder, "small.jsonl");
    sluice_eval_task_options asked = {.log = log, .items_max = 1};
    sluice_mmlu mmlu;
    sluice_error err = {0};
    if (sluice_eval_mmlu(small, data("mmlu"), "test", 5, &asked, &mmlu, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    sluice_mmlu_free(&mmlu);
    size_t bytes;
    char *text = folders_load(log, &bytes);
    assert_null(strstr(text, "\"shots\":5}"));
    assert_non_null(strstr(text, "\"shots\":2}"));
    free(text);
    sluice_engine_close(small);
}

static void mmlu_refused(const char *question, const char *words)
{
    sluice_eval_task_options options = {0};
    sluice_mmlu mmlu;
    sluice_error err = {0};
    char dir[FOLDERS_PATH_MAX + 8];
    snprintf(dir, sizeof dir, "%s/test", folder);
    mkdir(dir, 0755);
    file_of("test/x_test.csv", question);
    assert_int_equal(sluice_eval_mmlu(engine, folder, "test", 0, &options, &mmlu, &err),
                     SLUICE_BAD_INPUT);
    if (!strstr(err.detail, words)) fail_msg("'%s' without '%s'", err.detail, words);
}

static void bad_questions_of_mmlu_are_named(void **state)
{
    (void)state;
    mmlu_refused("q,a,b,c,d,A\nq,a,b,c,A\n", "x_test.csv: line 2: 5 columns instead of 6");
    mmlu_refused("q,a,b,c,d,E\n", "x_test.csv: line 1: the answer must be A, B, C or D, not 'E'");
    mmlu_refused("q,a,b,c,d,A\nq,\"a\n,b,c,d,A\n", "x_test.csv: line 2: a quote is opened");
    mmlu_refused(",a,b,c,d,A\n", "x_test.csv: line 1: the question is empty");
    mmlu_refused("q,a,\xff,c,d,A\n", "x_test.csv: line 1: column 3 is not UTF-8");
    mmlu_refused("", "x_test.csv: empty");
    sluice_eval_task_options options = {0};
    sluice_mmlu mmlu;
    sluice_error err = {0};
    file_of("test/x_test.csv", "q,a,b,c,d,A\n");
    assert_int_equal(sluice_eval_mmlu(engine, folder, "test", 1, &options, &mmlu, &err),
                     SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "dev/x_dev.csv"));
    assert_int_equal(sluice_eval_mmlu(engine, folder, "val", 1, &options, &mmlu, &err),
                     SLUICE_NOT_FOUND);
    assert_int_equal(sluice_eval_mmlu(engine, data("mmlu"), "test", 6, &options, &mmlu, &err),
                     SLUICE_BAD_INPUT);
    assert_non_null(strstr(err.detail, "5 examples, and 6 are wanted"));
}

/* ---- GSM8K ---- */

static void gsm8k_takes_the_last_number(void **state)
{
    (void)state;
    const char *path = data("gsm8k.jsonl"), *log = folders_path(folder, "gsm8k.jsonl");
    sluice_eval_task_options options = {.batch = 2, .tokens_max = 64, .log = log};
    sluice_task_score all;
    sluice_error err = {0};
    if (sluice_eval_gsm8k(engine, &path, 1, &options, NULL, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(all.items, 2);
    size_t bytes;
    char *text = folders_load(log, &bytes);
    assert_non_null(strstr(text, "\"answer\":\"7\""));
    assert_non_null(strstr(text, "\"answer\":\"1200\""));
    free(text);
}

static void gsm8k_refused(const char *text, const char *words)
{
    const char *path = file_of("bad.jsonl", text);
    sluice_eval_task_options options = {0};
    sluice_task_score all;
    sluice_error err = {0};
    assert_int_equal(sluice_eval_gsm8k(engine, &path, 1, &options, NULL, &all, &err),
                     SLUICE_BAD_INPUT);
    if (!strstr(err.detail, words)) fail_msg("'%s' without '%s'", err.detail, words);
}

static void bad_lines_of_gsm8k_are_named(void **state)
{
    (void)state;
    gsm8k_refused("{\"question\": \"a\", \"answer\": \"7\"}\n", "bad.jsonl: line 1: \"answer\"");
    gsm8k_refused("{\"question\": \"a\", \"answer\": \"#### x\"}\n", "bad.jsonl: line 1: ");
    gsm8k_refused("{\"answer\": \"#### 7\"}\n", "line 1: \"question\" must be a text");
    gsm8k_refused("{\"question\": \"a\", \"answer\": \"#### 7\"}\n{\"question\"", "line 2: ");
    gsm8k_refused("\x1f\x8b\x08 no gzip file at all", "bad.jsonl: ");
    gsm8k_refused("", "bad.jsonl: empty");
}

/* ---- HumanEval ---- */

/* Skips the test where programs cannot be confined. */
static void need_python(void)
{
    sluice_code_limits limits = {0};
    bool guarded;
    sluice_error err = {0};
    if (sluice_code_check(&limits, &guarded, &err) == SLUICE_OK) return;
    print_message("SKIPPED: %s\n", err.detail);
    skip();
}

static sluice_task_score ask_humaneval(const char *path, const char *log, int32_t batch)
{
    sluice_code_limits limits = {0};
    sluice_eval_task_options options = {.batch = batch, .tokens_max = 24, .log = log};
    sluice_task_score all;
    sluice_error err = {0};
    if (sluice_eval_humaneval(engine, &path, 1, &limits, &options, NULL, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return all;
}

static void programs_pass_by_their_tests_alone(void **state)
{
    (void)state;
    need_python();
    const char *log = folders_path(folder, "humaneval.jsonl");
    sluice_task_score score = ask_humaneval(data("humaneval.jsonl.gz"), log, 2);
    assert_int_equal(score.items, 2);
    /* Nano cannot program, but the second prompt has all that its test asks for, unless what is
     * written behind it is no Python. */
    size_t bytes;
    char *text = folders_load(log, &bytes);
    assert_non_null(strstr(text, "\"task_id\":\"Hand/0\""));
    assert_non_null(strstr(text, "\"task_id\":\"Hand/1\""));
    free(text);
    sluice_task_score again =
        ask_humaneval(data("humaneval.jsonl"), folders_path(folder, "plain.jsonl"), 1);
    assert_int_equal(again.right, score.right);

    /* A prompt whose completion stands in a comment passes or not by its test alone. */
    const char *both = file_of(
        "both.jsonl", "{\"task_id\": \"a\", \"prompt\": \"def f():\\n    return 2\\n# \", "
                      "\"entry_point\": \"f\", \"test\": \"def check(c):\\n    assert c() == 2\"}\n"
                      "{\"task_id\": \"b\", \"prompt\": \"def f():\\n    return 2\\n# \", "
                      "\"entry_point\": \"f\", \"test\": \"def check(c):\\n    assert c() == 3\"}\n"
                      "{\"task_id\": \"c\", \"prompt\": \"def f():\\n    return 2\\n# \", "
                      "\"entry_point\": \"f\", \"test\": \"def check(c):\\n    import socket\\n    "
                      "socket.socket()\"}\n");
    log = folders_path(folder, "both.log");
    sluice_code_limits limits = {.seconds = 20};
    sluice_eval_task_options options = {.tokens_max = 1, .log = log};
    sluice_task_score all;
    sluice_error err = {0};
    if (sluice_eval_humaneval(engine, &both, 1, &limits, &options, NULL, &all, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    text = folders_load(log, &bytes);
    if (all.right != 1) fail_msg("%s", text);
    assert_non_null(strstr(text, "\"result\":\"passed\""));
    assert_non_null(strstr(text, "AssertionError"));
    assert_non_null(strstr(text, "PermissionError"));
    free(text);
}

static void bad_lines_and_interpreters_of_humaneval_are_named(void **state)
{
    (void)state;
    const char *path = file_of("code.jsonl", "{\"task_id\": \"a\", \"prompt\": \"def f():\"}\n");
    sluice_code_limits limits = {.python = "/no/python3"};
    sluice_eval_task_options options = {0};
    sluice_task_score all;
    sluice_error err = {0};
    assert_int_equal(sluice_eval_humaneval(engine, &path, 1, &limits, &options, NULL, &all, &err),
                     SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/no/python3"));
    need_python();
    limits.python = NULL;
    assert_int_equal(sluice_eval_humaneval(engine, &path, 1, &limits, &options, NULL, &all, &err),
                     SLUICE_BAD_INPUT);
    assert_non_null(strstr(err.detail, "code.jsonl: line 1: \"entry_point\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mmlu_has_subjects_groups_and_averages),
        cmocka_unit_test(mmlu_asks_as_its_authors_do),
        cmocka_unit_test(mmlu_gives_the_same_whatever_is_shared_or_batched),
        cmocka_unit_test(examples_that_do_not_fit_are_left_out),
        cmocka_unit_test(bad_questions_of_mmlu_are_named),
        cmocka_unit_test(gsm8k_takes_the_last_number),
        cmocka_unit_test(bad_lines_of_gsm8k_are_named),
        cmocka_unit_test(programs_pass_by_their_tests_alone),
        cmocka_unit_test(bad_lines_and_interpreters_of_humaneval_are_named),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
