/* Random weight matrices for the linear families. */
#ifndef SLUICE_TESTS_CHECKER_WEIGHTS_H
#define SLUICE_TESTS_CHECKER_WEIGHTS_H

#include "checker/checker.h"

/* All weight formats, by number. */
#define CHECK_FORMATS (3 + 6 * 3 * 3)
sluice_weight_format check_format(int index);

/* A packed matrix in a guarded buffer. extreme: scales and values include those that kernels get
 * wrong; else they are like a trained model's. */
typedef struct check_weight {
    sluice_weight w;
    check_buffer memory;
} check_weight;

check_weight check_weight_new(check *c, sluice_weight_format format, int32_t rows, int32_t cols,
                              bool extreme);

/* A random number of columns that the format allows, up to about max. */
int32_t check_cols(check *c, sluice_weight_format format, int32_t max);

#endif
