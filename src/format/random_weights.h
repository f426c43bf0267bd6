/* Packed matrices of random weights, made as fast as memory is copied.
 *
 * A source is a few MiB of packed random weights of one format and variance. A matrix is put
 * together of pieces of it (a group of columns by 16 rows), each drawn at random, so that rows of
 * different experts or of a router are never equal. Values are uniform with mean about 0.
 *
 * What it does not do: anything that a trained model would notice; this is for measuring. */
#ifndef SLUICE_FORMAT_RANDOM_WEIGHTS_H
#define SLUICE_FORMAT_RANDOM_WEIGHTS_H

#include "base/rng.h"
#include "quant/weight.h"

typedef struct sluice_random_weights {
    sluice_weight_format format;
    float variance;
    int32_t piece_cols;
    size_t piece_bytes;
    unsigned char *pieces;
} sluice_random_weights;

sluice_status sluice_random_weights_new(sluice_weight_format format, float variance, uint64_t seed,
                                        sluice_random_weights *out, sluice_error *err);
void sluice_random_weights_free(sluice_random_weights *weights);

/* Fills panels [panel, panel + panels) of a packed matrix [rows, cols] into out; rows past the last
 * are zero. The same state of rng gives the same bytes. Thread-safe. */
sluice_status sluice_random_weights_fill(const sluice_random_weights *weights, sluice_rng *rng,
                                         int32_t rows, int32_t cols, int32_t panel, int32_t panels,
                                         void *out, sluice_error *err);

#endif
