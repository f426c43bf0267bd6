/* The windows of a run that was interrupted which are still to be done. */
#ifndef SLUICE_EVAL_PENDING_H
#define SLUICE_EVAL_PENDING_H

#include "eval/scores.h"

/* sluice_windows_run for those windows that have no score yet; rows come with their window's place
 * among all. Nothing left to do is SLUICE_OK. */
sluice_status sluice_pending_run(sluice_engine *engine, const sluice_windows *windows,
                                 const sluice_scores *scores,
                                 const sluice_eval_text_options *options, sluice_window_fn on_row,
                                 void *context, sluice_error *err);

#endif
