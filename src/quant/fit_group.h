/* One group of a row for fit.c: scale and bias by weighted least squares. Internal to quant/. */
#ifndef SLUICE_QUANT_FIT_GROUP_H
#define SLUICE_QUANT_FIT_GROUP_H

#include "quant/weight.h"

#define SLUICE_GROUP_MAX 128

typedef struct sluice_fit_grid {
    float scale, bias; /* as the format stores them; scale is never zero */
} sluice_fit_grid;

/* The value that is stored for value. */
float sluice_fit_stored(sluice_weight_format format, float value);

/* The grid that makes the sum of weight * (x - rounded x)^2 small; x and weight: [group]. */
sluice_fit_grid sluice_fit_search(sluice_weight_format format, const float *x, const float *weight);

#endif
