/* Gradients of a set of adapters that are on disk, but for those of one layer.
 *
 * What: the backward pass goes down the layers and adds to the gradients of one layer at a time;
 * nobody else wants any before the step ends. So where memory is short (the adapter then has none
 * of its own), a layer's entries have gradients between begin and end alone, in a window as large
 * as the layer with most; the file keeps the others. The optimiser reads them all in the order of
 * the set's values. Layers that nothing was written to since the last clear are zero and cost no
 * read.
 *
 * Threads: the one that drives the pass. */
#ifndef SLUICE_TRAIN_GRADIENTS_H
#define SLUICE_TRAIN_GRADIENTS_H

#include "adapter/adapter.h"
#include "train/spill.h"

typedef struct sluice_gradients_layer {
    size_t begin, count; /* of the set's values */
    uint64_t place;      /* in the file */
    bool written;        /* since the last clear */
} sluice_gradients_layer;

typedef struct sluice_gradients {
    sluice_adapter *adapter;
    sluice_spill spill;
    sluice_gradients_layer *layers; /* [adapter->layers] */
    float *window;
    size_t window_floats;
} sluice_gradients;

/* The adapter has none of its own. The window is charged to its budget as "adapters", the rest
 * goes to an unnamed file in dir. */
sluice_status sluice_gradients_new(sluice_adapter *adapter, const char *dir, sluice_gradients **out,
                                   sluice_error *err);
void sluice_gradients_free(sluice_gradients *gradients);

/* da and db of the layer's entries are valid, and may be added to, from begin to end. */
sluice_status sluice_gradients_begin(sluice_gradients *gradients, int32_t layer, sluice_error *err);
sluice_status sluice_gradients_end(sluice_gradients *gradients, int32_t layer, sluice_error *err);

/* Those of values [begin, end), not between begin and end. */
sluice_status sluice_gradients_read(sluice_gradients *gradients, size_t begin, size_t end,
                                    float *to, sluice_error *err);

/* All are zero. */
void sluice_gradients_clear(sluice_gradients *gradients);

#endif
