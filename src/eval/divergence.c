/* How far a model's predictions are from saved ones (sluice/eval.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "eval/interval.h"
#include "eval/pending.h"
#include "eval/predictions.h"
#include "eval/window_log.h"

typedef struct comparison {
    sluice_predictions *file;
    const sluice_windows *windows;
    sluice_scores base, scores;
    double *kl;          /* [windows], sums */
    int32_t *agree;      /* [windows] */
    int64_t *first_rows; /* [windows] */
    float *rows;         /* [rows], KL of each */
    sluice_window_log *log;
    int32_t vocab;
} comparison;

static sluice_status compare_row(void *context, const sluice_window_row *row, sluice_error *err)
{
    comparison *c = context;
    sluice_prediction p;
    int32_t best, w = row->window;
    double norm = sluice_logits_norm(row->logits, c->vocab, &best), kl = 0;
    SLUICE_TRY(sluice_predictions_get(c->file, w, row->row, &p, err));
    for (int32_t i = 0; i < c->vocab; i++)
        kl += exp(p.log_p[i]) * (p.log_p[i] - ((double)row->logits[i] - norm));
    c->rows[c->first_rows[w] + (int64_t)c->scores.predicted[w]] = (float)kl;
    c->base.nll[w] -= p.log_next;
    c->base.predicted[w] += 1;
    c->scores.nll[w] += norm - (double)row->logits[row->next];
    c->scores.predicted[w] += 1;
    c->kl[w] += kl;
    c->agree[w] += best == p.best;
    if (!c->log || row->row < c->windows->window - 2) return SLUICE_OK;
    return sluice_window_log_add(c->log, w, err);
}

/* What the log holds of a window beside the scores. */
static bool describe(void *context, int32_t window, json_t *entry)
{
    const comparison *c = context;
    const float *rows = c->rows + c->first_rows[window];
    json_t *kls = json_array();
    bool good = kls != NULL;
    for (int32_t i = 0; good && i < (int32_t)c->scores.predicted[window]; i++)
        good = json_array_append_new(kls, json_real((double)rows[i])) == 0;
    return json_object_set_new(entry, "rows", good ? kls : NULL) == 0 &&
           json_object_set_new(entry, "base_nll", json_real(c->base.nll[window])) == 0 &&
           json_object_set_new(entry, "kl", json_real(c->kl[window])) == 0 &&
           json_object_set_new(entry, "agree", json_integer(c->agree[window])) == 0;
}

