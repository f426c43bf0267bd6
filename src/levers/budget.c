/* Spending a budget of loads (see budget.h). */
#include "levers/budget.h"

#include <math.h>
#include <stdlib.h>

#include "levers/allocation.h"

#define UNITS_A_LOAD 16
#define COST_MAX 1e30 /* of sums that no model gives */

/* The squared error, with gains, at a mean number of loads: straight between the ks on both sides.
 */
static double error_at(const sluice_calibration *c, const sluice_calibration_layer *layer,
                       double loads)
{
    int32_t k = (int32_t)loads < c->top_k ? (int32_t)loads : c->top_k - 1;
    double part = loads - k, low = sluice_calibration_gain_error(layer, &layer->by_k[k]);
    return low + part * (sluice_calibration_gain_error(layer, &layer->by_k[k + 1]) - low);
}

/* The effect of so many experts: between the measured ks around it they fall by a constant factor,
 * behind the last one in a straight line to nothing. Negative: none is measured. */
static double effect_at(const sluice_calibration *c, const sluice_calibration_layer *layer,
                        double loads)
{
    int32_t low = -1, high = c->top_k;
    for (int32_t k = 0; k < c->top_k; k++) {
        if (layer->by_k[k].effect < 0) continue;
        if (k <= loads) low = k;
        if (k > loads && high == c->top_k) high = k;
    }
    if (low < 0) return -1;
    double effect = layer->by_k[low].effect, part = (loads - low) / (high - low);
    if (high == c->top_k) return effect * (1 - part);
    double next = layer->by_k[high].effect;
    return effect > 0 && next > 0 ? effect * pow(next / effect, part)
                                  : effect + part * (next - effect);
}

double sluice_budget_cost(const sluice_calibration *c, int32_t index,
                          const sluice_calibration_choice *choice)
{
    const sluice_calibration_layer *layer = &c->layer[index];
    double loads = choice->loads / sluice_calibration_tokens(c);
    double effect = c->effects_done ? effect_at(c, layer, loads) : -1;
    double error = error_at(c, layer, loads);
    double left = sluice_calibration_gain_error(layer, choice);
    if (effect < 0) return layer->stream_squared > 0 ? left / layer->stream_squared : 0;
    double relief = error > 0 ? left / error : 1;
    return effect * relief / sluice_calibration_effect_tokens(c);
}

static void fill(const sluice_calibration *c, sluice_allocation_option *options)
{
    int32_t per_layer = c->top_k + 1 + SLUICE_CALIBRATION_MASSES;
    double tokens = sluice_calibration_tokens(c);
    for (int32_t l = 0; l < c->layers; l++)
        for (int32_t i = 0; i < per_layer; i++) {
            /* by_mass lies behind by_k */
            const sluice_calibration_choice *choice = &c->layer[l].by_k[i];
            double cost = sluice_budget_cost(c, l, choice);
            options[l * per_layer + i] = (sluice_allocation_option){
                (int32_t)ceil(choice->loads / tokens * UNITS_A_LOAD - 1e-9),
                cost < COST_MAX ? cost : COST_MAX};
        }
}

static double apply(const sluice_calibration *c, const int32_t *chosen, sluice_policy_rule *rules)
{
    double loads = 0;
    for (int32_t l = 0; l < c->layers; l++) {
        int32_t mass = chosen[l] - (c->top_k + 1);
        float gain = (float)sluice_calibration_gain(&c->layer[l].by_k[chosen[l]]);
        rules[l] = mass < 0 ? (sluice_policy_rule){chosen[l], 1, chosen[l] < c->top_k ? gain : 0}
                            : (sluice_policy_rule){c->top_k, sluice_calibration_mass(mass), gain};
        loads += c->layer[l].by_k[chosen[l]].loads;
    }
    return loads / sluice_calibration_tokens(c);
}

sluice_status sluice_budget_rules(const sluice_calibration *c, double loads,
                                  sluice_policy_rule *rules, double *spent, sluice_error *err)
{
    double all = (double)c->layers * c->top_k;
    if (!(loads >= 0)) return sluice_fail(err, SLUICE_USAGE, "a budget of %g loads", loads);
    if (!c->windows_done)
        return sluice_fail(err, SLUICE_USAGE, "the calibration has not measured anything yet");
    int32_t units = (int32_t)((loads < all ? loads : all) * UNITS_A_LOAD);
    int32_t per_layer = c->top_k + 1 + SLUICE_CALIBRATION_MASSES;
    sluice_allocation_option *options =
        calloc((size_t)c->layers * (size_t)per_layer, sizeof *options);
    int32_t *chosen = calloc((size_t)c->layers, sizeof *chosen);
    sluice_status status = SLUICE_OK;
    if (!options || !chosen) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory to spend a budget");
    } else {
        fill(c, options);
        status = sluice_allocation_solve(options, c->layers, per_layer, units, chosen, err);
    }
    if (status == SLUICE_OK) *spent = apply(c, chosen, rules);
    free(options);
    free(chosen);
    return status;
}
