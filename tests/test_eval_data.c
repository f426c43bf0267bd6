/* What data sets are read from: CSV, JSONL, gzip; and the number that an answer ends with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/csv.h"
#include "eval/data_file.h"
#include "eval/json_lines.h"
#include "eval/last_number.h"
#include "support/engines.h"
#include "support/folders.h"

/* Reads a text's records; the fields of all of them joined with "|", records with "/". */
static sluice_status read_csv(const char *text, char *joined, sluice_error *err)
{
    char *copy = strdup(text);
    sluice_csv csv = sluice_csv_open("x.csv", copy, strlen(text));
    sluice_csv_record record;
    bool more = true;
    sluice_status status;
    *joined = '\0';
    while ((status = sluice_csv_next(&csv, &record, &more, err)) == SLUICE_OK && more) {
        for (int32_t i = 0; i < record.count; i++) {
            strcat(joined, record.fields[i].text);
            strcat(joined, i + 1 < record.count ? "|" : "/");
        }
    }
    free(copy);
    return status;
}

static void csv_is_read_as_rfc_4180_has_it(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a,b\n", "a|b/"},
        {"a,b", "a|b/"},
        {"a,b\r\nc,d\r\n", "a|b/c|d/"},
        {"\"a\",\"b,c\"\n", "a|b,c/"},
        {"\"say \"\"yes\"\"\",\"\"\n", "say \"yes\"|/"},
        {"\"two\nlines\",x\ny,z\n", "two\nlines|x/y|z/"},
        {",\n", "|/"},
        {"a,", "a|/"},
        {"\xef\xbb\xbf"
         "a, b \n",
         "a| b /"},
    };
    char joined[256];
    sluice_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (read_csv(cases[i][0], joined, &err) != SLUICE_OK) fail_msg("%zu: %s", i, err.detail);
        assert_string_equal(joined, cases[i][1]);
    }
}

static void csv_that_is_none_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a,b\nc,\"d\n\ne\n", "x.csv: line 2: a quote is opened and never closed"},
        {"a\n\"b\nc\" d,e\n", "x.csv: line 3: text behind a closing quote"},
        {"a,b\nc d\"e\n", "x.csv: line 2: a quote within a field"},
        {"a\rb\n", "x.csv: line 1: a carriage return"},
        {",,,,,,,,,,,,,,,,,,,\n", "x.csv: line 1: more columns"},
    };
    char joined[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_error err = {0};
        assert_int_equal(read_csv(cases[i][0], joined, &err), SLUICE_BAD_INPUT);
        if (!strstr(err.detail, cases[i][1])) fail_msg("'%s'", err.detail);
    }
    char nul[] = {'a', '\0', 'b', ',', 'c', '\n', '\0'};
    sluice_csv csv = sluice_csv_open("x.csv", nul, sizeof nul - 1);
    sluice_csv_record record;
    bool more;
    sluice_error err = {0};
    assert_int_equal(sluice_csv_next(&csv, &record, &more, &err), SLUICE_BAD_INPUT);
    assert_string_equal(err.detail, "x.csv: line 1: a NUL byte");
}

static void gzip_is_inflated_whatever_its_name(void **state)
{
    (void)state;
    char *plain, *inflated, *packed;
    size_t n, m, bytes;
    assert_int_equal(sluice_data_load(engines_source_path("tests/data/benchmarks/humaneval.jsonl"),
                                      &plain, &n, NULL),
                     SLUICE_OK);
    const char *path = engines_source_path("tests/data/benchmarks/humaneval.jsonl.gz");
    assert_int_equal(sluice_data_load(path, &inflated, &m, NULL), SLUICE_OK);
    assert_int_equal(n, m);
    assert_memory_equal(plain, inflated, n);
    free(inflated);
    packed = folders_load(path, &bytes);

    /* Two members are one text after the other. */
    char *twice = malloc(2 * bytes);
    assert_non_null(twice);
    memcpy(twice, packed, bytes);
    memcpy(twice + bytes, packed, bytes);
    assert_int_equal(sluice_data_inflate("x", twice, 2 * bytes, &inflated, &m, NULL), SLUICE_OK);
    assert_int_equal(m, 2 * n);
    free(inflated);
    free(twice);

    sluice_error err = {0};
    for (size_t cut = 0; cut < bytes; cut += 7) {
        assert_int_equal(sluice_data_inflate("x.gz", packed, cut, &inflated, &m, &err),
                         SLUICE_BAD_INPUT);
        assert_non_null(strstr(err.detail, "x.gz: "));
        assert_non_null(strstr(err.detail, "cut off"));
    }
    packed[bytes - 6] ^= 1; /* of the checksum */
    assert_int_equal(sluice_data_inflate("x.gz", packed, bytes, &inflated, &m, &err),
                     SLUICE_BAD_INPUT);
    assert_non_null(strstr(err.detail, "damaged"));
    packed[bytes - 6] ^= 1;
    packed[12] ^= 0xff;
    assert_int_equal(sluice_data_inflate("x.gz", packed, bytes, &inflated, &m, &err),
                     SLUICE_BAD_INPUT);
    free(packed);
    free(plain);
}

