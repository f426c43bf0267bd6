/* Windows of tokens and their way through the model, a few at a time.
 *
 * What: texts are read, tokenised and cut (sluice/eval.h says how); each window runs cold in a
 * session of its own, several of them as one step, and every row of logits that predicts a token
 * comes back with that token.
 *
 * What it does not do: know what is measured. */
#ifndef SLUICE_EVAL_WINDOWS_H
#define SLUICE_EVAL_WINDOWS_H

#include "sluice/eval.h"

#define SLUICE_WINDOW_DEFAULT 1024

/* One window. The row after token i predicts token i + 1; rows [first, window - 1) are wanted. */
typedef struct sluice_window {
    int32_t text;  /* which file it is from */
    int32_t first; /* row */
    int64_t at;    /* of its first token in `tokens` */
} sluice_window;

typedef struct sluice_windows {
    int32_t window, stride;
    int32_t *tokens; /* of all texts, one after the other */
    int64_t tokens_count;
    sluice_window *windows;
    int32_t count;
    int64_t rows; /* wanted, of all windows */
} sluice_windows;

/* SLUICE_BAD_INPUT: a text that is empty, is no UTF-8, or has fewer tokens than a window. */
sluice_status sluice_windows_load(const sluice_engine *engine, const char *const *paths, int32_t n,
                                  const sluice_eval_text_options *options, sluice_windows *out,
                                  sluice_error *err);
void sluice_windows_free(sluice_windows *windows);

/* A prediction: logits [vocab] after token `row` of a window, all finite; next is what came. Rows
 * of one window come in order, those of several mixed. */
typedef struct sluice_window_row {
    int32_t window, row, next;
    const float *logits;
} sluice_window_row;
typedef sluice_status (*sluice_window_fn)(void *context, const sluice_window_row *row,
                                          sluice_error *err);

/* Runs all windows, options->batch of them in a step. */
sluice_status sluice_windows_run(sluice_engine *engine, const sluice_windows *windows,
                                 const sluice_eval_text_options *options, sluice_window_fn on_row,
                                 void *context, sluice_error *err);

/* log of the sum of exp(logits), in double; *best is the largest, ties to the lower id. */
double sluice_logits_norm(const float *logits, int32_t vocab, int32_t *best);

#endif
