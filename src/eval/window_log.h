/* The log of a perplexity: one line for each window, written when it is done (log.h). */
#ifndef SLUICE_EVAL_WINDOW_LOG_H
#define SLUICE_EVAL_WINDOW_LOG_H

#include "eval/scores.h"

typedef struct sluice_window_log sluice_window_log;

/* Fills scores of the windows that are in the log already. windows, scores and paths (of the texts)
 * are kept by the caller until close. A file that another model, setting or text made is
 * SLUICE_USAGE, one that is no log SLUICE_BAD_INPUT. */
sluice_status sluice_window_log_open(const char *path, const sluice_engine *engine,
                                     const sluice_windows *windows, const char *const *paths,
                                     sluice_scores *scores, sluice_window_log **out,
                                     sluice_error *err);
void sluice_window_log_close(sluice_window_log *log); /* NULL is allowed */

/* The window's scores are complete. */
sluice_status sluice_window_log_add(sluice_window_log *log, int32_t window, sluice_error *err);

#endif
