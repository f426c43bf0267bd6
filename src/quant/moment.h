/* How the columns of a matrix weigh when its values are rounded.
 *
 * What: rounding a row w of a matrix to q changes what it makes of an input x by (w - q) x, whose
 * mean square over inputs is (w - q) H (w - q)T with the second moment H = mean of x xT. H is known
 * in blocks along the diagonal and kept as D C D: scales D, the roots of the mean squares, and the
 * correlations C, a little damped. From C comes the factor that carries the error of a rounded
 * column to the columns after it: U upper triangular with C^-1 = UT U (Frantar and others, GPTQ,
 * arXiv 2210.17323, there for H itself; since D is diagonal, one U serves all D).
 *
 * What it does not do: round (fit.h), or know where moments come from. */
#ifndef SLUICE_QUANT_MOMENT_H
#define SLUICE_QUANT_MOMENT_H

#include <stdint.h>

#include "base/status.h"

typedef struct sluice_moment {
    int32_t cols, block;
    float *correlation; /* [cols, block]: row i holds the columns of i's block */
    float *factor;      /* [cols, block], U */
    float *scale;       /* [cols], D: never zero */
} sluice_moment;

/* Bytes of the three arrays. */
uint64_t sluice_moment_bytes(int32_t cols, int32_t block);

/* Takes memory for cols columns in blocks of block (at most cols). */
sluice_status sluice_moment_new(int32_t cols, int32_t block, sluice_moment **out,
                                sluice_error *err);
void sluice_moment_free(sluice_moment *moment);

/* From second moments h [cols, block]; damping is added to the diagonal of the correlations (of
 * ones). A column that was always zero weighs as much as a thousandth of the mean. */
sluice_status sluice_moment_set(sluice_moment *moment, const float *h, float damping,
                                sluice_error *err);

/* The scales alone, from mean squares [cols]. */
void sluice_moment_set_scale(const float *squares, int32_t cols, float *scale);

#endif
