/* Calibrating a model on texts (sluice/calibrate.h): windows in order, the file whole after each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "engine/engine.h"
#include "eval/calibrate_effect.h"
#include "eval/calibrate_sums.h"
#include "eval/windows.h"
#include "os/file.h"
#include "sluice/calibrate.h"

#define TOKENS_DEFAULT 16384
#define EFFECT_TOKENS_DEFAULT 1024
#define EFFECT_PARTS 4 /* an effect window is this part of a window */

typedef struct job {
    sluice_engine *engine;
    const sluice_calibrate_options *options;
    sluice_windows windows;
    sluice_calibration *c;
    sluice_calibrate_sums *sums;
    sluice_session *session;
    bool resumed;
    sluice_error *err;
} job;

static void see(void *context, const sluice_moe_observation *seen)
{
    sluice_calibrate_sums_add(context, seen);
}

static sluice_status check_engine(const sluice_engine *engine, sluice_error *err)
{
    if (!*engine->info.lossy) return SLUICE_OK;
    return sluice_fail(err, SLUICE_USAGE,
                       "a calibration measures the full model: open it without %s",
                       engine->info.lossy);
}

/* What this run would write, with nothing measured. */
static sluice_status plan(job *j, sluice_calibration **out)
{
    const sluice_model_info *info = sluice_engine_info(j->engine);
    const sluice_windows *w = &j->windows;
    SLUICE_TRY(sluice_calibration_new(info->layers, info->experts, info->top_k, out, j->err));
    sluice_calibration *c = *out;
    snprintf(c->model, sizeof c->model, "%s", info->name);
    c->fingerprint = j->engine->model->fingerprint_bare;
    c->window = w->window;
    c->windows = w->count;
    for (int32_t i = 0; i < w->count; i++)
        c->text_crc = sluice_crc32c(c->text_crc, w->tokens + w->windows[i].at,
                                    (size_t)w->window * sizeof *w->tokens);
    int32_t effect_tokens = j->options->effect_tokens;
    if (effect_tokens == 0) effect_tokens = EFFECT_TOKENS_DEFAULT;
    c->effect_window = w->window / EFFECT_PARTS > 2 ? w->window / EFFECT_PARTS : 2;
    c->effect_windows = effect_tokens > 0 ? effect_tokens / c->effect_window : 0;
    if (effect_tokens > 0 && c->effect_windows < 1) c->effect_windows = 1;
    if (c->effect_windows > c->windows) c->effect_windows = c->windows;
    return SLUICE_OK;
}

static sluice_status go_on(job *j)
{
    sluice_calibration *old;
    SLUICE_TRY(plan(j, &j->c));
    if (!sluice_file_exists(j->options->file)) return SLUICE_OK;
    SLUICE_TRY(sluice_calibration_read(j->options->file, &old, j->err));
    const sluice_calibration *c = j->c;
    bool same = old->layers == c->layers && old->experts == c->experts && old->top_k == c->top_k &&
                old->fingerprint == c->fingerprint && old->text_crc == c->text_crc &&
                old->window == c->window && old->windows == c->windows &&
                old->effect_window == c->effect_window && old->effect_windows == c->effect_windows;
    if (!same) {
        sluice_calibration_free(old);
        return sluice_fail(j->err, SLUICE_USAGE,
                           "%s: a calibration of another model, text or length: give another file, "
                           "or remove it",
                           j->options->file);
    }
    sluice_calibration_free(j->c);
    j->c = old;
    j->resumed = old->windows_done > 0;
    return SLUICE_OK;
}

static sluice_status tell(const job *j)
{
    const sluice_calibration *c = j->c;
    const sluice_calibrate_progress p = {c->windows_done, c->windows, c->effects_done,
                                         c->effect_windows, j->resumed};
    if (!j->options->progress || j->options->progress(j->options->context, &p)) return SLUICE_OK;
    return sluice_fail(j->err, SLUICE_CANCELLED, "stopped; called again, it goes on from here");
}

static sluice_status run_window(job *j, int32_t index)
{
    const sluice_windows *w = &j->windows;
    const sluice_moe_observer observer = {see, j->sums};
    sluice_session_clear(j->session);
    sluice_calibrate_sums_begin(j->sums);
    SLUICE_TRY(sluice_forward_observe(j->engine->forward, &observer, j->err));
    sluice_input input = {.session = j->session,
                          .tokens = w->tokens + w->windows[index].at,
                          .count = w->window,
                          .logits_from = w->window};
    sluice_status status = sluice_engine_step(j->engine, &input, 1, NULL, NULL, j->err);
    sluice_forward_observe(j->engine->forward, NULL, NULL);
    return status;
}

static sluice_status run(job *j)
{
    sluice_calibration *c = j->c;
    SLUICE_TRY(
        sluice_calibrate_sums_new(c, sluice_engine_info(j->engine)->hidden, &j->sums, j->err));
    SLUICE_TRY(sluice_session_open(j->engine, &j->session, j->err));
    SLUICE_TRY(tell(j));
    while (c->windows_done < c->windows) {
        SLUICE_TRY(run_window(j, c->windows_done));
        c->windows_done++;
        SLUICE_TRY(sluice_calibration_write(c, j->options->file, j->err));
        SLUICE_TRY(tell(j));
    }
    /* Spread over the texts. */
    int32_t step = c->effect_windows ? c->windows / c->effect_windows : 0;
    while (c->effects_done < c->effect_windows) {
        const int32_t *tokens = j->windows.tokens + j->windows.windows[c->effects_done * step].at;
        SLUICE_TRY(
            sluice_calibrate_effect(j->engine, j->session, tokens, c->effect_window, c, j->err));
        c->effects_done++;
        SLUICE_TRY(sluice_calibration_write(c, j->options->file, j->err));
        SLUICE_TRY(tell(j));
    }
    return SLUICE_OK;
}

sluice_status sluice_calibrate(sluice_engine *engine, const char *const *paths, int32_t n,
                               const sluice_calibrate_options *options, sluice_error *err)
{
    job j = {.engine = engine, .options = options, .err = err};
    int32_t window = options->window ? options->window : SLUICE_WINDOW_DEFAULT;
    int32_t tokens = options->tokens_max ? options->tokens_max : TOKENS_DEFAULT;
    const sluice_eval_text_options text = {.window = window};
    SLUICE_TRY(check_engine(engine, err));
    SLUICE_TRY(sluice_windows_load(engine, paths, n, &text, &j.windows, err));
    if (j.windows.count > tokens / window)
        j.windows.count = tokens / window > 1 ? tokens / window : 1;
    sluice_status status = go_on(&j);
    if (status == SLUICE_OK) status = run(&j);
    if (j.session) sluice_session_close(j.session);
    sluice_calibrate_sums_free(j.sums);
    sluice_calibration_free(j.c);
    sluice_windows_free(&j.windows);
    return status;
}
