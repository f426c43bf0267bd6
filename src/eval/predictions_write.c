/* Writing predictions (see predictions.h). */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/predictions_layout.h"
#include "os/file.h"

static const char temporary_suffix[] = ".sluice-tmp";

static void fill_header(sluice_predictions *file, const sluice_predictions_origin *origin,
                        const sluice_windows *windows)
{
    sluice_predictions_header *h = &file->head;
    *h = (sluice_predictions_header){.version = SLUICE_PREDICTIONS_VERSION,
                                     .fingerprint = origin->fingerprint,
                                     .vocab = origin->vocab,
                                     .k = origin->k,
                                     .exact = origin->exact,
                                     .levers = origin->levers,
                                     .decode = origin->decode,
                                     .window = windows->window,
                                     .stride = windows->stride,
                                     .windows = windows->count,
                                     .rows = (uint64_t)windows->rows};
    memcpy(h->magic, SLUICE_PREDICTIONS_MAGIC, sizeof h->magic);
    memcpy(h->model, origin->model, sizeof h->model);
    for (int32_t i = 0; i < windows->count; i++)
        h->tables_crc =
            sluice_crc32c(h->tables_crc, windows->tokens + windows->windows[i].at,
                          (size_t)windows->window * sizeof *windows->tokens); /* of tokens yet */
}

/* Takes what a run before this one left of a window, if it is whole. */
static sluice_status take_window(sluice_predictions *file, int32_t window, sluice_error *err)
{
    sluice_predictions_window left;
    const sluice_windows *w = file->windows;
    uint64_t at = sizeof file->head + (uint64_t)window * sizeof left;
    SLUICE_TRY(sluice_file_read(file->fd, file->temporary, at, &left, sizeof left, err));
    double nll = 0;
    int32_t first = w->windows[window].first;
    for (int32_t row = first; left.done == 1 && row < w->window - 1; row++) {
        sluice_predictions_row head;
        SLUICE_TRY(sluice_predictions_read_row(file, window, row, &head, err));
        nll -= (double)head.log_next;
    }
    if (left.done != 1 || left.first != first || left.crc != file->crc[window]) {
        file->crc[window] = 0;
        return SLUICE_OK;
    }
    file->entries[window].done = 1;
    file->entries[window].crc = left.crc;
    file->scores->nll[window] = nll;
    file->scores->predicted[window] = w->window - 1 - first;
    file->done++;
    return SLUICE_OK;
}

/* Opens the temporary file and takes what it holds, if it was to become the same one. */
static sluice_status go_on(sluice_predictions *file, sluice_error *err)
{
    sluice_predictions_header left;
    uint64_t bytes = 0, all = file->rows_at + file->head.rows * file->row_bytes;
    SLUICE_TRY(sluice_file_reopen(file->temporary, &file->fd, &bytes, err));
    if (bytes == all)
        SLUICE_TRY(sluice_file_read(file->fd, file->temporary, 0, &left, sizeof left, err));
    if (bytes != all || memcmp(&left, &file->head, sizeof left) != 0)
        return sluice_file_clear(file->fd, file->temporary, all, err);
    for (int32_t i = 0; i < file->head.windows; i++)
        SLUICE_TRY(take_window(file, i, err));
    return SLUICE_OK;
}

static sluice_status begin(sluice_predictions *file, const sluice_predictions_origin *origin,
                           const sluice_windows *windows, sluice_error *err)
{
    int64_t rows = 0;
    fill_header(file, origin, windows);
    file->windows = windows;
    sluice_predictions_lay_out(file);
    SLUICE_TRY(sluice_predictions_take_memory(file, err));
    for (int32_t i = 0; i < windows->count; i++) {
        file->entries[i] = (sluice_predictions_window){.text = windows->windows[i].text,
                                                       .first = windows->windows[i].first};
        file->first_rows[i] = rows;
        rows += windows->window - 1 - windows->windows[i].first;
    }
    SLUICE_TRY(go_on(file, err));
    return sluice_file_write(file->fd, file->temporary, 0, &file->head, sizeof file->head, err);
}

