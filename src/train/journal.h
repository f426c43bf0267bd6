/* What a run writes down: log.jsonl, a line a step, and loss.svg, the curve.
 *
 * A run that goes on keeps the lines of the steps that its checkpoint has and drops later ones.
 * Lines are flushed as they come; the curve is drawn whenever it is asked for, all or nothing. */
#ifndef SLUICE_TRAIN_JOURNAL_H
#define SLUICE_TRAIN_JOURNAL_H

#include <stdio.h>

#include "sluice/train.h"

typedef struct sluice_journal_point {
    int32_t step;
    double loss, validation; /* NaN: none */
} sluice_journal_point;

typedef struct sluice_journal {
    char *log, *svg; /* paths */
    FILE *file;
    sluice_journal_point *points;
    int32_t n, n_max;
} sluice_journal;

/* keep: steps of an earlier run whose lines stay; 0 begins anew. */
sluice_status sluice_journal_open(const char *dir, int32_t keep, sluice_journal *out,
                                  sluice_error *err);
void sluice_journal_close(sluice_journal *journal);
sluice_status sluice_journal_add(sluice_journal *journal, const sluice_train_progress *progress,
                                 sluice_error *err);
sluice_status sluice_journal_draw(const sluice_journal *journal, const char *title,
                                  sluice_error *err);

#endif
