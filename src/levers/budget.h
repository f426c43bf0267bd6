/* The rules that spend a budget of loads best (rules.h says by which error model). */
#ifndef SLUICE_LEVERS_BUDGET_H
#define SLUICE_LEVERS_BUDGET_H

#include "levers/calibration.h"
#include "model/policy.h"

/* What a way to run a layer costs, by the error model: nats a token where effects were measured. */
double sluice_budget_cost(const sluice_calibration *c, int32_t layer,
                          const sluice_calibration_choice *choice);

/* rules [c->layers] that take `loads` a token at most, as calibrated; *spent receives how many. */
sluice_status sluice_budget_rules(const sluice_calibration *c, double loads,
                                  sluice_policy_rule *rules, double *spent, sluice_error *err);

#endif
