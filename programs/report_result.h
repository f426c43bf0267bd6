/* What a report has measured: a row for each setting, from the JSON of its measurements. */
#ifndef SLUICE_PROGRAMS_REPORT_RESULT_H
#define SLUICE_PROGRAMS_REPORT_RESULT_H

#include <jansson.h>
#include <stdio.h>

#include "report_config.h"

/* A value and its interval (95%, or least and most of the rounds); NaN where it is not known. */
typedef struct report_value {
    double value, low, high;
} report_value;

enum { REPORT_ROUNDS_MAX = 1000 };

typedef struct report_row {
    const report_setting *setting;
    report_value perplexity, ratio, kl, top_1, tasks[REPORT_TASKS_MAX], tasks_mean;
    report_value loads;                     /* of experts, for a token of the texts */
    report_value decode, prefill;           /* tokens a second */
    report_value bytes, hits, memory, size; /* read a token; share; peak; of the whole model */
} report_row;

/* What quality a chart shows. */
typedef enum report_measure {
    REPORT_PERPLEXITY,
    REPORT_KL,
    REPORT_TASKS,
    REPORT_MEASURES
} report_measure;

typedef struct report_result {
    const report_config *config;
    char model[256], machine[256], when[64];
    char *command;                        /* that made it; owned by the caller */
    report_row rows[REPORT_SETTINGS_MAX]; /* [settings] */
} report_result;

/* Nothing is known of it yet. */
void report_row_clear(report_row *row, const report_setting *setting);

void report_take_perplexity(report_row *row, const json_t *ppl);
void report_take_divergence(report_row *row, const json_t *kld);
void report_take_task(report_row *row, int32_t task, const json_t *result);
/* rounds: an array of what bench printed. */
void report_take_bench(report_row *row, const json_t *rounds);

/* The mean of all tasks; for the reference (the first row) a divergence of none; each perplexity
 * over the reference's. */
void report_finish(report_result *result);

/* The row's quality by a measure, and whether no other row is both as fast and as good. */
report_value report_quality(const report_row *row, report_measure measure);
bool report_is_front(const report_result *result, int32_t row, report_measure measure);
bool report_has(const report_result *result, report_measure measure);

/* ---- the forms that it is written in ---- */

void report_print_html(FILE *out, const report_result *result);
void report_print_markdown(FILE *out, const report_result *result);
void report_print_csv(FILE *out, const report_result *result);

/* A drawing of speed against quality; alone: a file of its own, with its colours. */
void report_print_chart(FILE *out, const report_result *result, report_measure measure, bool alone);

/* A number, or a dash where it is not known. */
void report_print_number(FILE *out, double value, int decimals);

/* Text within XML. */
void report_print_escaped(FILE *out, const char *text);

/* "convert --experts q3; --k 4", or "-" for none; not escaped. */
void report_print_flags(FILE *out, const report_setting *setting);

#endif
