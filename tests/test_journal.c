/* The log of a run and its curve. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/folders.h"
#include "train/journal.h"

static char dir[FOLDERS_PATH_MAX];

static void add(sluice_journal *journal, int32_t step, double loss, double validation)
{
    const sluice_train_progress p = {.step = step,
                                     .steps = 9,
                                     .loss = loss,
                                     .gradient_norm = 0.5,
                                     .rate = 1e-3,
                                     .validation_loss = validation,
                                     .tokens = 100,
                                     .targets = 40,
                                     .seconds = 0.25,
                                     .tokens_per_s = 400,
                                     .bytes_read = 1u << 20};
    assert_int_equal(sluice_journal_add(journal, &p, NULL), SLUICE_OK);
}

static sluice_journal open_journal(int32_t keep)
{
    sluice_journal journal;
    sluice_error err = {0};
    if (sluice_journal_open(dir, keep, &journal, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return journal;
}

static int lines_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

static void a_run_that_goes_on_keeps_its_checkpoints_lines(void **state)
{
    const char *log = folders_path(dir, "log.jsonl");
    sluice_journal journal = open_journal(0);
    (void)state;
    add(&journal, 1, 3.0, (double)NAN);
    add(&journal, 2, 2.5, 2.75);
    add(&journal, 3, 2.0, (double)NAN);
    add(&journal, 4, 1.5, (double)NAN);
    sluice_journal_close(&journal);
    char *text = folders_load(log, NULL);
    assert_non_null(strstr(text, "{\"step\": 2, \"loss\": 2.5, \"validation_loss\": 2.75, "
                                 "\"gradient_norm\": 0.5, \"rate\": 0.001, \"tokens\": 100, "
                                 "\"targets\": 40, \"seconds\": 0.250, \"tokens_per_second\": "
                                 "400.0, \"bytes_read\": 1048576}\n"));
    assert_non_null(strstr(text, "\"step\": 1, \"loss\": 3, \"validation_loss\": null"));
    assert_int_equal(lines_of(text), 4);
    /* Killed while it wrote. */
    char *torn = malloc(strlen(text) + 32);
    strcat(strcpy(torn, text), "{\"step\": 5, \"los");
    folders_save(log, torn, strlen(torn));
    free(torn);
    free(text);

    journal = open_journal(3);
    assert_int_equal(journal.n, 3);
    assert_true(journal.points[1].validation == 2.75 && isnan(journal.points[2].validation));
    add(&journal, 4, 1.25, (double)NAN);
    sluice_journal_close(&journal);
    text = folders_load(log, NULL);
    assert_int_equal(lines_of(text), 4);
    assert_non_null(strstr(text, "\"step\": 4, \"loss\": 1.25"));
    assert_null(strstr(text, "\"step\": 5"));
    free(text);

    journal = open_journal(0); /* a new run */
    assert_int_equal(journal.n, 0);
    sluice_journal_close(&journal);
    assert_int_equal(folders_file_bytes(log), 0);
}

static void the_curve_has_every_step_and_every_validation(void **state)
{
    sluice_journal journal = open_journal(0);
    (void)state;
    assert_int_equal(sluice_journal_draw(&journal, "empty", NULL), SLUICE_OK);
    for (int32_t i = 1; i <= 9; i++)
        add(&journal, i, 4.0 / i, i % 3 ? (double)NAN : 1.0);
    assert_int_equal(sluice_journal_draw(&journal, "a < b & c", NULL), SLUICE_OK);
    char *svg = folders_load(folders_path(dir, "loss.svg"), NULL);
    assert_memory_equal(svg, "<svg ", 5);
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    assert_non_null(strstr(svg, "a &lt; b &amp; c"));
    assert_int_equal(count(svg, "<polyline"), 3);
    assert_int_equal(count(svg, "<circle"), 3);
    /* Nine points, from the left edge to the right one; the first is the highest. */
    const char *points = strstr(svg, "<polyline points=\"") + 18;
    double x[10], y[10];
    for (int i = 0; i < 9; i++) {
        char *end;
        x[i] = strtod(points, &end);
        assert_int_equal(*end, ',');
        y[i] = strtod(end + 1, &end);
        points = end;
        assert_true(i == 0 || (x[i] > x[i - 1] && y[i] > y[i - 1]));
    }
    assert_true(x[0] == 64.0 && x[8] == 776.0 && y[0] == 119.2);
    assert_non_null(strstr(svg, ">5</text>")); /* losses up to 4: ticks of 1 */
    free(svg);
    sluice_journal_close(&journal);
}

static int set_up(void **state)
{
    (void)state;
    folders_make(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folders_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_goes_on_keeps_its_checkpoints_lines),
        cmocka_unit_test(the_curve_has_every_step_and_every_validation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
