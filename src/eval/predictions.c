/* Files of predictions: what reader and writer share (see predictions.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "eval/predictions_layout.h"
#include "os/file.h"

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

void sluice_predictions_lay_out(sluice_predictions *file)
{
    const sluice_predictions_header *h = &file->head;
    file->tokens_at = sizeof *h + (uint64_t)h->windows * sizeof(sluice_predictions_window);
    file->rows_at =
        file->tokens_at + padded((uint64_t)h->windows * (uint64_t)h->window * sizeof(int32_t));
    file->row_bytes =
        padded(sizeof(sluice_predictions_row) + (uint64_t)h->vocab * sizeof(uint16_t));
}

sluice_status sluice_predictions_take_memory(sluice_predictions *file, sluice_error *err)
{
    size_t windows = (size_t)file->head.windows;
    file->entries = calloc(windows, sizeof *file->entries);
    file->first_rows = calloc(windows, sizeof *file->first_rows);
    file->crc = calloc(windows, sizeof *file->crc);
    file->row = calloc(1, (size_t)file->row_bytes);
    file->log_p = calloc((size_t)file->head.vocab, sizeof *file->log_p);
    if (!file->entries || !file->first_rows || !file->crc || !file->row || !file->log_p)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its tables", file->path);
    return SLUICE_OK;
}

sluice_predictions *sluice_predictions_new(const char *path, const char *suffix)
{
    sluice_predictions *file = calloc(1, sizeof *file);
    if (!file) return NULL;
    file->fd = -1;
    file->path = strdup(path);
    if (suffix && asprintf(&file->temporary, "%s%s", path, suffix) < 0) file->temporary = NULL;
    if (file->path && (file->temporary || !suffix)) return file;
    sluice_predictions_close(file);
    return NULL;
}

void sluice_predictions_close(sluice_predictions *file)
{
    if (!file) return;
    if (file->fd >= 0) {
        sluice_file_close(file->fd);
        if (file->temporary && !file->done) unlink(file->temporary);
    }
    sluice_windows_free(&file->own);
    free(file->entries);
    free(file->first_rows);
    free(file->crc);
    free(file->row);
    free(file->log_p);
    free(file->temporary);
    free(file->path);
    free(file);
}

uint64_t sluice_predictions_row_offset(const sluice_predictions *file, int32_t window, int32_t row)
{
    int64_t index = file->first_rows[window] + row - file->windows->windows[window].first;
    return file->rows_at + (uint64_t)index * file->row_bytes;
}
