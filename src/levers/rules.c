/* A rule for each layer (see rules.h). */
#include "levers/rules.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levers/budget.h"
#include "levers/tiers.h"

static bool has_tiers(const sluice_levers *levers)
{
    return levers->tiers && strcmp(levers->tiers, "off") != 0;
}

bool sluice_rules_need_calibration(const sluice_levers *levers)
{
    return levers->budget_loads > 0 || (has_tiers(levers) && sluice_tiers_named(levers->tiers));
}

static const char *const kv_names[] = {"f32", "f16", "int8"}; /* by sluice_kv_type */

sluice_status sluice_rules_kv(const sluice_levers *levers, sluice_kv_type *kv, sluice_error *err)
{
    const char *name = levers->kv ? levers->kv : kv_names[SLUICE_KV_F32];
    for (int type = SLUICE_KV_F32; type <= SLUICE_KV_INT8; type++) {
        *kv = (sluice_kv_type)type;
        if (strcmp(name, kv_names[type]) == 0) return SLUICE_OK;
    }
    return sluice_fail(err, SLUICE_USAGE, "keys and values are kept in f32, f16 or int8, not '%s'",
                       name);
}

__attribute__((format(printf, 2, 3))) static void say(sluice_rules *rules, const char *format, ...)
{
    size_t used = strlen(rules->lossy);
    va_list args;
    if (used && used + 2 < sizeof rules->lossy) {
        memcpy(rules->lossy + used, ", ", 3);
        used += 2;
    }
    va_start(args, format);
    vsnprintf(rules->lossy + used, sizeof rules->lossy - used, format, args);
    va_end(args);
}

/* -1: full; -2: not understood. */
static int32_t prefill_k(const char *prefill, int32_t top_k)
{
    char *end;
    if (!prefill || !strcmp(prefill, "full")) return -1;
    if (!strcmp(prefill, "shared")) return 0;
    if (strncmp(prefill, "k=", 2) != 0) return -2;
    long k = strtol(prefill + 2, &end, 10);
    return end == prefill + 2 || *end || k < 0 || k > top_k ? -2 : (int32_t)k;
}

static bool share(float value)
{
    return value >= 0 && value <= 1;
}

static sluice_status check(const sluice_levers *levers, int32_t k, int32_t layers, int32_t top_k,
                           const sluice_calibration *c, sluice_error *err)
{
    if (!share(levers->top_p) || !share(levers->cache_bias) || !(levers->budget_loads >= 0) ||
        !(levers->skip_above <= 1) || !(levers->light_above <= 1))
        return sluice_fail(err, SLUICE_USAGE,
                           "top-p %g, cache bias %g, budget of %g loads, thresholds %g and %g: "
                           "shares and thresholds are 0 to 1, a budget is positive",
                           (double)levers->top_p, (double)levers->cache_bias,
                           (double)levers->budget_loads, (double)levers->skip_above,
                           (double)levers->light_above);
    bool named = has_tiers(levers) && sluice_tiers_named(levers->tiers);
    if (!named && (levers->skip_above > 0 || levers->light_above > 0 || levers->light_k > 0 ||
                   levers->full_k > 0))
        return sluice_fail(err, SLUICE_USAGE,
                           "thresholds and ks of tiers need tiers: aggressive or balanced");
    if (levers->budget_loads > 0 && (k < top_k || levers->top_p > 0 || has_tiers(levers)))
        return sluice_fail(err, SLUICE_USAGE,
                           "a budget of loads chooses the experts of every layer: it goes with "
                           "neither k nor top-p nor tiers");
    if (has_tiers(levers) && k < top_k)
        return sluice_fail(err, SLUICE_USAGE, "tiers set the k of every layer: not with another k");
    if (prefill_k(levers->prefill, top_k) == -2)
        return sluice_fail(err, SLUICE_USAGE,
                           "prefill '%s' is not full, shared or k=N with N up to %d",
                           levers->prefill, top_k);
    if (levers->prefill_full_tail > 0 && prefill_k(levers->prefill, top_k) == -1)
        return sluice_fail(err, SLUICE_USAGE,
                           "a full tail of the prompt needs a prefill that is not full");
    if (!sluice_rules_need_calibration(levers)) return SLUICE_OK;
    if (c->layers != layers || c->top_k != top_k)
        return sluice_fail(err, SLUICE_USAGE,
                           "the calibration is of another model, '%s': %d layers with %d experts "
                           "at work, not %d with %d",
                           c->model, c->layers, c->top_k, layers, top_k);
    if (c->windows_done < c->windows || c->effects_done < c->effect_windows)
        return sluice_fail(err, SLUICE_USAGE,
                           "the calibration has not come to its end: run calibrate again, it goes "
                           "on where it stopped");
    return SLUICE_OK;
}

