/* AdamW on an adapter's values (Loshchilov and Hutter 2019): decoupled weight decay, moments in
 * f32, bias correction as in the paper, clipping by the global norm.
 *
 *   g = min(1, clip / |g|) g;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *   w = w - rate * (decay * w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon))
 *
 * One pass over the set's block; every element is its own, and the norm is summed in blocks of a
 * fixed size, so the result does not depend on threads. */
#ifndef SLUICE_TRAIN_ADAMW_H
#define SLUICE_TRAIN_ADAMW_H

#include "adapter/adapter.h"
#include "base/pool.h"

typedef struct sluice_adamw {
    sluice_adapter *adapter; /* with gradients; not owned */
    sluice_pool *pool;
    float beta1, beta2, epsilon, decay, clip; /* clip 0: off */
    float *m, *v;                             /* [adapter->count]; v is behind m */
    double *sums;                             /* of blocks */
    size_t bytes;
    int32_t step; /* steps done */
} sluice_adamw;

/* The moments are charged to the adapter's budget as "optimiser". The other fields are for the
 * caller to set. */
sluice_status sluice_adamw_new(sluice_adapter *adapter, sluice_pool *pool, sluice_adamw *out,
                               sluice_error *err);
void sluice_adamw_free(sluice_adamw *adamw);
/* Bytes that new charges for so many floats. */
uint64_t sluice_adamw_bytes(uint64_t count);

/* The global norm of the gradient; not finite if an element is not. */
double sluice_adamw_norm(sluice_adamw *adamw);

/* One step at this learning rate; norm: what sluice_adamw_norm gave. Clears the gradients. */
void sluice_adamw_step(sluice_adamw *adamw, double rate, double norm);

#endif
