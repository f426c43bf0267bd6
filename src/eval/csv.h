/* CSV as RFC 4180 has it, read record by record.
 *
 * Fields in quotes may hold commas, line ends and doubled quotes. What the RFC forbids (a quote
 * within a bare field, text behind a closing quote, a quote that never closes) is refused rather
 * than guessed at; a line may end in LF alone, and a byte order mark is skipped. */
#ifndef SLUICE_EVAL_CSV_H
#define SLUICE_EVAL_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_CSV_FIELDS_MAX 16

typedef struct sluice_csv {
    const char *path; /* for errors; kept by the caller */
    char *text;       /* [bytes + 1], changed while it is read */
    size_t bytes, at;
    int32_t line;
} sluice_csv;

typedef struct sluice_csv_field {
    const char *text; /* within the text, NUL-terminated; valid as long as it */
    size_t length;
} sluice_csv_field;

typedef struct sluice_csv_record {
    int32_t line; /* on which it begins, from 1 */
    int32_t count;
    sluice_csv_field fields[SLUICE_CSV_FIELDS_MAX];
} sluice_csv_record;

/* text[bytes] is NUL; fields are taken apart where they lie. */
sluice_csv sluice_csv_open(const char *path, char *text, size_t bytes);

/* *more is false at the end. SLUICE_BAD_INPUT "path: line n: ...". */
sluice_status sluice_csv_next(sluice_csv *csv, sluice_csv_record *record, bool *more,
                              sluice_error *err);

#endif
