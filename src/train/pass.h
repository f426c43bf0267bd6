/* One forward and backward pass over a batch: the loss, and the gradients of the adapters.
 *
 * What: forward is the backend's operations in the order in which they serve users, so the loss is
 * that of `score`; each layer's input is kept (inputs.h). Backward goes down the layers: each one's
 * mixer is run again from its input, then experts and mixer give their gradients. Every expert that
 * the batch uses is read once forward and once backward, layer by layer in sweeps through the
 * expert cache, used for all of its tokens at once as it lands; while a mixer is computed, the
 * experts of the layer after it are on their way. Nothing is read below the lowest adapter.
 *
 * A batch's result depends on no thread, no cache and no disk: an expert's share of each row is put
 * in a slot of its own and added up in rank order, as when serving.
 *
 * Threads: one thread drives it, the one that drives backend and experts.
 *
 * What it does not do: change adapters, sum over several batches (gradients are added to what is
 * there; whoever owns them clears them), or choose data. */
#ifndef SLUICE_TRAIN_PASS_H
#define SLUICE_TRAIN_PASS_H

#include "base/pool.h"
#include "experts/experts.h"
#include "model/model.h"
#include "train/batch.h"
#include "train/gradients.h"

typedef struct sluice_pass sluice_pass;

typedef struct sluice_pass_options {
    const sluice_model *model; /* the adapter, if any, is attached to it */
    sluice_backend *backend;   /* for at least rows_max rows */
    sluice_experts *experts;
    sluice_pool *pool;
    uint32_t cpu_flags;
    sluice_adapter *adapter;     /* whose gradients are wanted; NULL: only losses are */
    sluice_gradients *gradients; /* where they are; NULL: the adapter's own */
    int32_t rank_max;            /* of adapters; 0: of those that the model has */
    int32_t rows_max, segments_max;
    uint64_t inputs_bytes; /* of layer inputs in memory at most; the rest goes to spill_dir */
    const char *spill_dir;
} sluice_pass_options;

/* Everything in the options must outlive it, except the options and spill_dir. All memory is taken
 * here and charged to the model's budget. */
sluice_status sluice_pass_new(const sluice_pass_options *options, sluice_pass **out,
                              sluice_error *err);
void sluice_pass_free(sluice_pass *pass);

/* Bytes that new charges, without the backend's own. With rank_max and no adapter: at most what a
 * pass with adapters of that rank charges if no layer inputs are in memory. */
uint64_t sluice_pass_bytes(const sluice_pass_options *options);

typedef struct sluice_pass_result {
    double nll;                               /* sum over the targets, nats */
    int32_t targets;                          /* how many there were */
    uint64_t bytes_forward, bytes_backward;   /* of experts that were read */
    uint64_t needed_forward, needed_backward; /* of the experts used, each once: the floor without
                                                 a cache */
    uint64_t forward_ns, head_ns, backward_ns;
    uint64_t wait_ns; /* of that, waiting for the disk */
} sluice_pass_result;

/* scale: what the sum of the losses is multiplied by before its gradient is taken (1 / targets of
 * the whole step); 0: forward and loss alone. Gradients are added to the adapter's. After a failure
 * they hold anything. A batch over the limits is SLUICE_LIMIT; a token outside the vocabulary,
 * segments that leave a row out or do not begin at position 0 are SLUICE_BAD_INPUT. */
sluice_status sluice_pass_run(sluice_pass *pass, const sluice_train_batch *batch, float scale,
                              sluice_pass_result *result, sluice_error *err);

/* The lowest layer with an adapter: nothing is read below it backward. */
int32_t sluice_pass_lowest(const sluice_pass *pass);

#endif
