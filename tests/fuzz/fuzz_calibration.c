/* Any bytes as a calibration, whose budgets must then be within bounds, and as a file of rules. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "levers/budget.h"
#include "levers/calibration.h"
#include "levers/tiers.h"

#define LAYERS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_budget(const sluice_calibration *c, double loads)
{
    sluice_policy_rule rules[LAYERS_MAX];
    double spent;
    if (sluice_budget_rules(c, loads, rules, &spent, NULL) != SLUICE_OK) return;
    if (!(spent >= 0 && spent <= loads + 1e-6)) abort();
    for (int32_t i = 0; i < c->layers; i++)
        if (rules[i].k < 0 || rules[i].k > c->top_k || !(rules[i].mass > 0 && rules[i].mass <= 1) ||
            !(rules[i].gain >= 0) || !isfinite(rules[i].gain))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sluice_calibration *c = NULL;
    sluice_policy_rule rules[2];
    if (size > 1 << 16) return 0;
    if (sluice_calibration_parse((const char *)data, size, "calibration", &c, NULL) == SLUICE_OK) {
        if (c->layers <= LAYERS_MAX && c->top_k <= 32) {
            check_budget(c, 0);
            check_budget(c, 3.5);
            check_budget(c, 1e9);
        }
        sluice_calibration_free(c);
    }
    if (sluice_tiers_parse((const char *)data, size, "rules", 2, 8, rules, NULL) == SLUICE_OK)
        for (int i = 0; i < 2; i++)
            if (rules[i].k < 0 || rules[i].k > 8 || !(rules[i].mass > 0 && rules[i].mass <= 1))
                abort();
    return 0;
}