static bool keep(void *context, int32_t window, const json_t *entry)
{
    comparison *c = context;
    const json_t *rows = json_object_get(entry, "rows");
    int32_t count = c->windows->window - 1 - c->windows->windows[window].first;
    int agree;
    double base, kl;
    if (json_unpack((json_t *)entry, "{s:F, s:F, s:i}", "base_nll", &base, "kl", &kl, "agree",
                    &agree) != 0 ||
        json_array_size(rows) != (size_t)count || agree < 0 || agree > count)
        return false;
    for (int32_t i = 0; i < count; i++)
        c->rows[c->first_rows[window] + i] =
            (float)json_number_value(json_array_get(rows, (size_t)i));
    c->base.nll[window] = base;
    c->base.predicted[window] = count;
    c->kl[window] = kl;
    c->agree[window] = agree;
    return true;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of the sorted rows lies. */
static double quantile(const comparison *c, double share)
{
    return (double)c->rows[(int64_t)(share * (double)(c->windows->rows - 1) + 0.5)];
}

static void report(comparison *c, sluice_divergence *out)
{
    const sluice_windows *w = c->windows;
    const sluice_predictions_origin *origin = sluice_predictions_made_by(c->file);
    int64_t agree = 0;
    for (int32_t i = 0; i < w->count; i++)
        agree += c->agree[i];
    qsort(c->rows, (size_t)w->rows, sizeof *c->rows, by_value);
    *out = (sluice_divergence){
        .fingerprint = origin->fingerprint,
        .k = origin->k,
        .exact = origin->exact,
        .window = w->window,
        .stride = w->stride,
        .base = sluice_scores_perplexity(&c->base, 0, w->count),
        .perplexity = sluice_scores_perplexity(&c->scores, 0, w->count),
        .kl = sluice_interval_ratio(c->kl, c->scores.predicted, w->count),
        .kl_median = quantile(c, 0.5),
        .kl_p99 = quantile(c, 0.99),
        .kl_max = quantile(c, 1),
        .top_1 = sluice_interval_share(agree, w->rows),
    };
    memcpy(out->model, origin->model, sizeof out->model);
    for (int32_t i = 0; i < w->count; i++) /* from here on, what more each window costs */
        c->base.nll[i] = c->scores.nll[i] - c->base.nll[i];
    out->ratio =
        sluice_interval_exp(sluice_interval_ratio(c->base.nll, c->scores.predicted, w->count));
}

static sluice_status take_memory(comparison *c, sluice_error *err)
{
    const sluice_windows *w = c->windows;
    SLUICE_TRY(sluice_scores_new(w->count, &c->base, err));
    SLUICE_TRY(sluice_scores_new(w->count, &c->scores, err));
    c->kl = calloc((size_t)w->count, sizeof *c->kl);
    c->agree = calloc((size_t)w->count, sizeof *c->agree);
    c->first_rows = calloc((size_t)w->count + 1, sizeof *c->first_rows);
    c->rows = calloc((size_t)w->rows, sizeof *c->rows);
    if (!c->kl || !c->agree || !c->first_rows || !c->rows)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to compare %d windows", w->count);
    for (int32_t i = 0; i < w->count; i++)
        c->first_rows[i + 1] = c->first_rows[i] + w->window - 1 - w->windows[i].first;
    return SLUICE_OK;
}

static sluice_status compare(sluice_engine *engine, comparison *c,
                             const sluice_eval_text_options *wanted, sluice_divergence *out,
                             sluice_error *err)
{
    sluice_eval_text_options as_saved = *wanted, *options = &as_saved;
    options->decode = sluice_predictions_made_by(c->file)->decode;
    char id[16];
    const sluice_window_log_kind kind = {"kld", id, describe, keep, c};
    c->windows = sluice_predictions_windows(c->file);
    snprintf(id, sizeof id, "%08x", sluice_predictions_id(c->file));
    SLUICE_TRY(take_memory(c, err));
    if (options->log)
        SLUICE_TRY(sluice_window_log_open(options, engine, &kind, c->windows, NULL, &c->scores,
                                          &c->log, err));
    sluice_status status =
        sluice_pending_run(engine, c->windows, &c->scores, options, compare_row, c, err);
    sluice_window_log_close(c->log);
    if (status == SLUICE_OK) report(c, out);
    return status;
}

sluice_status sluice_eval_divergence(sluice_engine *engine, const char *file,
                                     const sluice_eval_text_options *options,
                                     sluice_divergence *out, sluice_error *err)
{
    comparison c = {.vocab = sluice_engine_info(engine)->vocab};
    SLUICE_TRY(sluice_predictions_open(file, &c.file, err));
    int32_t vocab = sluice_predictions_made_by(c.file)->vocab;
    sluice_status status =
        vocab == c.vocab ? compare(engine, &c, options, out, err)
                         : sluice_fail(err, SLUICE_USAGE,
                                       "%s: predictions over a vocabulary of %d; this model's has "
                                       "%d tokens",
                                       file, vocab, c.vocab);
    sluice_scores_free(&c.base);
    sluice_scores_free(&c.scores);
    free(c.kl);
    free(c.agree);
    free(c.first_rows);
    free(c.rows);
    sluice_predictions_close(c.file);
    return status;
}

sluice_status sluice_eval_predictions_window(const char *file, int32_t *window, sluice_error *err)
{
    sluice_predictions *predictions;
    SLUICE_TRY(sluice_predictions_open(file, &predictions, err));
    *window = sluice_predictions_windows(predictions)->window;
    sluice_predictions_close(predictions);
    return SLUICE_OK;
}
