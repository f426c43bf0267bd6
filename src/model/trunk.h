/* Reading the trunk's tensors into memory, in two passes: say what is wanted, then read it all.
 *
 * What: a list of wanted tensors with the shape that the config implies and the place that receives
 * the pointer. Matrices go to one block of memory, packed as in the file, each 4096-aligned there
 * as it is in the file, so that they are read straight to their place in file order; vectors go to
 * another block as f32.
 *
 * What it does not do: know which tensors a model has (model.c says so). */
#ifndef SLUICE_MODEL_TRUNK_H
#define SLUICE_MODEL_TRUNK_H

#include "base/memory.h"
#include "format/container.h"

typedef enum sluice_trunk_change {
    SLUICE_TRUNK_AS_IS,
    SLUICE_TRUNK_NORM, /* + 1 where the container says that norms hold w */
    SLUICE_TRUNK_DECAY /* -exp(w) */
} sluice_trunk_change;

typedef struct sluice_trunk_want {
    const sluice_trunk_tensor *tensor;
    sluice_weight *matrix; /* receives a matrix, or NULL */
    const float **vector;  /* receives a vector, or NULL */
    sluice_trunk_change change;
} sluice_trunk_want;

typedef struct sluice_trunk {
    const sluice_container *container;
    sluice_trunk_want *wants;
    int32_t count, capacity;
    size_t matrix_bytes, vector_bytes;
    bool failed; /* a want could not be noted; err was filled then */
} sluice_trunk;

void sluice_trunk_init(sluice_trunk *trunk, const sluice_container *container);
void sluice_trunk_free(sluice_trunk *trunk);

/* Note a matrix [rows, cols] or a vector of rows * cols elements under its canonical name. After a
 * failure further calls do nothing; ask for the status at the end, with read. */
void sluice_trunk_matrix(sluice_trunk *trunk, const char *name, int32_t rows, int32_t cols,
                         sluice_weight *to, sluice_error *err);
void sluice_trunk_vector(sluice_trunk *trunk, const char *name, int32_t rows, int32_t cols,
                         sluice_trunk_change change, const float **to, sluice_error *err);

/* Reads everything wanted: matrices to matrices[matrix_bytes], vectors to vectors[vector_bytes]
 * (zeroed; 4096- and 64-byte aligned), and fills the places noted. Every tensor's checksum is
 * compared: it costs a tenth of the reading, and once. */
sluice_status sluice_trunk_read(sluice_trunk *trunk, void *matrices, void *vectors,
                                sluice_error *err);

#endif