static sluice_status count_line(void *context, const sluice_json_line *line, sluice_error *err)
{
    int *lines = context;
    (void)err;
    assert_int_equal(line->number, ++*lines);
    return SLUICE_OK;
}

static void lines_of_json_are_counted_and_named(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{}\n{\"a\": 1", "x.jsonl: line 2: "},
        {"{}\n\n{}\n", "x.jsonl: line 2: empty"},
        {"{}\n{}\n[]\n", "x.jsonl: line 3: not a JSON object"},
        {"{\"a\": 1, \"a\": 2}\n", "x.jsonl: line 1: duplicate"},
        {"{\"a\": \"\xff\"}\n", "x.jsonl: line 1: "},
        {"{} {}\n", "x.jsonl: line 1: "},
    };
    int lines = 0;
    assert_int_equal(
        sluice_json_lines_read("x.jsonl", "{}\r\n{}\n{}", 9, 0, count_line, &lines, NULL),
        SLUICE_OK);
    assert_int_equal(lines, 3);
    lines = 0;
    assert_int_equal(
        sluice_json_lines_read("x.jsonl", "{}\n{}\nno", 8, 2, count_line, &lines, NULL), SLUICE_OK);
    assert_int_equal(lines, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sluice_error err = {0};
        lines = 0;
        assert_int_equal(sluice_json_lines_read("x.jsonl", bad[i][0], strlen(bad[i][0]), 0,
                                                count_line, &lines, &err),
                         SLUICE_BAD_INPUT);
        if (strncmp(err.detail, bad[i][1], strlen(bad[i][1])) != 0) fail_msg("'%s'", err.detail);
    }
}

static void the_last_number_of_an_answer_counts_by_its_value(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"18", "18"},
        {"The answer is 18.", "18"},
        {"She earns $18.00 every day.", "18"},
        {"That makes $1,234,567.", "1234567"},
        {"3 + 4 = 7 apples", "7"},
        {"It is 70% of them", "70"},
        {"-5", "-5"},
        {"-$5.50", "-5.5"},
        {"007", "7"},
        {"0.50 cups", "0.5"},
        {".5", "0.5"},
        {"-0", "0"},
        {"0.0", "0"},
        {"100", "100"},
        {"100...", "100"},
        {"#### 1,200", "1200"},
        {"**42**", "42"},
        {"\\boxed{42}", "42"},
    };
    char number[SLUICE_NUMBER_BYTES], many[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!sluice_last_number(cases[i][0], strlen(cases[i][0]), number))
            fail_msg("'%s': none", cases[i][0]);
        assert_string_equal(number, cases[i][1]);
    }
    assert_false(sluice_last_number("", 0, number));
    assert_false(sluice_last_number("none, $.", 8, number));
    memset(many, '7', sizeof many);
    assert_false(sluice_last_number(many, sizeof many, number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_is_read_as_rfc_4180_has_it),
        cmocka_unit_test(csv_that_is_none_is_refused_with_its_line),
        cmocka_unit_test(gzip_is_inflated_whatever_its_name),
        cmocka_unit_test(lines_of_json_are_counted_and_named),
        cmocka_unit_test(the_last_number_of_an_answer_counts_by_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
