/* Rounding a row so that the error that matters is small, instead of the largest one.
 *
 * What: codes, scales and biases of a row in an affine format, chosen to make (w - q) H (w - q)T
 * small (moment.h). Three steps: (1) groups from left to right: scale and bias by weighted least
 * squares from several starts; each column is rounded and its error carried to the columns after it
 * (GPTQ, arXiv 2210.17323). (2) Descent: scales and biases again for the codes found, then each
 * code to where the error is least given all others (coordinate descent as in QuantEase, arXiv
 * 2309.01885), a few rounds. (3) Plain rounding is kept where it was better after all, so that the
 * error never exceeds it. Scales and biases are what the format stores, at every step.
 *
 * Without moments all columns weigh the same and do not go together. Rows are independent:
 * deterministic, thread-safe, all memory is the caller's. */
#ifndef SLUICE_QUANT_FIT_H
#define SLUICE_QUANT_FIT_H

#include "quant/moment.h"
#include "quant/weight.h"

/* Of the results: another program with the same version gives the same codes. */
#define SLUICE_FIT_VERSION "2"

/* How a row weighs: correlation and factor (both NULL: columns do not go together) in blocks, and
 * the scale of each column (NULL: 1). */
typedef struct sluice_fit_weights {
    int32_t block;
    const float *correlation, *factor, *scale;
} sluice_fit_weights;

/* Scratch, 64-byte aligned. */
size_t sluice_fit_scratch(sluice_weight_format format, int32_t cols);

/* As sluice_weight_quantize_row, with the same errors. */
sluice_status sluice_weight_fit_row(sluice_weight_format format, int32_t cols, const float *row,
                                    const sluice_fit_weights *weights, void *scratch, void *codes,
                                    void *scales, void *biases, sluice_error *err);

/* v H vT of a row of values [cols]. scratch: 2 * cols floats. */
double sluice_fit_square(const sluice_fit_weights *weights, int32_t cols, const float *values,
                         float *scratch);

/* The error of a row as it was rounded, (w - q) H (w - q)T. scratch: 2 * cols floats. */
double sluice_fit_error(sluice_weight_format format, int32_t cols, const float *row,
                        const sluice_fit_weights *weights, const void *codes, const void *scales,
                        const void *biases, float *scratch);

#endif
