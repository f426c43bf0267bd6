/* A term of low rank beside a matrix: y = W x + scale * B (A x), for each term of a list in order.
 *
 * It is how adapters (LoRA) enter the forward pass: a sluice_weight may carry a list of them, and
 * every operation that multiplies by the matrix adds them. B is kept transposed, so that both
 * factors run along the wide side. The values belong to whoever made the term; they may change
 * between operations (training), never during one.
 *
 * In integer mode W's activations are quantised and the term's are not: it is computed in f32. */
#ifndef SLUICE_QUANT_LOW_RANK_H
#define SLUICE_QUANT_LOW_RANK_H

#include <stdint.h>

typedef struct sluice_low_rank {
    int32_t rank;
    float scale;
    const float *a; /* [rank, cols of the matrix] */
    const float *b; /* [rank, rows of the matrix]: B transposed */
    const struct sluice_low_rank *next;
} sluice_low_rank;

#endif
