/* Rules over the router's gates (see policy.h). */
#include "model/policy.h"

#include <math.h>
#include <string.h>

sluice_policy sluice_policy_of(int32_t experts, int32_t top_k, int32_t k)
{
    return (sluice_policy){.experts = experts, .top_k = top_k, .entries = k, .candidates = k};
}

static int32_t largest(const sluice_policy_rule *rules, int32_t layers, int32_t k)
{
    for (int32_t i = 0; i < layers; i++)
        if (rules[i].k > k) k = rules[i].k;
    return k;
}

void sluice_policy_set_rules(sluice_policy *policy, int32_t layers, const sluice_policy_rule *rules,
                             const sluice_policy_rule *prompt)
{
    policy->rules = rules;
    policy->prompt = prompt;
    policy->entries = largest(rules, layers, 1);
    if (prompt) policy->entries = largest(prompt, layers, policy->entries);
    policy->candidates = policy->top_k; /* a mass is a share of all of them */
}

int32_t sluice_policy_candidates_max(int32_t experts, int32_t top_k)
{
    return 2 * top_k < experts ? 2 * top_k : experts;
}

void sluice_policy_set_bias(sluice_policy *policy, float bias,
                            bool (*resident)(const void *context, int32_t layer, int32_t id),
                            const void *context)
{
    policy->cache_bias = bias;
    policy->resident = resident;
    policy->resident_context = context;
    policy->candidates = sluice_policy_candidates_max(policy->experts, policy->top_k);
}

int32_t sluice_policy_entries(const sluice_policy *policy, int32_t layer)
{
    if (!policy->rules) return policy->entries;
    int32_t k = policy->rules[layer].k;
    return policy->prompt && policy->prompt[layer].k > k ? policy->prompt[layer].k : k;
}

static float sum_of(const float *probs, int32_t n)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < n; j++)
        sum += probs[j];
    return sum;
}

int32_t sluice_policy_keeps(const sluice_policy *policy, sluice_policy_rule rule,
                            const float *probs)
{
    if (rule.k == 0 || rule.mass >= 1.0f) return rule.k;
    float wanted = rule.mass * sum_of(probs, policy->top_k), sum = 0.0f;
    int32_t n = 0;
    while (n < rule.k && sum < wanted)
        sum += probs[n++];
    return n;
}

/* Into order again from entry `from` on; ties go to the lower index, as in the router. */
static void sink(int32_t *ids, float *weights, int32_t from, int32_t n)
{
    for (int32_t j = from + 1; j < n; j++)
        for (int32_t i = j; i > 0; i--) {
            bool right = weights[i] < weights[i - 1] ||
                         (weights[i] == weights[i - 1] && ids[i] > ids[i - 1]);
            if (right) break;
            float weight = weights[i];
            int32_t id = ids[i];
            weights[i] = weights[i - 1], ids[i] = ids[i - 1];
            weights[i - 1] = weight, ids[i - 1] = id;
        }
}

/* The least wanted of the n first gives way first, to the most wanted resident one behind them:
 * that pair differs least, so the first that differs too much ends it. ids and gates: a copy of
 * the candidates' first n. */
static void prefer_resident(const sluice_policy *policy, int32_t layer, const int32_t *candidates,
                            const float *probs, int32_t n, int32_t *ids, float *gates)
{
    float allowed = policy->cache_bias * sum_of(probs, policy->top_k);
    int32_t spare = n, first = n;
    for (int32_t j = n - 1; j >= 0; j--) {
        if (policy->resident(policy->resident_context, layer, ids[j])) continue;
        while (spare < policy->candidates &&
               !policy->resident(policy->resident_context, layer, candidates[spare]))
            spare++;
        if (spare == policy->candidates || gates[j] - probs[spare] >= allowed) break;
        ids[j] = candidates[spare];
        gates[j] = probs[spare++];
        first = j;
    }
    sink(ids, gates, first, n);
}

sluice_status sluice_policy_route(const sluice_policy *policy, int32_t layer, int32_t rows,
                                  const sluice_policy_gates *gates, int32_t *ids, float *weights,
                                  sluice_error *err)
{
    int32_t k = policy->entries, candidates = policy->candidates;
    const int32_t *named = gates->ids;
    const float *probs = gates->probs;
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t j = 0; j < candidates; j++)
            if (!isfinite(probs[j]) || named[j] < 0 || named[j] >= policy->experts)
                return sluice_fail(err, SLUICE_CORRUPT,
                                   "layer %d: the router's output is not finite "
                                   "(check the container with verify)",
                                   layer);
        const sluice_policy_rule *rules = policy->rules;
        if (policy->prompt && gates->bulk && gates->bulk[row]) rules = policy->prompt;
        int32_t n = rules ? sluice_policy_keeps(policy, rules[layer], probs) : k;
        memcpy(ids, named, (size_t)k * sizeof *ids);
        memcpy(weights, probs, (size_t)k * sizeof *weights);
        if (policy->cache_bias > 0.0f)
            prefer_resident(policy, layer, named, probs, n, ids, weights);
        float gain = rules ? rules[layer].gain : 0.0f;
        float sum = gain > 0.0f ? sum_of(probs, policy->top_k) / gain : sum_of(weights, n);
        for (int32_t j = 0; j < k; j++)
            weights[j] = j < n ? weights[j] / sum : 0.0f;
        named += candidates, probs += candidates, ids += k, weights += k;
    }
    return SLUICE_OK;
}
