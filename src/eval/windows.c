/* Windows of tokens (see windows.h). */
#include "eval/windows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/engine.h"
#include "os/file.h"

#define TEXT_BYTES_MAX ((size_t)1 << 30)

/* Says which file a sentence of somebody else is about. */
static sluice_status name_file(const char *path, sluice_status status, sluice_error *err)
{
    char detail[sizeof err->detail];
    if (status == SLUICE_OK || !err) return status;
    snprintf(detail, sizeof detail, "%s", err->detail);
    return sluice_fail(err, status, "%s: %s", path, detail);
}

static sluice_status tokenise(const sluice_engine *engine, const char *path, bool special,
                              sluice_ids *ids, sluice_error *err)
{
    const sluice_tokenizer *tokenizer = sluice_engine_tokenizer(engine);
    char *text;
    size_t bytes;
    if (!tokenizer)
        return sluice_fail(err, SLUICE_USAGE,
                           "the model's folder has no tokenizer.json, which "
                           "texts need");
    SLUICE_TRY(sluice_file_load(path, TEXT_BYTES_MAX, &text, &bytes, err));
    sluice_status status = sluice_tokenizer_encode(
        tokenizer, text, bytes, special ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER, ids,
        err);
    free(text);
    return name_file(path, status, err);
}

static int32_t first_row(const sluice_windows *w, int32_t index)
{
    return index == 0 || w->stride == w->window ? 0 : w->window - w->stride - 1;
}

static sluice_status add_text(sluice_windows *w, int32_t text, const char *path,
                              const sluice_ids *ids, int32_t windows_max, sluice_error *err)
{
    size_t window = (size_t)w->window;
    if (ids->count < window)
        return sluice_fail(err, SLUICE_BAD_INPUT,
                           "%s: its %zu tokens are fewer than a window of %d", path, ids->count,
                           w->window);
    size_t count = (ids->count - window) / (size_t)w->stride + 1;
    if (windows_max > 0 && count > (size_t)windows_max) count = (size_t)windows_max;
    if (count > (size_t)(INT32_MAX - w->count))
        return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d windows", path, INT32_MAX);
    size_t used = (count - 1) * (size_t)w->stride + window;
    int32_t *tokens = realloc(w->tokens, ((size_t)w->tokens_count + used) * sizeof *tokens);
    if (tokens) w->tokens = tokens;
    sluice_window *windows = realloc(w->windows, ((size_t)w->count + count) * sizeof *windows);
    if (windows) w->windows = windows;
    if (!tokens || !windows)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for %zu tokens", path, used);
    memcpy(tokens + w->tokens_count, ids->ids, used * sizeof *tokens);
    for (int32_t i = 0; i < (int32_t)count; i++) {
        int32_t first = first_row(w, i);
        windows[w->count++] =
            (sluice_window){text, first, w->tokens_count + (int64_t)i * w->stride};
        w->rows += w->window - 1 - first;
    }
    w->tokens_count += (int64_t)used;
    return SLUICE_OK;
}

static sluice_status check(const sluice_engine *engine, const sluice_windows *w, sluice_error *err)
{
    int32_t context = sluice_engine_info(engine)->context;
    if (w->window < 2 || w->stride < 1 || w->stride > w->window)
        return sluice_fail(
            err, SLUICE_USAGE,
            "a window of %d tokens with a stride of %d: a window has at least 2, and "
            "a stride 1 to a window",
            w->window, w->stride);
    if (w->window > context)
        return sluice_fail(err, SLUICE_LIMIT, "a window of %d is more than the context of %d",
                           w->window, context);
    return SLUICE_OK;
}

sluice_status sluice_windows_load(const sluice_engine *engine, const char *const *paths, int32_t n,
                                  const sluice_eval_text_options *options, sluice_windows *out,
                                  sluice_error *err)
{
    sluice_windows w = {.window = options->window ? options->window : SLUICE_WINDOW_DEFAULT};
    w.stride = options->stride ? options->stride : w.window;
    sluice_status status = check(engine, &w, err);
    if (status == SLUICE_OK && n < 1) status = sluice_fail(err, SLUICE_USAGE, "no text was given");
    for (int32_t i = 0; i < n && status == SLUICE_OK; i++) {
        sluice_ids ids = {0};
        status = tokenise(engine, paths[i], options->special, &ids, err);
        if (status == SLUICE_OK)
            status = ids.count ? add_text(&w, i, paths[i], &ids, options->windows_max, err)
                               : sluice_fail(err, SLUICE_BAD_INPUT, "%s: empty", paths[i]);
        sluice_ids_free(&ids);
    }
    if (status != SLUICE_OK) {
        sluice_windows_free(&w);
        return status;
    }
    *out = w;
    return SLUICE_OK;
}

void sluice_windows_free(sluice_windows *windows)
{
    free(windows->tokens);
    free(windows->windows);
    *windows = (sluice_windows){0};
}

