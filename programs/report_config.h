/* What "sluice report" compares: a list of settings, and what is measured of each.
 *
 * A file of JSON; several are one after the other: their settings together, anything else in one of
 * them alone. Paths are relative to the file's folder. doc/levers.md describes the members. */
#ifndef SLUICE_PROGRAMS_REPORT_CONFIG_H
#define SLUICE_PROGRAMS_REPORT_CONFIG_H

#include <stdint.h>

#include "options.h"

enum { REPORT_SETTINGS_MAX = 64, REPORT_TASKS_MAX = 24, REPORT_WORDS_MAX = 64 };

/* Words of a command line; owned. */
typedef struct report_words {
    char *at[REPORT_WORDS_MAX];
    int n;
} report_words;

typedef struct report_setting {
    char *name;
    char *model;                 /* NULL: the command line's */
    report_words flags, convert; /* of the engine; of convert, none: as it is */
} report_setting;

typedef struct report_task {
    char *name, *verb; /* "tasks", "mmlu", ... */
    report_words files, flags;
} report_task;

typedef struct report_config {
    char *title;
    report_words texts;
    report_words text_flags, kld_flags, bench_flags, flags; /* flags: of everything */
    int32_t rounds;                                         /* of bench; 0: none */
    report_setting settings[REPORT_SETTINGS_MAX];
    report_task tasks[REPORT_TASKS_MAX];
    int32_t n_settings, n_tasks;
} report_config;

/* Tells what is wrong; an exit status. Release with report_config_free in any case. */
int report_config_read(const cli_list *files, report_config *out);
void report_config_free(report_config *config);

/* false: there is no room or no memory. */
bool report_words_add(report_words *words, const char *word);
bool report_words_append(report_words *words, const report_words *more);
void report_words_free(report_words *words);

#endif
