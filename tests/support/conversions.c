/* See conversions.h. */
#include "support/conversions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "support/folders.h"

static char folder[FOLDERS_PATH_MAX];

int conversions_setup(void **state)
{
    (void)state;
    folders_make(folder);
    return 0;
}

int conversions_teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

const char *conversions_path(const char *name)
{
    return folders_path(folder, name);
}

void conversions_run(const char *source, const char *out, const sluice_convert_options *options)
{
    sluice_error err = {0};
    if (sluice_convert(source, out, options, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

void conversions_assert_refused(const char *source, const char *out,
                                const sluice_convert_options *options, sluice_status want,
                                const char *words)
{
    sluice_error err = {0};
    assert_int_equal(sluice_convert(source, out, options, &err), want);
    assert_int_equal(err.code, want);
    if (!strstr(err.detail, words)) fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
    assert_null(strchr(err.detail, '\n'));
}

void conversions_verify(const char *out)
{
    sluice_error err = {0};
    sluice_verify_report report;
    if (sluice_verify(out, NULL, &report, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    assert_true(report.tensors > 0 && report.records > 0);
    assert_int_equal(report.tensors_bad + report.records_bad, 0);
}

const char *conversions_source(const char *name, random_source source)
{
    const char *dir = conversions_path(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    random_source_write(&source, dir);
    return dir;
}

random_source conversions_usual(void)
{
    return (random_source){.bits = 4,
                           .group = 64,
                           .dtype = "BF16",
                           .layout = RANDOM_STACKED,
                           .mlx = true,
                           .shards = 3,
                           .mtp_layers = 1,
                           .seed = 7};
}
