/* The order of samples, and how they are packed into batches.
 *
 * What: every epoch is a permutation of the samples drawn from (seed, epoch); a batch takes the
 * next ones as long as they fit into its rows. Samples stay sequences of their own: packing fills
 * the rows of a step, it does not make one text of them. Where a run is, is one number (how many
 * samples it has taken), so a run that goes on finds its place in the same order.
 *
 * What it does not do: hold the tokens (samples.h). */
#ifndef SLUICE_TRAIN_PACKER_H
#define SLUICE_TRAIN_PACKER_H

#include "base/memory.h"
#include "train/batch.h"
#include "train/samples.h"

typedef struct sluice_packer {
    const sluice_samples *samples;
    const int32_t *chosen; /* [n]: of samples, those that count; not owned */
    int32_t n;
    bool shuffle;
    uint64_t seed;
    int32_t rows_max;
    int64_t taken, epoch; /* the epoch whose order is in `order`, or -1 */
    int32_t *order;       /* [n] */
    int32_t *tokens, *targets;
    sluice_segment *segments;
    int32_t segments_max;
} sluice_packer;

/* samples and chosen must outlive it. */
sluice_status sluice_packer_new(const sluice_samples *samples, const int32_t *chosen, int32_t n,
                                int32_t rows_max, int32_t segments_max, bool shuffle, uint64_t seed,
                                sluice_packer *out, sluice_error *err);
void sluice_packer_free(sluice_packer *packer);

/* The next batch, valid until the next call; up to sample number `limit` (counted over epochs): no
 * rows if it was reached. Returns the batch's targets. */
int32_t sluice_packer_next(sluice_packer *packer, int64_t limit, sluice_train_batch *batch);

/* The same without making it: only moves on. False if limit was reached. */
bool sluice_packer_skip(sluice_packer *packer, int64_t limit);

#endif
