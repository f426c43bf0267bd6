/* A layer of each kind with random weights from a seed: packed for a backend, and as plain floats
 * for the reference. Memory that cannot be had ends the test. */
#ifndef SLUICE_TESTS_SUPPORT_RANDOM_LAYER_H
#define SLUICE_TESTS_SUPPORT_RANDOM_LAYER_H

#include "base/rng.h"
#include "support/layer_reference.h"

#define RANDOM_LAYER_BLOCKS 64

typedef struct random_layer {
    sluice_geometry geometry;
    sluice_weight_format format; /* of the matrices */
    sluice_attention_weights attention;
    reference_attention attention_reference;
    sluice_gdn_weights gdn;
    reference_gdn gdn_reference;
    sluice_router_weights router;
    const float *router_reference;
    sluice_expert_weights expert;
    sluice_shared_weights shared;
    const float *expert_reference[3], *shared_reference[3]; /* gate, up, down */
    const float *shared_gate_reference;
    sluice_weight head;
    const float *head_reference; /* [vocab, hidden]; also the embedding */
    sluice_rng rng;
    void *blocks[RANDOM_LAYER_BLOCKS];
    int n_blocks;
} random_layer;

/* affine formats need sizes that are multiples of their group. */
void random_layer_init(random_layer *layer, const sluice_geometry *geometry,
                       sluice_weight_format format, uint64_t seed);
void random_layer_free(random_layer *layer);

float random_normal(sluice_rng *rng);
/* n normal numbers; freed with the layer. */
float *random_floats(random_layer *layer, int64_t n, float mean, float deviation);

#endif
