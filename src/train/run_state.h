/* A run's state on disk: everything that the next step depends on, in one file.
 *
 * What: state.safetensors beside the adapter holds what is adapted, its values in full, both
 * moments of the optimiser, how many steps are done and how many samples were taken, and the
 * settings that it all depends on. It is replaced as a whole, so whatever happens there is a state
 * that a run can go on from bit for bit. The PEFT files beside it are for use, not for going on. */
#ifndef SLUICE_TRAIN_RUN_STATE_H
#define SLUICE_TRAIN_RUN_STATE_H

#include "train/adamw.h"

typedef struct sluice_run_position {
    int32_t step;
    int64_t taken;
} sluice_run_position;

sluice_status sluice_run_state_save(const char *path, const sluice_adamw *adamw,
                                    const sluice_run_position *state, const char *settings,
                                    sluice_error *err);

/* What is adapted, and where the run was; keys to be freed. SLUICE_NOT_FOUND: there is no such
 * file; SLUICE_USAGE: it was made with other settings; SLUICE_CORRUPT: it is damaged. */
sluice_status sluice_run_state_open(const char *path, const char *settings,
                                    sluice_run_position *state, sluice_adapter_key **keys,
                                    int32_t *n, sluice_error *err);
/* The values and moments of that set. */
sluice_status sluice_run_state_fill(const char *path, sluice_adamw *adamw, sluice_error *err);

#endif
