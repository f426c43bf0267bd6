/* What a command says and where: results to stdout, everything else to stderr as "sluice: ...".
 * Writing to stdout is checked once, at the end (or when it matters, by cli_output_flush). */
#ifndef SLUICE_PROGRAMS_OUTPUT_H
#define SLUICE_PROGRAMS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* One sentence on stderr. Return CLI_FAILED, CLI_USAGE and CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_fail_error(const sluice_error *err);

/* One remark on stderr, not an error. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints value as one line of JSON (numbers with 12 digits) and releases it. A NULL value, which is
 * what jansson gives when memory runs out, is reported. Returns an exit status. */
int cli_output_json(json_t *value);

/* Flushes stdout; CLI_FAILED once anything could not be written. finish also says so, unless it is
 * that the reader went away, which is worth no message. */
int cli_output_flush(void);
int cli_output_finish(void);

/* "7.1 MB", "223 GB": decimal units, as disks are sold. */
typedef struct cli_human {
    char text[48];
} cli_human;
cli_human cli_human_bytes(uint64_t bytes);
cli_human cli_human_seconds(double seconds); /* "1.2 s", "3 min 20 s", "2 h 5 min" */

/* A line on stderr that is drawn over itself on a terminal and, elsewhere, printed only when
 * last. Does nothing when quiet. */
typedef struct cli_progress {
    bool quiet;
    bool shown; /* something is on the line */
} cli_progress;
void cli_progress_show(cli_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_progress_clear(cli_progress *progress);

#endif
