/* Effects of one layer on the predictions (see calibrate_effect.h). */
#include "eval/calibrate_effect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "eval/windows.h"

#define LOGITS_BYTES_MAX ((size_t)64 << 20)

typedef struct effect {
    sluice_engine *engine;
    sluice_session *session;
    const int32_t *tokens;
    int32_t n, from; /* rows [from, n) are compared */
    int32_t vocab;
    float *base; /* [n - from, vocab], log-probabilities of the full model */
    bool is_base;
    double kl; /* sum over rows */
    sluice_error *err;
} effect;

static sluice_status on_logits(void *context, int32_t input, int32_t token, const float *logits)
{
    effect *e = context;
    int32_t best;
    float *base = e->base + (size_t)(token - e->from) * (size_t)e->vocab;
    double norm = sluice_logits_norm(logits, e->vocab, &best), kl = 0;
    (void)input;
    if (!isfinite(norm))
        return sluice_fail(e->err, SLUICE_CORRUPT, "the model computed a logit that is not finite");
    for (int32_t i = 0; i < e->vocab; i++) {
        double log_q = (double)logits[i] - norm;
        if (e->is_base)
            base[i] = (float)log_q;
        else
            kl += exp((double)base[i]) * ((double)base[i] - log_q);
    }
    if (kl > 0) e->kl += kl;
    return SLUICE_OK;
}

static sluice_status run(effect *e)
{
    sluice_session_clear(e->session);
    sluice_input input = {
        .session = e->session, .tokens = e->tokens, .count = e->n, .logits_from = e->from};
    e->kl = 0;
    return sluice_engine_step(e->engine, &input, 1, on_logits, e, e->err);
}

/* None, one, a quarter, a half and three quarters of the experts: enough to follow how effects fall
 * with more of them. */
static bool is_measured(int32_t k, int32_t top_k)
{
    if (k == 1) return true;
    for (int32_t quarter = 0; quarter < 4; quarter++)
        if (k == (quarter * top_k + 2) / 4 && k < top_k) return true;
    return false;
}

static sluice_status run_layers(effect *e, const sluice_calibration *c, sluice_policy_rule *rules,
                                double *kl)
{
    e->is_base = true;
    SLUICE_TRY(run(e));
    e->is_base = false;
    sluice_policy_set_rules(&e->engine->policy, c->layers, rules, NULL);
    for (int32_t l = 0; l < c->layers; l++) {
        for (int32_t k = 0; k < c->top_k; k++) {
            if (!is_measured(k, c->top_k)) continue;
            rules[l].k = k;
            rules[l].gain = (float)sluice_calibration_gain(&c->layer[l].by_k[k]);
            SLUICE_TRY(run(e));
            kl[l * c->top_k + k] = e->kl / (e->n - e->from) * e->n;
        }
        rules[l] = (sluice_policy_rule){c->top_k, 1, 0};
    }
    return SLUICE_OK;
}

static void add(sluice_calibration *c, const double *kl)
{
    for (int32_t l = 0; l < c->layers; l++)
        for (int32_t k = 0; k < c->top_k; k++) {
            sluice_calibration_choice *choice = &c->layer[l].by_k[k];
            if (!is_measured(k, c->top_k)) continue;
            choice->effect = (choice->effect > 0 ? choice->effect : 0) + kl[l * c->top_k + k];
        }
}

sluice_status sluice_calibrate_effect(sluice_engine *engine, sluice_session *session,
                                      const int32_t *tokens, int32_t n, sluice_calibration *c,
                                      sluice_error *err)
{
    effect e = {.engine = engine,
                .session = session,
                .tokens = tokens,
                .n = n,
                .vocab = sluice_engine_info(engine)->vocab,
                .err = err};
    size_t row = (size_t)e.vocab * sizeof *e.base, rows_max = LOGITS_BYTES_MAX / row;
    if (rows_max < 1) rows_max = 1;
    if ((size_t)n > rows_max) e.from = n - (int32_t)rows_max;
    e.base = malloc((size_t)(n - e.from) * row);
    sluice_policy_rule *rules = calloc((size_t)c->layers, sizeof *rules);
    double *kl = calloc((size_t)c->layers * (size_t)c->top_k, sizeof *kl);
    const sluice_policy full = engine->policy;
    sluice_status status = SLUICE_OK;
    if (!e.base || !rules || !kl) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the predictions of %d tokens",
                             n - e.from);
    } else {
        for (int32_t l = 0; l < c->layers; l++)
            rules[l] = (sluice_policy_rule){c->top_k, 1, 0};
        status = run_layers(&e, c, rules, kl);
    }
    engine->policy = full;
    sluice_session_clear(session);
    if (status == SLUICE_OK) add(c, kl);
    free(e.base);
    free(rules);
    free(kl);
    return status;
}
