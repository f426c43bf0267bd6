/* Saving a model's predictions of texts (sluice/eval.h). */
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "engine/engine.h"
#include "eval/pending.h"
#include "eval/predictions.h"

typedef struct saving {
    sluice_predictions *file;
    sluice_scores scores;
    int32_t vocab;
} saving;

static sluice_status save_row(void *context, const sluice_window_row *row, sluice_error *err)
{
    saving *s = context;
    int32_t best;
    double norm = sluice_logits_norm(row->logits, s->vocab, &best);
    return sluice_predictions_put(s->file, row, best, norm, err);
}

static sluice_predictions_origin origin_of(const sluice_engine *engine, bool decode)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    sluice_predictions_origin origin = {.fingerprint = engine->model->fingerprint,
                                        .levers =
                                            sluice_crc32c(0, info->lossy, strlen(info->lossy)),
                                        .vocab = info->vocab,
                                        .k = info->k,
                                        .exact = engine->options.exact,
                                        .decode = decode};
    snprintf(origin.model, sizeof origin.model, "%s", info->name);
    return origin;
}

static sluice_status save_windows(sluice_engine *engine, const sluice_windows *windows,
                                  const sluice_eval_text_options *options, const char *path,
                                  saving *s, sluice_error *err)
{
    sluice_predictions_origin origin = origin_of(engine, options->decode);
    SLUICE_TRY(sluice_predictions_create(path, &origin, windows, &s->scores, &s->file, err));
    sluice_status status =
        sluice_pending_run(engine, windows, &s->scores, options, save_row, s, err);
    if (status == SLUICE_OK) return sluice_predictions_commit(s->file, err);
    sluice_predictions_close(s->file);
    return status;
}

sluice_status sluice_eval_predictions_save(sluice_engine *engine, const char *const *paths,
                                           int32_t n, const sluice_eval_text_options *options,
                                           const char *file, sluice_perplexity *all,
                                           sluice_error *err)
{
    sluice_windows windows;
    saving s = {.vocab = sluice_engine_info(engine)->vocab};
    SLUICE_TRY(sluice_windows_load(engine, paths, n, options, &windows, err));
    sluice_status status = sluice_scores_new(windows.count, &s.scores, err);
    if (status == SLUICE_OK) {
        status = save_windows(engine, &windows, options, file, &s, err);
        if (status == SLUICE_OK) *all = sluice_scores_perplexity(&s.scores, 0, windows.count);
        sluice_scores_free(&s.scores);
    }
    sluice_windows_free(&windows);
    return status;
}
