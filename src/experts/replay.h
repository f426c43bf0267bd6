/* Replaying recorded routing through a cache policy, without a disk: how often would it have hit?
 *
 * "oracle" is Belady's rule, which looks into the future and gives up what is wanted last: no
 * policy can hit more often. */
#ifndef SLUICE_EXPERTS_REPLAY_H
#define SLUICE_EXPERTS_REPLAY_H

#include <stdint.h>

#include "base/status.h"

/* Step i wants keys[starts[i]] to keys[starts[i+1]-1], all at once: one layer of one token, or of
 * one chunk. A key is the number of an expert over all layers, 0 to n_keys-1; starts[0] is 0. */
typedef struct sluice_trace {
    int32_t n_steps, n_keys;
    const int64_t *starts; /* [n_steps + 1] */
    const int32_t *keys;
    int32_t layer_keys; /* of each layer; 0: layers are not told apart */
} sluice_trace;

typedef struct sluice_cache_replay_result {
    uint64_t requests, hits;
} sluice_cache_replay_result;

/* Counts from step first on; the steps before it only warm the cache up. Steps may want more keys
 * than there are slots. SLUICE_USAGE for an unknown policy, SLUICE_BAD_INPUT for a key out of
 * range. */
sluice_status sluice_cache_replay(const sluice_trace *trace, const char *policy, int32_t slots,
                                  int32_t first, sluice_cache_replay_result *result,
                                  sluice_error *err);

#endif
