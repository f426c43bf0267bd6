/* The sums of a calibration, a token of a layer at a time.
 *
 * What: given the parts of a layer's sum (model/moe.h), works out what the layer would have given
 * with fewer experts and adds how far that is from what it gave.
 *
 * What it does not do: run the model (calibrate.c). */
#ifndef SLUICE_EVAL_CALIBRATE_SUMS_H
#define SLUICE_EVAL_CALIBRATE_SUMS_H

#include "levers/calibration.h"
#include "model/moe.h"

typedef struct sluice_calibrate_sums sluice_calibrate_sums;

/* Adds to c from now on; c must outlive it. */
sluice_status sluice_calibrate_sums_new(sluice_calibration *c, int32_t hidden,
                                        sluice_calibrate_sums **out, sluice_error *err);
void sluice_calibrate_sums_free(sluice_calibrate_sums *sums);

/* A window begins: its first token follows none. */
void sluice_calibrate_sums_begin(sluice_calibrate_sums *sums);
/* seen->k is the model's top k, all of them run. */
void sluice_calibrate_sums_add(sluice_calibrate_sums *sums, const sluice_moe_observation *seen);

#endif
