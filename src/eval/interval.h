/* 95% confidence intervals of what evaluations measure. Pure arithmetic. */
#ifndef SLUICE_EVAL_INTERVAL_H
#define SLUICE_EVAL_INTERVAL_H

#include "sluice/eval.h"

/* Of a share: Wilson 1927, "Probable inference, the law of succession, and statistical inference";
 * right of n, NaN everywhere if n is 0. */
sluice_interval sluice_interval_share(int64_t right, int64_t n);

/* Of the ratio of two sums over n clusters, sum(values) / sum(weights), as for a mean per token
 * over windows that are independent of each other while their tokens are not (Cochran 1977,
 * "Sampling Techniques", section 6.3); Student's t with n - 1 degrees of freedom. */
sluice_interval sluice_interval_ratio(const double *values, const double *weights, int32_t n);

/* exp of all three. */
sluice_interval sluice_interval_exp(sluice_interval interval);

#endif
