/* What a layer's lossy run does to the model's predictions.
 *
 * A window's predictions by the full model are kept; then the window runs again and again, each
 * time with one layer at fewer experts, and the KL divergences are added to the calibration.
 *
 * What it does not do: cut windows or write files (calibrate.c). */
#ifndef SLUICE_EVAL_CALIBRATE_EFFECT_H
#define SLUICE_EVAL_CALIBRATE_EFFECT_H

#include "levers/calibration.h"
#include "sluice/sluice.h"

/* c is unchanged if it fails; the engine's policy is as it was in any case. session: any of the
 * engine's; it ends cleared. */
sluice_status sluice_calibrate_effect(sluice_engine *engine, sluice_session *session,
                                      const int32_t *tokens, int32_t n, sluice_calibration *c,
                                      sluice_error *err);

#endif
