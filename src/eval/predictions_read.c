/* Reading predictions (see predictions.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/predictions_layout.h"
#include "os/file.h"

#define COUNT_MAX (1 << 28) /* of windows, of tokens of a window and of a vocabulary */

static sluice_status corrupt(const sluice_predictions *file, const char *what, sluice_error *err)
{
    return sluice_fail(err, SLUICE_CORRUPT, "%s: %s", file->path, what);
}

static bool in_range(int32_t value, int32_t low)
{
    return value >= low && value <= COUNT_MAX;
}

static sluice_status read_header(sluice_predictions *file, uint64_t bytes, sluice_error *err)
{
    sluice_predictions_header *h = &file->head;
    if (bytes < sizeof *h) return corrupt(file, "too short for a file of predictions", err);
    SLUICE_TRY(sluice_file_read(file->fd, file->path, 0, h, sizeof *h, err));
    if (memcmp(h->magic, SLUICE_PREDICTIONS_MAGIC, sizeof h->magic) != 0)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: not a file of predictions", file->path);
    if (h->version != SLUICE_PREDICTIONS_VERSION)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: version %u of the format; this sluice "
                           "reads version %d",
                           file->path, h->version, SLUICE_PREDICTIONS_VERSION);
    if (sluice_crc32c(0, h, offsetof(sluice_predictions_header, header_crc)) != h->header_crc)
        return corrupt(file, "the header's checksum is wrong", err);
    if (!in_range(h->vocab, 2) || !in_range(h->window, 2) || !in_range(h->stride, 1) ||
        !in_range(h->windows, 1) || h->stride > h->window || h->model[sizeof h->model - 1] ||
        h->rows < 1)
        return corrupt(file, "the header's sizes are impossible", err);
    sluice_predictions_lay_out(file);
    if (bytes < file->rows_at || h->rows > (bytes - file->rows_at) / file->row_bytes ||
        file->rows_at + h->rows * file->row_bytes != bytes)
        return corrupt(file, "its size is not what its header says: truncated?", err);
    return SLUICE_OK;
}

static sluice_status read_tables(sluice_predictions *file, sluice_error *err)
{
    const sluice_predictions_header *h = &file->head;
    size_t entries = (size_t)h->windows * sizeof *file->entries;
    size_t tokens = (size_t)h->windows * (size_t)h->window * sizeof(int32_t);
    sluice_windows *w = &file->own;
    *w = (sluice_windows){.window = h->window, .stride = h->stride, .count = h->windows};
    w->windows = calloc((size_t)h->windows, sizeof *w->windows);
    w->tokens = malloc(tokens);
    if (!w->windows || !w->tokens)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tables", file->path);
    SLUICE_TRY(sluice_file_read(file->fd, file->path, sizeof *h, file->entries, entries, err));
    SLUICE_TRY(sluice_file_read(file->fd, file->path, file->tokens_at, w->tokens, tokens, err));
    if (sluice_crc32c(sluice_crc32c(0, file->entries, entries), w->tokens, tokens) != h->tables_crc)
        return corrupt(file, "the checksum of its windows is wrong", err);
    w->tokens_count = (int64_t)h->windows * h->window;
    for (int32_t i = 0; i < h->windows; i++) {
        int32_t first = file->entries[i].first;
        if (first < 0 || first >= h->window - 1) return corrupt(file, "a window without rows", err);
        w->windows[i] = (sluice_window){file->entries[i].text, first, (int64_t)i * h->window};
        file->first_rows[i] = w->rows;
        w->rows += h->window - 1 - first;
    }
    for (int64_t i = 0; i < w->tokens_count; i++)
        if (w->tokens[i] < 0 || w->tokens[i] >= h->vocab)
            return corrupt(file, "a token outside its vocabulary", err);
    if ((uint64_t)w->rows != h->rows) return corrupt(file, "rows are missing", err);
    return SLUICE_OK;
}

static sluice_status read_all(sluice_predictions *file, sluice_error *err)
{
    const sluice_predictions_header *h = &file->head;
    uint64_t bytes;
    SLUICE_TRY(sluice_file_open(file->path, &file->fd, &bytes, err));
    SLUICE_TRY(read_header(file, bytes, err));
    SLUICE_TRY(sluice_predictions_take_memory(file, err));
    SLUICE_TRY(read_tables(file, err));
    file->windows = &file->own;
    file->origin = (sluice_predictions_origin){.fingerprint = h->fingerprint,
                                               .vocab = h->vocab,
                                               .k = h->k,
                                               .exact = h->exact != 0,
                                               .decode = h->decode != 0};
    memcpy(file->origin.model, h->model, sizeof h->model);
    return SLUICE_OK;
}

sluice_status sluice_predictions_open(const char *path, sluice_predictions **out, sluice_error *err)
{
    sluice_predictions *file = sluice_predictions_new(path, NULL);
    if (!file) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to read it", path);
    sluice_status status = read_all(file, err);
    if (status != SLUICE_OK) {
        sluice_predictions_close(file);
        return status;
    }
    *out = file;
    return SLUICE_OK;
}

const sluice_predictions_origin *sluice_predictions_made_by(const sluice_predictions *file)
{
    return &file->origin;
}

uint32_t sluice_predictions_id(const sluice_predictions *file)
{
    return file->head.header_crc;
}

const sluice_windows *sluice_predictions_windows(const sluice_predictions *file)
{
    return file->windows;
}

static void unpack(sluice_predictions *file, const sluice_predictions_row *head)
{
    const uint16_t *codes = (const uint16_t *)(const void *)(file->row + sizeof *head);
    double sum = 0;
    for (int32_t i = 0; i < file->head.vocab; i++) {
        file->log_p[i] = (double)head->top - (double)head->step * codes[i];
        sum += exp(file->log_p[i]);
    }
    double norm = log(sum);
    for (int32_t i = 0; i < file->head.vocab; i++)
        file->log_p[i] -= norm;
}

sluice_status sluice_predictions_read_row(sluice_predictions *file, int32_t window, int32_t row,
                                          sluice_predictions_row *head, sluice_error *err)
{
    SLUICE_TRY(sluice_file_read(file->fd, file->temporary ? file->temporary : file->path,
                                sluice_predictions_row_offset(file, window, row), file->row,
                                (size_t)file->row_bytes, err));
    file->crc[window] = sluice_crc32c(file->crc[window], file->row, (size_t)file->row_bytes);
    memcpy(head, file->row, sizeof *head);
    return SLUICE_OK;
}

sluice_status sluice_predictions_get(sluice_predictions *file, int32_t window, int32_t row,
                                     sluice_prediction *out, sluice_error *err)
{
    sluice_predictions_row head;
    SLUICE_TRY(sluice_predictions_read_row(file, window, row, &head, err));
    if (row == file->head.window - 2 && file->crc[window] != file->entries[window].crc)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: the checksum of window %d is wrong",
                           file->path, window);
    if (!isfinite(head.top) || !isfinite(head.step) || head.best < 0 ||
        head.best >= file->head.vocab)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: window %d, row %d is damaged", file->path,
                           window, row);
    unpack(file, &head);
    *out = (sluice_prediction){file->log_p, (double)head.log_next, head.best};
    return SLUICE_OK;
}
