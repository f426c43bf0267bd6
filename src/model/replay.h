/* Making a stale state right again: its tokens run once more, with the same bits as the first time.
 *
 * GDN gives the same bits only in the same form, so each block of 64 positions is run as one
 * segment or in parts, whichever it was before (state.h keeps a bit for each). */
#ifndef SLUICE_MODEL_REPLAY_H
#define SLUICE_MODEL_REPLAY_H

#include "model/forward.h"

/* If it fails the state is stale as before and may be tried again. */
sluice_status sluice_replay(sluice_forward *forward, sluice_state *state, int32_t rows_max,
                            sluice_error *err);

#endif
