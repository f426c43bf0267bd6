/* AdamW on an adapter's values (Loshchilov and Hutter 2019): decoupled weight decay, moments in
 * f32, bias correction as in the paper, clipping by the global norm.
 *
 *   g = min(1, clip / |g|) g;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *   w = w - rate * (decay * w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon))
 *
 * One pass over the set's block; every element is its own, and the norm is summed in blocks of a
 * fixed size, so the result does not depend on threads. For the same reason the moments, which
 * nobody wants between two steps, may be on disk (spill.h), and the gradients too (gradients.h): a
 * step then goes through them in windows, to the same bits. */
#ifndef SLUICE_TRAIN_ADAMW_H
#define SLUICE_TRAIN_ADAMW_H

#include "adapter/adapter.h"
#include "base/pool.h"
#include "train/gradients.h"

typedef struct sluice_adamw {
    sluice_adapter *adapter;     /* not owned */
    sluice_gradients *gradients; /* not owned; NULL: they are the adapter's own */
    sluice_pool *pool;
    float beta1, beta2, epsilon, decay, clip; /* clip 0: off */
    size_t window;                            /* elements at a time; all of them in memory */
    float *memory;                            /* of the window: m, v, and g if on disk */
    size_t bytes;                             /* of memory */
    sluice_spill spill;                       /* m, then v, each up to whole blocks */
    double *sums;                             /* of blocks */
    int32_t step;                             /* steps done */
} sluice_adamw;

/* spill_dir: where the moments go, NULL if they stay in memory; gradients are on disk only if they
 * are. Memory is charged to the adapter's budget as "optimiser". The other fields are for the
 * caller to set. */
sluice_status sluice_adamw_new(sluice_adapter *adapter, sluice_gradients *gradients,
                               const char *spill_dir, sluice_pool *pool, sluice_adamw *out,
                               sluice_error *err);
void sluice_adamw_free(sluice_adamw *adamw);
/* Bytes that new charges for so many floats. */
uint64_t sluice_adamw_bytes(uint64_t count, bool moments_on_disk);

/* The global norm of the gradient; not finite if an element is not. */
sluice_status sluice_adamw_norm(sluice_adamw *adamw, double *norm, sluice_error *err);

/* One step at this learning rate; norm: what sluice_adamw_norm gave. Clears the gradients. After a
 * failure values and moments are those of no step. */
sluice_status sluice_adamw_step(sluice_adamw *adamw, double rate, double norm, sluice_error *err);

/* fn for all m in order, in pieces, then for all v. change: what fn leaves there is kept. */
typedef sluice_status (*sluice_adamw_piece_fn)(void *context, float *floats, size_t count,
                                               sluice_error *err);
sluice_status sluice_adamw_moments(const sluice_adamw *adamw, bool change, sluice_adamw_piece_fn fn,
                                   void *context, sluice_error *err);

#endif
