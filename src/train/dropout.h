/* Dropout on the inputs of adapters: for each step a share of every adapted matrix's inputs counts
 * nothing in its low-rank term, and the others count 1 / (1 - share) times.
 *
 * What: y = W x + scale * B A (m * x), with m drawn anew for each matrix and step from (seed, step,
 * matrix). All tokens of a step share m (as in Gal and Ghahramani 2016, where it is the mask of a
 * sequence), so dropping inputs is the same as dropping columns of A: between begin and end A holds
 * m * A, every operation of a pass computes with that, and end puts A back and takes m into its
 * gradient. A run's masks are a function of its seed: resuming and threads change nothing.
 *
 * What it does not do: touch losses that are measured (validation runs between end and begin). */
#ifndef SLUICE_TRAIN_DROPOUT_H
#define SLUICE_TRAIN_DROPOUT_H

#include "train/gradients.h"

typedef struct sluice_dropout {
    sluice_adapter *adapter;     /* not owned */
    sluice_gradients *gradients; /* not owned; NULL: they are the adapter's own */
    float share;                 /* 0: nothing is dropped and no memory is taken */
    uint64_t seed;
    float *kept; /* [adapter->count]: the values of before */
} sluice_dropout;

/* The copy of the values is charged to the adapter's budget as "optimiser". */
sluice_status sluice_dropout_new(sluice_adapter *adapter, sluice_gradients *gradients, float share,
                                 uint64_t seed, sluice_dropout *out, sluice_error *err);
void sluice_dropout_free(sluice_dropout *dropout);

void sluice_dropout_begin(sluice_dropout *dropout, int32_t step);
/* The values are put back whatever happens; it fails if gradients on disk cannot be read. */
sluice_status sluice_dropout_end(sluice_dropout *dropout, int32_t step, sluice_error *err);

#endif
