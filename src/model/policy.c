/* The model's own routing: the top k, their gates divided by their sum (see policy.h). */
#include "model/policy.h"

#include <math.h>

sluice_status sluice_policy_route(const sluice_policy *policy, int32_t layer, int32_t rows,
                                  int32_t *ids, const float *probs, float *weights,
                                  sluice_error *err)
{
    int32_t k = policy->top_k;
    for (int32_t row = 0; row < rows; row++, ids += k, probs += k, weights += k) {
        float sum = 0.0f;
        for (int32_t j = 0; j < k; j++) {
            if (!isfinite(probs[j]) || ids[j] < 0 || ids[j] >= policy->experts)
                return sluice_fail(err, SLUICE_CORRUPT,
                                   "layer %d: the router's output is not finite "
                                   "(check the container with verify)",
                                   layer);
            sum += probs[j];
        }
        for (int32_t j = 0; j < k; j++)
            weights[j] = probs[j] / sum;
    }
    return SLUICE_OK;
}
