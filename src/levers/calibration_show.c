/* Means of a calibration, for whoever shows them (sluice/calibrate.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "levers/budget.h"
#include "levers/calibration.h"

sluice_calibration_info sluice_calibration_describe(const sluice_calibration *c)
{
    return (sluice_calibration_info){.model = c->model,
                                     .layers = c->layers,
                                     .experts = c->experts,
                                     .top_k = c->top_k,
                                     .tokens = (int32_t)sluice_calibration_tokens(c),
                                     .effect_tokens = (int32_t)sluice_calibration_effect_tokens(c),
                                     .complete = c->windows_done == c->windows &&
                                                 c->effects_done == c->effect_windows};
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

sluice_calibration_point sluice_calibration_at(const sluice_calibration *c, int32_t layer,
                                               int32_t k)
{
    const sluice_calibration_layer *l = &c->layer[layer];
    const sluice_calibration_choice *choice = &l->by_k[k];
    double tokens = sluice_calibration_tokens(c);
    double effect_tokens = sluice_calibration_effect_tokens(c);
    return (sluice_calibration_point){
        .cosine = ratio(choice->cosine, tokens),
        .cosine_stream = ratio(choice->cosine_stream, tokens),
        .error = sqrt(ratio(choice->error_squared, l->output_squared)),
        .error_stream = sqrt(ratio(choice->error_squared, l->stream_squared)),
        .gain = sluice_calibration_gain(choice),
        .gain_error = sqrt(ratio(sluice_calibration_gain_error(l, choice), l->output_squared)),
        .effect = choice->effect >= 0 && effect_tokens > 0 ? choice->effect / effect_tokens : -1};
}

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static double share_of_top_tenth(const sluice_calibration *c, const int64_t *uses)
{
    size_t experts = (size_t)c->experts, tenth = (experts + 9) / 10;
    int64_t *sorted = malloc(experts * sizeof *sorted);
    double top = 0, all = 0;
    if (!sorted) return NAN;
    memcpy(sorted, uses, experts * sizeof *sorted);
    qsort(sorted, experts, sizeof *sorted, descending);
    for (size_t i = 0; i < experts; i++) {
        all += (double)sorted[i];
        if (i < tenth) top += (double)sorted[i];
    }
    free(sorted);
    return ratio(top, all);
}

sluice_calibration_routing sluice_calibration_routes(const sluice_calibration *c, int32_t layer)
{
    const sluice_calibration_layer *l = &c->layer[layer];
    double tokens = sluice_calibration_tokens(c);
    sluice_calibration_routing r = {.entropy = ratio(l->entropy, tokens),
                                    .overlap = ratio(l->overlap, sluice_calibration_pairs(c)),
                                    .top_tenth = share_of_top_tenth(c, l->uses)};
    for (int32_t i = 0; i < c->experts; i++)
        r.used += l->uses[i] > 0;
    for (int32_t i = 0; i < c->top_k; i++)
        r.mass += ratio(l->gate[i], tokens);
    return r;
}

double sluice_calibration_gate(const sluice_calibration *c, int32_t layer, int32_t rank)
{
    return ratio(c->layer[layer].gate[rank], sluice_calibration_tokens(c));
}

sluice_status sluice_calibration_budget(const sluice_calibration *c, double budget,
                                        sluice_calibration_ruling *layers, double *loads,
                                        sluice_error *err)
{
    sluice_policy_rule *rules = calloc((size_t)c->layers, sizeof *rules);
    if (!rules) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for rules");
    sluice_status status = sluice_budget_rules(c, budget, rules, loads, err);
    for (int32_t i = 0; status == SLUICE_OK && i < c->layers; i++)
        layers[i] = (sluice_calibration_ruling){rules[i].k, rules[i].mass, rules[i].gain};
    free(rules);
    return status;
}
