/* Writing predictions (see predictions.h). */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/predictions_layout.h"
#include "os/file.h"

static const char temporary_suffix[] = ".sluice-tmp";

static sluice_status begin(sluice_predictions *file, const sluice_predictions_origin *origin,
                           const sluice_windows *windows, sluice_error *err)
{
    sluice_predictions_header *h = &file->head;
    int64_t rows = 0;
    *h = (sluice_predictions_header){.version = SLUICE_PREDICTIONS_VERSION,
                                     .fingerprint = origin->fingerprint,
                                     .vocab = origin->vocab,
                                     .k = origin->k,
                                     .exact = origin->exact,
                                     .window = windows->window,
                                     .stride = windows->stride,
                                     .windows = windows->count,
                                     .rows = (uint64_t)windows->rows};
    memcpy(h->magic, SLUICE_PREDICTIONS_MAGIC, sizeof h->magic);
    memcpy(h->model, origin->model, sizeof h->model);
    file->windows = windows;
    sluice_predictions_lay_out(file);
    SLUICE_TRY(sluice_predictions_take_memory(file, err));
    for (int32_t i = 0; i < windows->count; i++) {
        file->entries[i] = (sluice_predictions_window){.text = windows->windows[i].text,
                                                       .first = windows->windows[i].first};
        file->first_rows[i] = rows;
        rows += windows->window - 1 - windows->windows[i].first;
    }
    return sluice_file_create(file->temporary, &file->fd, err);
}

sluice_status sluice_predictions_create(const char *path, const sluice_predictions_origin *origin,
                                        const sluice_windows *windows, sluice_predictions **out,
                                        sluice_error *err)
{
    sluice_predictions *file = sluice_predictions_new(path, temporary_suffix);
    if (!file) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    sluice_status status = begin(file, origin, windows, err);
    if (status != SLUICE_OK) {
        sluice_predictions_close(file);
        return status;
    }
    *out = file;
    return SLUICE_OK;
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
    return sluice_file_write(file->fd, file->temporary,
                             sluice_predictions_row_offset(file, row->window, row->row), file->row,
                             (size_t)file->row_bytes, err);
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
        file->entries[i].crc = file->crc[i];
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