static sluice_status fill(const sluice_levers *levers, int32_t k, int32_t top_k,
                          const sluice_calibration *c, sluice_rules *out, sluice_error *err)
{
    for (int32_t i = 0; i < out->n; i++)
        out->layers[i] = (sluice_policy_rule){k, 1, 0};
    if (levers->budget_loads > 0) {
        SLUICE_TRY(
            sluice_budget_rules(c, (double)levers->budget_loads, out->layers, &out->loads, err));
        say(out, "budget of %g loads a token", (double)levers->budget_loads);
    } else if (has_tiers(levers) && sluice_tiers_named(levers->tiers)) {
        SLUICE_TRY(sluice_tiers_cut(levers, c, out->layers, err));
    } else if (has_tiers(levers)) {
        SLUICE_TRY(sluice_tiers_read(levers->tiers, out->n, top_k, out->layers, err));
    }
    if (has_tiers(levers)) {
        int32_t sum = 0;
        for (int32_t i = 0; i < out->n; i++)
            sum += out->layers[i].k;
        say(out, "tiers %.64s (%d of %d experts)", levers->tiers, sum, out->n * top_k);
    }
    if (k < top_k) say(out, "k %d of %d", k, top_k);
    if (levers->top_p > 0 && levers->top_p < 1) {
        for (int32_t i = 0; i < out->n; i++)
            if (levers->top_p < out->layers[i].mass) out->layers[i].mass = levers->top_p;
        say(out, "top-p %g", (double)levers->top_p);
    }
    return SLUICE_OK;
}

static void fill_prompt(const sluice_levers *levers, int32_t k, sluice_rules *out)
{
    for (int32_t i = 0; i < out->n; i++) {
        out->prompt[i] = out->layers[i];
        if (out->prompt[i].k > k) out->prompt[i] = (sluice_policy_rule){k, 1, 0};
    }
    int32_t tail =
        levers->prefill_full_tail > 0 ? levers->prefill_full_tail : SLUICE_PREFILL_FULL_TAIL;
    if (k)
        say(out, "prefill with k %d but for %d tokens", k, tail);
    else
        say(out, "prefill by shared experts but for %d tokens", tail);
}

sluice_status sluice_rules_new(const sluice_levers *levers, int32_t k, int32_t layers,
                               int32_t top_k, const sluice_calibration *c, sluice_rules *out,
                               sluice_error *err)
{
    sluice_kv_type kv;
    SLUICE_TRY(check(levers, k, layers, top_k, c, err));
    SLUICE_TRY(sluice_rules_kv(levers, &kv, err));
    int32_t prompt_k = prefill_k(levers->prefill, top_k);
    sluice_rules rules = {.n = layers, .loads = -1};
    bool any = levers->budget_loads > 0 || has_tiers(levers) ||
               (levers->top_p > 0 && levers->top_p < 1) || prompt_k >= 0;
    if (!any && k < top_k) say(&rules, "k %d of %d", k, top_k);
    if (any) {
        rules.layers = calloc((size_t)layers, 2 * sizeof *rules.layers);
        if (!rules.layers)
            return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for rules of %d layers", layers);
        sluice_status status = fill(levers, k, top_k, c, &rules, err);
        if (status != SLUICE_OK) {
            free(rules.layers);
            return status;
        }
    }
    if (prompt_k >= 0) {
        rules.prompt = rules.layers + layers;
        fill_prompt(levers, prompt_k, &rules);
    }
    if (levers->cache_bias > 0)
        say(&rules, "cache bias %g (answers depend on the cache)", (double)levers->cache_bias);
    if (kv != SLUICE_KV_F32) say(&rules, "keys and values in %s", kv_names[kv]);
    *out = rules;
    return SLUICE_OK;
}

void sluice_rules_free(sluice_rules *rules)
{
    free(rules->layers);
    *rules = (sluice_rules){0};
}
