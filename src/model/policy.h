/* Which experts run, and with what weight: the one place between the router and the cache.
 *
 * What: a function of (layer, gates of a row, what is resident) to (ids, weights). Everything that
 * trades quality for reads belongs here and nowhere else: fewer experts than the model's k, layers
 * that run on the shared expert alone, thresholds on the gates, a preference for resident experts.
 * Today there is one policy, the model's own: the top k with their gates divided by their sum.
 *
 * Rule: an entry whose weight is zero is not requested, not computed and not added. A row's choice
 * depends on its own gates only (a preference for resident experts will break that by design, and
 * says so in the statistics).
 *
 * What it does not do: read experts or see hidden states. */
#ifndef SLUICE_MODEL_POLICY_H
#define SLUICE_MODEL_POLICY_H

#include <stdint.h>

#include "base/status.h"

typedef struct sluice_policy {
    int32_t experts; /* of a layer */
    int32_t top_k;   /* entries of a row */
} sluice_policy;

/* ids and probs: [rows, top_k] as the router gave them, largest first, not renormalised. weights:
 * [rows, top_k]. ids may be changed. A gate that is not finite is SLUICE_CORRUPT and names the
 * layer: the weights are damaged. */
sluice_status sluice_policy_route(const sluice_policy *policy, int32_t layer, int32_t rows,
                                  int32_t *ids, const float *probs, float *weights,
                                  sluice_error *err);

#endif
