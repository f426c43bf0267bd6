/* From what a user sets to a rule for each layer.
 *
 * What: reads tiers, solves budgets, checks that settings go together, and writes the sentence that
 * names all of them in statistics and model cards.
 *
 * The error model of a budget (doc/levers.md says what it was chosen against): a layer's cost is
 * what running it so does to the model's predictions, in nats of KL divergence, and costs of layers
 * add up. A calibration measures that for some k; between these it is interpolated. A share of the
 * gates costs what as many experts cost on average, times how much less squared error it makes.
 * Where no effect was measured the squared error relative to the residual stream stands in. */
#ifndef SLUICE_LEVERS_RULES_H
#define SLUICE_LEVERS_RULES_H

#include "levers/calibration.h"
#include "model/policy.h"
#include "model/state.h"
#include "sluice/levers.h"

typedef struct sluice_rules {
    sluice_policy_rule *layers; /* [n]; NULL: no lever sets rules for the layers */
    sluice_policy_rule *prompt; /* [n]; NULL: none for prompts */
    int32_t n;
    double loads;    /* of a token, as calibrated; negative: not known */
    char lossy[256]; /* "k 4 of 8, top-p 0.9"; empty if nothing is lossy */
} sluice_rules;

/* Whether these levers need a calibration. */
bool sluice_rules_need_calibration(const sluice_levers *levers);

/* How the levers say that keys and values are kept. SLUICE_USAGE: a name that there is not. */
sluice_status sluice_rules_kv(const sluice_levers *levers, sluice_kv_type *kv, sluice_error *err);

/* k: of all layers, 1 to top_k. c: may be NULL where none is needed. SLUICE_USAGE: settings that
 * exclude each other or are out of range; a calibration of another geometry. */
sluice_status sluice_rules_new(const sluice_levers *levers, int32_t k, int32_t layers,
                               int32_t top_k, const sluice_calibration *c, sluice_rules *out,
                               sluice_error *err);
void sluice_rules_free(sluice_rules *rules);

#endif
