/* A measurement of a report: this program run again with other arguments, and what it printed.
 *
 * Every engine is thus a process of its own: memory is measured apart, any flag works, and a
 * measurement that was done is a file, which is why a report goes on where it was stopped. The
 * file's name is a hash of the arguments, the program's version and the size and time of every file
 * named. */
#ifndef SLUICE_PROGRAMS_REPORT_STEP_H
#define SLUICE_PROGRAMS_REPORT_STEP_H

#include <jansson.h>

#include "report_config.h"

/* The hash of a command line and of the files in it (those below `work` by name alone). */
uint64_t report_step_hash(const report_words *arguments, const char *work);

/* The JSON that `sluice ARGUMENTS --json --quiet` prints, from work/KIND-HASH.json if it is there.
 * Tells what went wrong; an exit status. */
int report_step_run(const report_words *arguments, const char *work, const char *kind,
                    json_t **result);

/* Runs `sluice ARGUMENTS --quiet` for what it leaves behind. */
int report_step_make(const report_words *arguments);

#endif
