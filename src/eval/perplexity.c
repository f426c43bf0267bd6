/* Perplexity of texts. */
#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "eval/interval.h"
#include "eval/pending.h"
#include "eval/window_log.h"

sluice_status sluice_scores_new(int32_t windows, sluice_scores *out, sluice_error *err)
{
    sluice_scores scores = {.nll = calloc((size_t)windows, sizeof *scores.nll),
                            .predicted = calloc((size_t)windows, sizeof *scores.predicted)};
    if (!scores.nll || !scores.predicted) {
        sluice_scores_free(&scores);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the scores of %d windows",
                           windows);
    }
    *out = scores;
    return SLUICE_OK;
}

void sluice_scores_free(sluice_scores *scores)
{
    free(scores->nll);
    free(scores->predicted);
}

sluice_perplexity sluice_scores_perplexity(const sluice_scores *scores, int32_t begin, int32_t end)
{
    sluice_perplexity p = {.windows = end - begin};
    for (int32_t i = begin; i < end; i++) {
        p.nll += scores->nll[i];
        p.predicted += (int64_t)scores->predicted[i];
    }
    p.perplexity = sluice_interval_exp(
        sluice_interval_ratio(scores->nll + begin, scores->predicted + begin, end - begin));
    return p;
}

typedef struct measure {
    const sluice_windows *windows;
    sluice_scores scores;
    sluice_window_log *log; /* NULL: none */
    int32_t vocab;
} measure;

static sluice_status on_row(void *context, const sluice_window_row *row, sluice_error *err)
{
    measure *m = context;
    int32_t best;
    m->scores.nll[row->window] +=
        sluice_logits_norm(row->logits, m->vocab, &best) - (double)row->logits[row->next];
    m->scores.predicted[row->window] += 1;
    if (!m->log || row->row < m->windows->window - 2) return SLUICE_OK;
    return sluice_window_log_add(m->log, row->window, err);
}

static sluice_status run(measure *m, sluice_engine *engine, const char *const *paths,
                         const sluice_eval_text_options *options, sluice_error *err)
{
    static const sluice_window_log_kind kind = {.evaluation = "ppl"};
    SLUICE_TRY(sluice_scores_new(m->windows->count, &m->scores, err));
    if (options->log)
        SLUICE_TRY(sluice_window_log_open(options, engine, &kind, m->windows, paths, &m->scores,
                                          &m->log, err));
    return sluice_pending_run(engine, m->windows, &m->scores, options, on_row, m, err);
}

static void report(const sluice_windows *w, const sluice_scores *scores, int32_t texts,
                   sluice_perplexity *each, sluice_perplexity *all)
{
    int32_t begin = 0;
    for (int32_t t = 0; each && t < texts; t++) {
        int32_t end = begin;
        while (end < w->count && w->windows[end].text == t)
            end++;
        each[t] = sluice_scores_perplexity(scores, begin, end);
        begin = end;
    }
    *all = sluice_scores_perplexity(scores, 0, w->count);
}

sluice_status sluice_eval_perplexity(sluice_engine *engine, const char *const *paths, int32_t n,
                                     const sluice_eval_text_options *options,
                                     sluice_perplexity *each, sluice_perplexity *all,
                                     sluice_error *err)
{
    sluice_windows windows;
    measure m = {.windows = &windows, .vocab = sluice_engine_info(engine)->vocab};
    SLUICE_TRY(sluice_windows_load(engine, paths, n, options, &windows, err));
    sluice_status status = run(&m, engine, paths, options, err);
    if (status == SLUICE_OK) report(&windows, &m.scores, n, each, all);
    sluice_window_log_close(m.log);
    sluice_scores_free(&m.scores);
    sluice_windows_free(&windows);
    return status;
}
