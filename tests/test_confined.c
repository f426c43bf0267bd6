/* Programs that nobody has read: what they can still do, and how their end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/confined.h"
#include "support/folders.h"

static char folder[FOLDERS_PATH_MAX], outside[FOLDERS_PATH_MAX];
static const sluice_confined_limits limits = {
    .seconds = 60, .memory_bytes = (uint64_t)256 << 20, .file_bytes = 1 << 16};

static int make_all(void **state)
{
    (void)state;
    folders_make(folder);
    folders_make(outside);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    folders_remove(folder);
    folders_remove(outside);
    return 0;
}

static sluice_confined_result shell_with(const char *script, const sluice_confined_limits *l)
{
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
    sluice_confined_result result;
    sluice_error err = {0};
    if (sluice_confined_run(folder, argv, l, &result, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return result;
}

static sluice_confined_result shell(const char *script)
{
    return shell_with(script, &limits);
}

/* Python for what a shell cannot do by itself; skips the test where there is none. */
static sluice_confined_result python(const char *script)
{
    static const char path[] = "/usr/bin/python3";
    char *const argv[] = {(char *)path, (char *)"-I", (char *)"-c", (char *)script, NULL};
    sluice_confined_result result;
    sluice_error err = {0};
    if (access(path, X_OK)) {
        print_message("SKIPPED: no %s\n", path);
        skip();
    }
    if (sluice_confined_run(folder, argv, &limits, &result, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return result;
}

static void assert_end(sluice_confined_result result, sluice_confined_end end, int code)
{
    if (result.end != end || result.code != code)
        fail_msg("end %d, code %d, output '%s'", (int)result.end, result.code, result.output);
}

static void the_end_of_a_program_is_told(void **state)
{
    (void)state;
    assert_end(shell("exit 0"), SLUICE_CONFINED_EXIT, 0);
    assert_end(shell("exit 3"), SLUICE_CONFINED_EXIT, 3);
    sluice_confined_result result = shell("echo first >&2; echo last >&2; exit 1");
    assert_string_equal(result.output, "last");
    char *const absent[] = {(char *)"/bin/no-such-program", NULL};
    sluice_error err = {0};
    assert_int_equal(sluice_confined_run(folder, absent, &limits, &result, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "no-such-program"));
    assert_end(python("import os; os.abort()"), SLUICE_CONFINED_SIGNAL, 6);
}

static void it_starts_in_its_folder_with_an_empty_environment(void **state)
{
    (void)state;
    setenv("A_SECRET_OF_THE_USER", "yes", 1);
    assert_end(shell("test -z \"$A_SECRET_OF_THE_USER\" && test \"$HOME\" = \"$PWD\" && echo x >f"),
               SLUICE_CONFINED_EXIT, 0);
    assert_true(folders_exists(folders_path(folder, "f")));
}

static void files_outside_of_its_folder_cannot_be_changed(void **state)
{
    (void)state;
    bool guarded;
    char script[2048];
    sluice_error err = {0};
    if (sluice_confined_check(&guarded, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    if (!guarded) {
        print_message("SKIPPED: this kernel has no Landlock\n");
        skip();
    }
    folders_save(folders_path(outside, "mine"), "mine", 4);
    static const char *const attempts[] = {": >$o/made",          ": >$o/mine",
                                           "echo x >>$o/mine",    "exec rm $o/mine",
                                           "exec mv $o/mine f2",  "exec ln -s /etc/passwd $o/link",
                                           "exec mkdir $o/folder"};
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        snprintf(script, sizeof script, "o=%s; %s", outside, attempts[i]);
        assert_true(shell(script).code != 0);
    }
    size_t bytes;
    char *text = folders_load(folders_path(outside, "mine"), &bytes);
    assert_int_equal(bytes, 4);
    assert_memory_equal(text, "mine", 4);
    free(text);
}

static void the_network_and_other_processes_are_out_of_reach(void **state)
{
    (void)state;
    char script[256];
    sluice_confined_result result = python("import socket; socket.socket()");
    assert_end(result, SLUICE_CONFINED_EXIT, 1);
    assert_non_null(strstr(result.output, "PermissionError"));
    result = python("import socket; socket.socketpair()");
    assert_non_null(strstr(result.output, "PermissionError"));
    snprintf(script, sizeof script, "import os; os.kill(%ld, 0)", (long)getpid());
    assert_non_null(strstr(python(script).output, "PermissionError"));
    assert_non_null(strstr(python("import os; os.fork()").output, "PermissionError"));
    assert_non_null(strstr(python("import subprocess; subprocess.run(['/bin/true'])").output,
                           "PermissionError"));
    /* Threads are its own matter. */
    assert_end(python("import threading as t; x = t.Thread(target=print); x.start(); x.join()"),
               SLUICE_CONFINED_EXIT, 0);
}

static void time_memory_and_files_are_limited(void **state)
{
    (void)state;
    sluice_confined_limits brief = limits;
    brief.seconds = 1;
    assert_int_equal(shell_with("while :; do :; done", &brief).end, SLUICE_CONFINED_TIME);
    assert_int_equal(shell_with("exec sleep 60", &brief).end, SLUICE_CONFINED_TIME);
    assert_int_equal(shell_with("exec 2>/dev/null; exec sleep 60", &brief).end,
                     SLUICE_CONFINED_TIME);
    assert_string_equal(python("x = bytearray(1 << 30)").output, "MemoryError");
    assert_non_null(strstr(python("open('big', 'wb').write(bytes(1 << 20))").output, "OSError"));
    assert_true(folders_file_bytes(folders_path(folder, "big")) <= 1 << 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_program_is_told),
        cmocka_unit_test(it_starts_in_its_folder_with_an_empty_environment),
        cmocka_unit_test(files_outside_of_its_folder_cannot_be_changed),
        cmocka_unit_test(the_network_and_other_processes_are_out_of_reach),
        cmocka_unit_test(time_memory_and_files_are_limited),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
