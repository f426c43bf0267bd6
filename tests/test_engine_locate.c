/* What a model argument means, and that a source is converted once, whoever asks for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/locate.h"
#include "os/file.h"
#include "os/folder.h"
#include "support/engines.h"

static char cache[64], source[128];

static int make_source(void **state)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    (void)state;
    snprintf(cache, sizeof cache, "/tmp/sluice-locate-%d", (int)getpid());
    snprintf(source, sizeof source, "%s/my model", cache);
    assert_int_equal(sluice_folder_make(source, NULL), SLUICE_OK);
    setenv("XDG_CACHE_HOME", cache, 1);
    for (size_t i = 0; i < 3; i++) {
        char *from =
            sluice_file_join(engines_source_path("tests/data/tiny/mlx-8bit-g32"), files[i]);
        char *to = sluice_file_join(source, files[i]), *bytes;
        size_t n;
        assert_int_equal(sluice_file_load(from, (size_t)1 << 30, &bytes, &n, NULL), SLUICE_OK);
        assert_int_equal(sluice_file_save(to, bytes, n, NULL), SLUICE_OK);
        free(bytes);
        free(from);
        free(to);
    }
    return 0;
}

static int remove_source(void **state)
{
    (void)state;
    return sluice_folder_remove_tree(cache, NULL) == SLUICE_OK ? 0 : -1;
}

typedef struct notes {
    int lines;
    char line[1024];
    int progress;
} notes;

static void note(void *context, const char *line)
{
    notes *n = context;
    n->lines++;
    snprintf(n->line, sizeof n->line, "%s", line);
}

static bool count_progress(void *context, const sluice_convert_progress *progress)
{
    (void)progress;
    ((notes *)context)->progress++;
    return true;
}

static char *locate(const char *model, notes *n)
{
    sluice_engine_options options = engines_options();
    sluice_error err = {0};
    char *path = NULL;
    options.notice = note;
    options.progress = count_progress;
    options.callback_context = n;
    if (sluice_model_locate(model, &options, &path, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return path;
}

static void a_source_is_converted_once_after_saying_so(void **state)
{
    (void)state;
    notes first = {0}, second = {0}, third = {0};
    char *path = locate(source, &first), *again = locate(source, &second);
    assert_int_equal(first.lines, 1);
    assert_true(first.progress > 0);
    assert_non_null(strstr(first.line, "my model"));
    assert_non_null(strstr(first.line, path));
    assert_non_null(strstr(first.line, "GB"));
    assert_int_equal(second.lines, 0);
    assert_string_equal(path, again);
    assert_int_equal(strncmp(path, cache, strlen(cache)), 0);
    assert_int_equal(sluice_model_kind_of(path), SLUICE_MODEL_CONTAINER);
    free(again);
    /* A container is itself. */
    again = locate(path, &third);
    assert_string_equal(path, again);
    assert_int_equal(third.lines, 0);
    free(again);
    free(path);
}

static void a_source_that_changed_is_converted_anew(void **state)
{
    (void)state;
    notes n = {0};
    char *before = locate(source, &n), *config = sluice_file_join(source, "config.json"), *text;
    size_t bytes;
    assert_int_equal(sluice_file_load(config, (size_t)1 << 20, &text, &bytes, NULL), SLUICE_OK);
    assert_int_equal(sluice_file_save(config, text, bytes, NULL), SLUICE_OK);
    free(text);
    char *after = locate(source, &n);
    assert_string_not_equal(before, after);
    free(before);
    free(after);
    free(config);
}

static void processes_that_want_the_same_model_share_one_conversion(void **state)
{
    (void)state;
    enum { PROCESSES = 6 };
    pid_t children[PROCESSES];
    notes n = {0};
    char *path = locate(source, &n);
    assert_int_equal(sluice_folder_remove_tree(path, NULL), SLUICE_OK);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            notes own = {0};
            sluice_engine_options options = sluice_engine_options_default();
            char *found;
            options.notice = note;
            options.callback_context = &own;
            if (sluice_model_locate(source, &options, &found, NULL) != SLUICE_OK) _exit(100);
            _exit(strcmp(found, path) == 0 ? own.lines : 101);
        }
    }
    int conversions = 0;
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_in_range(WEXITSTATUS(status), 0, 1);
        conversions += WEXITSTATUS(status);
    }
    assert_int_equal(conversions, 1);
    free(path);
}

static void nothing_there_is_said_with_its_path(void **state)
{
    (void)state;
    sluice_error err = {0};
    char *path;
    assert_int_equal(sluice_model_locate("/no/such/model", NULL, &path, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/no/such/model"));
    assert_int_equal(sluice_model_locate("/tmp", NULL, &path, &err), SLUICE_NOT_FOUND);
}

static void no_model_is_nano(void **state)
{
    (void)state;
    char *path;
    assert_int_equal(sluice_locate_nano(&path, NULL), SLUICE_OK);
    assert_non_null(strstr(path, "models/nano"));
    free(path);
}

static void without_a_place_for_conversions_it_says_what_to_do(void **state)
{
    (void)state;
    sluice_error err = {0};
    char *path, *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(sluice_model_locate(source, NULL, &path, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "XDG_CACHE_HOME"));
    setenv("XDG_CACHE_HOME", cache, 1);
    if (home) setenv("HOME", home, 1);
    free(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_is_converted_once_after_saying_so),
        cmocka_unit_test(a_source_that_changed_is_converted_anew),
        cmocka_unit_test(processes_that_want_the_same_model_share_one_conversion),
        cmocka_unit_test(nothing_there_is_said_with_its_path),
        cmocka_unit_test(no_model_is_nano),
        cmocka_unit_test(without_a_place_for_conversions_it_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, make_source, remove_source);
}
