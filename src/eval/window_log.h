/* The log of an evaluation of windows: one line for each, written when it is done (log.h). */
#ifndef SLUICE_EVAL_WINDOW_LOG_H
#define SLUICE_EVAL_WINDOW_LOG_H

#include <jansson.h>

#include "eval/scores.h"

typedef struct sluice_window_log sluice_window_log;

/* What a window's line holds beside its scores. */
typedef struct sluice_window_log_kind {
    const char *evaluation;
    const char *against; /* what it was compared with; NULL: nothing */
    /* Adds to a window's line; NULL: nothing to add. False without memory. */
    bool (*describe)(void *context, int32_t window, json_t *entry);
    /* Takes that of a line that was there; false if it is not there, or wrong. */
    bool (*keep)(void *context, int32_t window, const json_t *entry);
    void *context;
} sluice_window_log_kind;

/* Opens options->log and fills scores of the windows that are in it already. kind, windows, scores
 * and paths (of the texts; NULL: they have numbers alone) are kept by the caller until close. A
 * file that another model, setting or text made is SLUICE_USAGE, one that is no log
 * SLUICE_BAD_INPUT. */
sluice_status sluice_window_log_open(const sluice_eval_text_options *options,
                                     const sluice_engine *engine,
                                     const sluice_window_log_kind *kind,
                                     const sluice_windows *windows, const char *const *paths,
                                     sluice_scores *scores, sluice_window_log **out,
                                     sluice_error *err);
void sluice_window_log_close(sluice_window_log *log); /* NULL is allowed */

/* The window's scores are complete. */
sluice_status sluice_window_log_add(sluice_window_log *log, int32_t window, sluice_error *err);

#endif