typedef struct run {
    sluice_engine *engine;
    const sluice_windows *windows;
    int32_t batch, begin; /* the step's first window */
    int32_t token;        /* of the windows that the step begins with */
    sluice_session **sessions;
    sluice_input *inputs;
    int32_t vocab;
    sluice_window_fn on_row;
    void *context;
    sluice_error *err;
} run;

static sluice_status on_logits(void *context, int32_t input, int32_t at, const float *logits)
{
    const run *r = context;
    const sluice_windows *w = r->windows;
    int32_t window = r->begin + input, token = r->token + at;
    if (token == w->window - 1) return SLUICE_OK; /* predicts what lies behind the window */
    for (int32_t i = 0; i < r->vocab; i++)
        if (!isfinite(logits[i]))
            return sluice_fail(r->err, SLUICE_CORRUPT,
                               "the model computed a logit that is not finite (window %d, token "
                               "%d): its files hold weights that are not numbers; try verify",
                               window, token);
    sluice_window_row row = {.window = window,
                             .row = token,
                             .next = w->tokens[w->windows[window].at + token + 1],
                             .logits = logits};
    return r->on_row(r->context, &row, r->err);
}

/* Tokens [r->token, + n) of each window. */
static sluice_status run_tokens(run *r, int32_t count, int32_t n)
{
    const sluice_windows *w = r->windows;
    for (int32_t i = 0; i < count; i++) {
        const sluice_window *window = &w->windows[r->begin + i];
        int32_t from = window->first - r->token;
        r->inputs[i] = (sluice_input){.session = r->sessions[i],
                                      .tokens = w->tokens + window->at + r->token,
                                      .count = n,
                                      .logits_from = from < 0   ? 0
                                                     : from < n ? from
                                                                : n};
    }
    return sluice_engine_step(r->engine, r->inputs, count, on_logits, r, r->err);
}

static sluice_status run_batch(run *r, int32_t count, bool decode)
{
    const sluice_windows *w = r->windows;
    int32_t n = decode ? 1 : w->window;
    for (int32_t i = 0; i < count; i++) {
        sluice_session_clear(r->sessions[i]);
        sluice_session_prompt(r->sessions[i], w->windows[r->begin + i].first);
    }
    for (r->token = 0; r->token < w->window; r->token += n)
        SLUICE_TRY(run_tokens(r, count, n));
    return SLUICE_OK;
}

static sluice_status open_sessions(run *r)
{
    r->sessions = calloc((size_t)r->batch, sizeof(sluice_session *));
    r->inputs = calloc((size_t)r->batch, sizeof *r->inputs);
    if (!r->sessions || !r->inputs)
        return sluice_fail(r->err, SLUICE_NO_MEMORY, "no memory for %d windows", r->batch);
    for (int32_t i = 0; i < r->batch; i++)
        SLUICE_TRY(sluice_session_open(r->engine, &r->sessions[i], r->err));
    return SLUICE_OK;
}

static sluice_status run_all(run *r, const sluice_eval_text_options *options)
{
    int32_t count = r->windows->count;
    SLUICE_TRY(open_sessions(r));
    for (; r->begin < count; r->begin += r->batch) {
        if (options->progress && !options->progress(options->context, r->begin, count))
            return sluice_fail(r->err, SLUICE_CANCELLED, "stopped after %d of %d windows", r->begin,
                               count);
        int32_t n = r->batch < count - r->begin ? r->batch : count - r->begin;
        SLUICE_TRY(run_batch(r, n, options->decode));
    }
    if (options->progress) options->progress(options->context, count, count);
    return SLUICE_OK;
}

sluice_status sluice_windows_run(sluice_engine *engine, const sluice_windows *windows,
                                 const sluice_eval_text_options *options, sluice_window_fn on_row,
                                 void *context, sluice_error *err)
{
    if (engine->rules.prompt && windows->stride == windows->window)
        return sluice_fail(err, SLUICE_USAGE,
                           "windows that do not overlap have no prompt: a lossy prefill needs a "
                           "stride of less than a window");
    int32_t batch = options->batch > 1 ? options->batch : 1;
    run r = {.engine = engine,
             .windows = windows,
             .batch = batch < windows->count ? batch : windows->count,
             .vocab = sluice_engine_info(engine)->vocab,
             .on_row = on_row,
             .context = context,
             .err = err};
    sluice_status status = check(engine, windows, err);
    if (status == SLUICE_OK) status = run_all(&r, options);
    for (int32_t i = 0; r.sessions && i < r.batch; i++)
        sluice_session_close(r.sessions[i]);
    free(r.sessions);
    free(r.inputs);
    return status;
}

double sluice_logits_norm(const float *logits, int32_t vocab, int32_t *best)
{
    int32_t top = 0;
    double sum = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[top]) top = i;
    for (int32_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - (double)logits[top]);
    *best = top;
    return log(sum) + (double)logits[top];
}
