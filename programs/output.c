/* Output of all commands; see output.h. */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void say(const char *format, va_list args)
{
    fflush(stdout); /* what was printed before stays before, when both are the same terminal */
    fputs("sluice: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_USAGE;
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int cli_fail_error(const sluice_error *err)
{
    return cli_fail("%s", err->detail[0] ? err->detail : sluice_status_text(err->code));
}

int cli_output_json(json_t *value)
{
    if (!value) return cli_fail("out of memory while writing JSON");
    int status = json_dumpf(value, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(value);
    if (status != 0 && !ferror(stdout)) return cli_fail("the result could not be written as JSON");
    putchar('\n');
    return cli_output_finish();
}

static int write_error; /* errno of the first write to stdout that failed */

int cli_output_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    if (write_error == 0) write_error = errno ? errno : EIO;
    return CLI_FAILED;
}

int cli_output_finish(void)
{
    if (cli_output_flush() == CLI_OK) return CLI_OK;
    if (write_error == EPIPE) return CLI_FAILED;
    return cli_fail("standard output could not be written: %s", strerror(write_error));
}

cli_human cli_human_bytes(uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    cli_human human;
    double value = (double)bytes / 1000;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(human.text, sizeof human.text, "%u bytes", (unsigned)bytes);
        return human;
    }
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(human.text, sizeof human.text,
             value < 9.95   ? "%.2f %s"
             : value < 99.5 ? "%.1f %s"
                            : "%.0f %s",
             value, units[unit]);
    return human;
}

cli_human cli_human_seconds(double seconds)
{
    cli_human human;
    if (!(seconds >= 0)) seconds = 0;
    if (seconds > 1e9) seconds = 1e9;
    long whole = lround(seconds);
    if (seconds < 9.95)
        snprintf(human.text, sizeof human.text, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(human.text, sizeof human.text, "%ld s", whole);
    else if (whole < 3600)
        snprintf(human.text, sizeof human.text, "%ld min %ld s", whole / 60, whole % 60);
    else
        snprintf(human.text, sizeof human.text, "%ld h %ld min", whole / 3600, whole % 3600 / 60);
    return human;
}

void cli_progress_show(cli_progress *progress, const char *format, ...)
{
    va_list args;
    if (progress->quiet || !isatty(STDERR_FILENO)) return;
    fputs("\r\033[K", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
    progress->shown = true;
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->shown) fputs("\r\033[K", stderr);
    progress->shown = false;
}
