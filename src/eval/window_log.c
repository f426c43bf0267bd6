/* See window_log.h. */
#include "eval/window_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "engine/engine.h"
#include "eval/log.h"

struct sluice_window_log {
    sluice_log *log;
    const sluice_window_log_kind *kind;
    const sluice_windows *windows;
    const char *const *paths;
    sluice_scores *scores;
};

/* A window's place in its own text. */
static int32_t ordinal(const sluice_windows *w, int32_t window)
{
    int32_t first = window;
    while (first > 0 && w->windows[first - 1].text == w->windows[window].text)
        first--;
    return window - first;
}

/* A text's name in the log: its path, or its number. NULL without memory. */
static json_t *name_of(const sluice_window_log *log, int32_t text)
{
    return log->paths ? json_string(log->paths[text]) : json_integer(text);
}

static bool is_named(const sluice_window_log *log, int32_t text, const json_t *name)
{
    if (log->paths)
        return json_is_string(name) && strcmp(log->paths[text], json_string_value(name)) == 0;
    return json_is_integer(name) && json_integer_value(name) == text;
}

/* -1: none of this run's. */
static int32_t find(const sluice_window_log *log, const json_t *text, int32_t number)
{
    const sluice_windows *w = log->windows;
    int32_t at = 0;
    for (int32_t i = 0; i < w->count; i++) {
        at = i > 0 && w->windows[i].text == w->windows[i - 1].text ? at + 1 : 0;
        if (at == number && is_named(log, w->windows[i].text, text)) return i;
    }
    return -1;
}

static void print_crc(const sluice_windows *w, int32_t window, char crc[16])
{
    snprintf(
        crc, 16, "%08x",
        sluice_crc32c(0, w->tokens + w->windows[window].at, (size_t)w->window * sizeof *w->tokens));
}

static sluice_status keep(void *context, const char *path, json_t *entry, int32_t line,
                          sluice_error *err)
{
    const sluice_window_log *log = context;
    const sluice_window_log_kind *kind = log->kind;
    json_t *text;
    const char *crc;
    char now[16];
    int number, predicted;
    double nll;
    if (json_unpack(entry, "{s:o, s:i, s:s, s:i, s:F}", "text", &text, "window", &number, "crc",
                    &crc, "predicted", &predicted, "nll", &nll) != 0 ||
        predicted < 1)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: not a window", path, line);
    int32_t window = find(log, text, number);
    if (window < 0) return SLUICE_OK; /* of a text, or beyond a limit, that is not asked for now */
    print_crc(log->windows, window, now);
    if (strcmp(crc, now) != 0)
        return sluice_fail(err, SLUICE_USAGE,
                           "%s: line %d: window %d of %s has changed since: give another file",
                           path, line, number,
                           log->paths ? log->paths[log->windows->windows[window].text] : "a text");
    if (predicted != log->windows->window - 1 - log->windows->windows[window].first)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: not all of a window", path, line);
    if (kind->keep && !kind->keep(kind->context, window, entry))
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: not all of a window", path, line);
    log->scores->nll[window] = nll;
    log->scores->predicted[window] = predicted;
    return SLUICE_OK;
}

sluice_status sluice_window_log_open(const sluice_eval_text_options *options,
                                     const sluice_engine *engine,
                                     const sluice_window_log_kind *kind,
                                     const sluice_windows *windows, const char *const *paths,
                                     sluice_scores *scores, sluice_window_log **out,
                                     sluice_error *err)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    char fingerprint[16];
    snprintf(fingerprint, sizeof fingerprint, "%08x", engine->model->fingerprint);
    json_t *run =
        json_pack("{s:s, s:i, s:s, s:i, s:s, s:b, s:b, s:i, s:i, s:s*}", "evaluation",
                  kind->evaluation, "version", 1, "fingerprint", fingerprint, "k", info->k, "lossy",
                  info->lossy, "exact", engine->options.exact, "decode", options->decode, "window",
                  windows->window, "stride", windows->stride, "against", kind->against);
    sluice_window_log *log = calloc(1, sizeof *log);
    if (log) *log = (sluice_window_log){NULL, kind, windows, paths, scores};
    sluice_status status =
        run && log ? sluice_log_open(options->log, run, keep, log, &log->log, err)
                   : sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log", options->log);
    json_decref(run);
    if (status == SLUICE_OK)
        *out = log;
    else
        sluice_window_log_close(log);
    return status;
}

void sluice_window_log_close(sluice_window_log *log)
{
    if (!log) return;
    sluice_log_close(log->log);
    free(log);
}

sluice_status sluice_window_log_add(sluice_window_log *log, int32_t window, sluice_error *err)
{
    char crc[16];
    const sluice_windows *w = log->windows;
    print_crc(w, window, crc);
    const sluice_window_log_kind *kind = log->kind;
    json_t *entry =
        json_pack("{s:o, s:i, s:s, s:i, s:f}", "text", name_of(log, w->windows[window].text),
                  "window", ordinal(w, window), "crc", crc, "predicted",
                  (int)log->scores->predicted[window], "nll", log->scores->nll[window]);
    if (entry && kind->describe && !kind->describe(kind->context, window, entry)) {
        json_decref(entry);
        entry = NULL;
    }
    sluice_status status = entry ? sluice_log_add(log->log, entry, err)
                                 : sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a log",
                                               sluice_log_path(log->log));
    json_decref(entry);
    return status;
}
