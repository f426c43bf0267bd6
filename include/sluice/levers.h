/* Speed for quality: every setting that makes answers worse and tokens cheaper, but for k (the same
 * for all layers, sluice_engine_options.k) and fewer bits. All are off by default. doc/levers.md
 * says what each costs. */
#ifndef SLUICE_LEVERS_H
#define SLUICE_LEVERS_H

#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The last tokens of a prompt that run in full unless it is said otherwise. */
#define SLUICE_PREFILL_FULL_TAIL 64

typedef struct sluice_levers {
    /* Of the k experts of a token only the fewest whose gates hold this share of all k; 0: off. */
    float top_p;

    /* "aggressive", "balanced", or a file of rules; NULL or "off": none. The two names need a
     * calibration: a layer whose residual stream the shared expert alone leaves within a cosine of
     * skip_above runs no other, one within light_above runs light_k, all others full_k. Thresholds
     * and ks of 0 or less are those of the name. */
    const char *tiers;
    float skip_above, light_above;
    int32_t light_k, full_k;

    /* So many loads of experts a token, over all layers and on average, where they cost least; 0:
     * off. Needs a calibration. Not with k, top_p or tiers. */
    float budget_loads;

    /* The prompt but for its end: "full" (or NULL), "shared" (no routed experts) or "k=N". */
    const char *prefill;
    int32_t prefill_full_tail; /* tokens at a prompt's end that run in full; 0: 64 */

    /* An expert that is not in memory gives way to one that is if their gates differ by less than
     * this share of the k gates' sum; 0: off. The only setting with which answers depend on the
     * cache, and thus on everything that ran before. */
    float cache_bias;

    /* How keys and values are kept: "f32" (or NULL), "f16", in half the memory, or "int8", in about
     * a quarter, and attention then multiplies in integers. */
    const char *kv;

    /* NULL: calibration.json beside the container, else beside the model that it was made from. */
    const char *calibration;
} sluice_levers;

#ifdef __cplusplus
}
#endif
#endif
