/* One batch of training rows: packed sequences, what each token should predict, and its weight.
 *
 * The seam between the data (which packs samples into rows) and the step (which computes loss and
 * gradients). Sequences start at position 0 in cold states: attention and the delta rule see
 * nothing of their neighbours in the batch. */
#ifndef SLUICE_TRAIN_BATCH_H
#define SLUICE_TRAIN_BATCH_H

#include "backend/backend.h"

typedef struct sluice_train_batch {
    int32_t rows;           /* tokens of all sequences */
    const int32_t *tokens;  /* [rows] */
    const int32_t *targets; /* [rows]: the token to predict after this one; -1: no loss */
    int32_t n_segments;
    const sluice_segment *segments; /* [n_segments], rows [row, row + count), position 0 */
} sluice_train_batch;

#endif