sluice_status sluice_predictions_create(const char *path, const sluice_predictions_origin *origin,
                                        const sluice_windows *windows, sluice_scores *scores,
                                        sluice_predictions **out, sluice_error *err)
{
    sluice_predictions *file = sluice_predictions_new(path, temporary_suffix);
    if (!file) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    file->scores = scores;
    sluice_status status = begin(file, origin, windows, err);
    if (status != SLUICE_OK) {
        sluice_predictions_close(file);
        return status;
    }
    *out = file;
    return SLUICE_OK;
}

/* The last row of a window is written: it need not be run again. */
static sluice_status mark(sluice_predictions *file, int32_t window, sluice_error *err)
{
    sluice_predictions_window *entry = &file->entries[window];
    entry->crc = file->crc[window];
    entry->done = 1;
    file->done++;
    return sluice_file_write(file->fd, file->temporary,
                             sizeof file->head + (uint64_t)window * sizeof *entry, entry,
                             sizeof *entry, err);
}

sluice_status sluice_predictions_put(sluice_predictions *file, const sluice_window_row *row,
                                     int32_t best, double norm, sluice_error *err)
{
    const float *logits = row->logits;
    int32_t vocab = file->head.vocab;
    float low = logits[best];
    for (int32_t i = 0; i < vocab; i++)
        low = logits[i] < low ? logits[i] : low;
    double range = (double)logits[best] - (double)low;
    sluice_predictions_row head = {.top = (float)((double)logits[best] - norm),
                                   .step = (float)(range / SLUICE_PREDICTIONS_CODE_MAX),
                                   .log_next = (float)((double)logits[row->next] - norm),
                                   .best = best};
    double codes_a_nat = range > 0 ? SLUICE_PREDICTIONS_CODE_MAX / range : 0;
    uint16_t *codes = (uint16_t *)(void *)(file->row + sizeof head);
    memcpy(file->row, &head, sizeof head);
    for (int32_t i = 0; i < vocab; i++)
        codes[i] = (uint16_t)(((double)logits[best] - (double)logits[i]) * codes_a_nat + 0.5);
    file->crc[row->window] =
        sluice_crc32c(file->crc[row->window], file->row, (size_t)file->row_bytes);
    file->scores->nll[row->window] -= (double)head.log_next;
    file->scores->predicted[row->window] += 1;
    SLUICE_TRY(sluice_file_write(file->fd, file->temporary,
                                 sluice_predictions_row_offset(file, row->window, row->row),
                                 file->row, (size_t)file->row_bytes, err));
    return row->row < file->head.window - 2 ? SLUICE_OK : mark(file, row->window, err);
}

static sluice_status write_tokens(sluice_predictions *file, sluice_error *err)
{
    const sluice_windows *w = file->windows;
    size_t bytes = (size_t)w->window * sizeof *w->tokens;
    uint64_t at = file->tokens_at, zero = 0;
    for (int32_t i = 0; i < w->count; i++, at += bytes) {
        const int32_t *tokens = w->tokens + w->windows[i].at;
        file->head.tables_crc = sluice_crc32c(file->head.tables_crc, tokens, bytes);
        SLUICE_TRY(sluice_file_write(file->fd, file->temporary, at, tokens, bytes, err));
    }
    return sluice_file_write(file->fd, file->temporary, at, &zero, (size_t)(file->rows_at - at),
                             err);
}

static sluice_status finish(sluice_predictions *file, sluice_error *err)
{
    sluice_predictions_header *h = &file->head;
    size_t bytes = (size_t)h->windows * sizeof *file->entries;
    for (int32_t i = 0; i < h->windows; i++)
        file->entries[i].done = 0;
    h->tables_crc = sluice_crc32c(0, file->entries, bytes);
    SLUICE_TRY(sluice_file_write(file->fd, file->temporary, sizeof *h, file->entries, bytes, err));
    SLUICE_TRY(write_tokens(file, err));
    h->header_crc = sluice_crc32c(0, h, offsetof(sluice_predictions_header, header_crc));
    return sluice_file_write(file->fd, file->temporary, 0, h, sizeof *h, err);
}

sluice_status sluice_predictions_commit(sluice_predictions *file, sluice_error *err)
{
    sluice_status status = finish(file, err);
    if (status == SLUICE_OK) {
        status = sluice_file_commit(file->fd, file->temporary, file->path, err);
        file->fd = -1;
    }
    sluice_predictions_close(file);
    return status;
}
