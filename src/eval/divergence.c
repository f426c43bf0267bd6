/* How far a model's predictions are from saved ones (sluice/eval.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "eval/interval.h"
#include "eval/predictions.h"
#include "eval/scores.h"

typedef struct comparison {
    sluice_predictions *file;
    sluice_scores base, scores;
    double *kl;  /* [windows], sums */
    float *rows; /* [rows], KL of each */
    int64_t rows_count, agree;
    int32_t vocab;
} comparison;

static sluice_status compare_row(void *context, const sluice_window_row *row, sluice_error *err)
{
    comparison *c = context;
    sluice_prediction p;
    int32_t best;
    double norm = sluice_logits_norm(row->logits, c->vocab, &best), kl = 0;
    SLUICE_TRY(sluice_predictions_get(c->file, row->window, row->row, &p, err));
    for (int32_t i = 0; i < c->vocab; i++)
        kl += exp(p.log_p[i]) * (p.log_p[i] - ((double)row->logits[i] - norm));
    c->base.nll[row->window] -= p.log_next;
    c->base.predicted[row->window] += 1;
    c->scores.nll[row->window] += norm - (double)row->logits[row->next];
    c->scores.predicted[row->window] += 1;
    c->kl[row->window] += kl;
    c->rows[c->rows_count++] = (float)kl;
    c->agree += best == p.best;
    return SLUICE_OK;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of the sorted rows lies. */
static double quantile(const comparison *c, double share)
{
    return (double)c->rows[(int64_t)(share * (double)(c->rows_count - 1) + 0.5)];
}

static void report(comparison *c, const sluice_windows *w, sluice_divergence *out)
{
    const sluice_predictions_origin *origin = sluice_predictions_made_by(c->file);
    qsort(c->rows, (size_t)c->rows_count, sizeof *c->rows, by_value);
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
        .top_1 = sluice_interval_share(c->agree, c->rows_count),
    };
    memcpy(out->model, origin->model, sizeof out->model);
    for (int32_t i = 0; i < w->count; i++) /* from here on, what more each window costs */
        c->base.nll[i] = c->scores.nll[i] - c->base.nll[i];
    out->ratio =
        sluice_interval_exp(sluice_interval_ratio(c->base.nll, c->scores.predicted, w->count));
}

static sluice_status compare(sluice_engine *engine, comparison *c,
                             const sluice_eval_text_options *options, sluice_divergence *out,
                             sluice_error *err)
{
    const sluice_windows *w = sluice_predictions_windows(c->file);
    SLUICE_TRY(sluice_scores_new(w->count, &c->base, err));
    SLUICE_TRY(sluice_scores_new(w->count, &c->scores, err));
    c->kl = calloc((size_t)w->count, sizeof *c->kl);
    c->rows = calloc((size_t)w->rows, sizeof *c->rows);
    if (!c->kl || !c->rows)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to compare %d windows", w->count);
    SLUICE_TRY(sluice_windows_run(engine, w, options, compare_row, c, err));
    report(c, w, out);
    return SLUICE_OK;
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
