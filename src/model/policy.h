/* Which experts run, and with what weight: the one place between the router and the cache.
 *
 * What: a function of (layer, gates of a row, what is resident) to (ids, weights). Everything that
 * trades quality for reads is here and nowhere else: a rule for each layer, another one for the
 * bulk of a prompt, and a preference for resident experts. Without any of them it is the model's
 * own routing: the top k, their gates divided by their sum.
 *
 * A rule takes the first experts of a row in the order of their gates, at most k, and of these the
 * fewest that hold a share `mass` of what the model's own top k hold. What is kept is renormalised;
 * or, with a gain, keeps the weights that it has among the top k, times the gain. Renormalising
 * gives few experts the length of many, although the others would have pulled elsewhere: with a
 * gain fitted to what is missing the error is smaller (doc/levers.md has both).
 *
 * Rule for callers: an entry whose weight is zero is not requested, not computed and not added. A
 * row's choice depends on its own gates only, unless there is a cache bias: that one looks at the
 * cache, so what comes out depends on what ran before, on the size of the cache and on the disk.
 *
 * What it does not do: read experts, see hidden states, or know where rules come from (levers/). */
#ifndef SLUICE_MODEL_POLICY_H
#define SLUICE_MODEL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_GAIN_MAX 16

typedef struct sluice_policy_rule {
    int32_t k;  /* experts of a row at most; 0: the shared expert alone */
    float mass; /* 0 to 1; 1: all k */
    float gain; /* 0: renormalise */
} sluice_policy_rule;

typedef struct sluice_policy {
    int32_t experts;                  /* of a layer */
    int32_t top_k;                    /* the model's own */
    int32_t entries;                  /* of a row that may run, 1 to top_k */
    int32_t candidates;               /* of a row that the router names, at least entries */
    const sluice_policy_rule *rules;  /* [layers]; NULL: all entries, in every layer */
    const sluice_policy_rule *prompt; /* [layers], for rows that are said to be a prompt's bulk;
                                         NULL: rules */
    /* An expert that is not resident gives way to one that is, if that costs less than this share
     * of the top k's gates. 0: off. */
    float cache_bias;
    bool (*resident)(const void *context, int32_t layer, int32_t id);
    const void *resident_context;
} sluice_policy;

/* The model's own routing, with at most k of its top_k experts. */
sluice_policy sluice_policy_of(int32_t experts, int32_t top_k, int32_t k);

/* Gives it its rules (kept, not copied; prompt may be NULL), and room for what they ask for. */
void sluice_policy_set_rules(sluice_policy *policy, int32_t layers, const sluice_policy_rule *rules,
                             const sluice_policy_rule *prompt);

/* Candidates of a row that a bias looks at: twice the top k, if there are so many experts. */
int32_t sluice_policy_candidates_max(int32_t experts, int32_t top_k);
void sluice_policy_set_bias(sluice_policy *policy, float bias,
                            bool (*resident)(const void *context, int32_t layer, int32_t id),
                            const void *context);

/* Experts of a row that a layer runs at most. */
int32_t sluice_policy_entries(const sluice_policy *policy, int32_t layer);

/* How many experts of a row a rule keeps. probs: at least the model's top k, largest first. */
int32_t sluice_policy_keeps(const sluice_policy *policy, sluice_policy_rule rule,
                            const float *probs);

/* What a router said of some rows, candidates each, largest first, not renormalised. */
typedef struct sluice_policy_gates {
    const int32_t *ids;  /* [rows, candidates] */
    const float *probs;  /* [rows, candidates] */
    const uint8_t *bulk; /* [rows]: 1 for the bulk of a prompt; NULL for none */
} sluice_policy_gates;

/* ids, weights: [rows, entries], largest weight first; behind what runs weights are zero and ids
 * are some expert's. A gate that is not finite is SLUICE_CORRUPT and names the layer: the weights
 * are damaged. */
sluice_status sluice_policy_route(const sluice_policy *policy, int32_t layer, int32_t rows,
                                  const sluice_policy_gates *gates, int32_t *ids, float *weights,
                                  sluice_error *err);

#endif
