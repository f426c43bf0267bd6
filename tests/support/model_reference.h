/* A whole small model written out in double, with low-rank terms: what losses and gradients of
 * training are compared with. Sequences run alone, from their start, with no cache and no blocks.
 *
 * The weights are the model's own, unpacked; the adapters' values are the reference's, in double,
 * so that a finite difference is one of rounding errors in double. */
#ifndef SLUICE_TESTS_SUPPORT_MODEL_REFERENCE_H
#define SLUICE_TESTS_SUPPORT_MODEL_REFERENCE_H

#include "model/model.h"
#include "train/batch.h"

typedef struct model_reference model_reference;

/* adapter: its shapes and its values as they are now. */
model_reference *model_reference_new(const sluice_model *model, const sluice_adapter *adapter);
void model_reference_free(model_reference *reference);

/* The adapter's values in double, in its order; may be changed. */
double *model_reference_values(model_reference *reference);

/* The sum of the losses of the batch's targets. */
double model_reference_loss(model_reference *reference, const sluice_train_batch *batch);

#endif
