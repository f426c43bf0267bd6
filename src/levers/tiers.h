/* Fixed rules: three tiers by thresholds on how little a layer's routed experts change, or a file.
 *
 * The tiers are those of a public system for laptops (skip, light, full). A file is JSON:
 * {"k": [a number for each layer], "mass": [the same], "gain": [the same]}, as in policy.h; the
 * last two may be absent. "sluice calibrate --show --budget-loads N --json" prints one.
 *
 * What it does not do: weigh layers against each other (budget.h). */
#ifndef SLUICE_LEVERS_TIERS_H
#define SLUICE_LEVERS_TIERS_H

#include "levers/calibration.h"
#include "model/policy.h"
#include "sluice/levers.h"

/* Whether tiers name thresholds, not a file. */
bool sluice_tiers_named(const char *tiers);

/* rules [c->layers]. */
sluice_status sluice_tiers_cut(const sluice_levers *levers, const sluice_calibration *c,
                               sluice_policy_rule *rules, sluice_error *err);

/* rules [layers]. SLUICE_CORRUPT: not such a file, or not for a model of this size. */
sluice_status sluice_tiers_parse(const char *json, size_t bytes, const char *name, int32_t layers,
                                 int32_t top_k, sluice_policy_rule *rules, sluice_error *err);
sluice_status sluice_tiers_read(const char *path, int32_t layers, int32_t top_k,
                                sluice_policy_rule *rules, sluice_error *err);

#endif
