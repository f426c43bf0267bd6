/* Negative log-likelihoods of windows, and the perplexity that they make. */
#ifndef SLUICE_EVAL_SCORES_H
#define SLUICE_EVAL_SCORES_H

#include "eval/windows.h"

/* Sums of each window, [windows]. */
typedef struct sluice_scores {
    double *nll, *predicted;
} sluice_scores;

sluice_status sluice_scores_new(int32_t windows, sluice_scores *out, sluice_error *err);
void sluice_scores_free(sluice_scores *scores);

/* Of the windows [begin, end). */
sluice_perplexity sluice_scores_perplexity(const sluice_scores *scores, int32_t begin, int32_t end);

#endif
