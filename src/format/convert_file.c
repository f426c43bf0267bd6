/* See convert_file.h. A batch of pieces is two a thread; between batches the calling thread reports
 * progress. A piece knows its place in the file, so the order of work changes nothing. */
#define _GNU_SOURCE
#include "format/convert_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "format/convert_pack.h"
#include "format/convert_weigh.h"
#include "format/encoding.h"
#include "os/file.h"

#define PIECE_BYTES ((size_t)4 << 20) /* of packed trunk rows, about */
#define PIECE_ROWS 128                /* and a multiple of this many: blocks of later encodings */
#define MEMORY_BYTES ((size_t)1 << 30)
#define DIRECT_BYTES ((uint64_t)64 << 20) /* larger files need not fill the page cache */
#define REPORT_NS UINT64_C(100000000)
#define PIECES_A_TASK 2 /* buffers per thread */

/* One contiguous range of the data section: a record, or rows of one trunk tensor. */
typedef struct piece {
    uint64_t offset, bytes;
    int32_t unit; /* trunk tensor or expert: what its checksum belongs to */
    int32_t row, rows;
    bool last; /* of its unit: zeros follow up to the end of bytes */
} piece;

typedef struct batch {
    const sluice_convert_run *run;
    const sluice_plan_file *file;
    sluice_safetensors_writer *writer;
    const piece *pieces;     /* of this batch */
    unsigned char **out;     /* [batch] */
    unsigned char **scratch; /* [threads] */
    sluice_status *status;   /* [batch] */
    sluice_error *errors;    /* [batch] */
    /* With importances: what the columns of each piece weigh, and the workers' rooms for experts.
     */
    sluice_weigh *weigh;
    sluice_fit_weights *weights; /* [batch] */
    sluice_weigh_room *rooms;    /* [threads] */
} batch;

static uint64_t matrix_row_bytes(const sluice_source_matrix *from)
{
    uint64_t bytes = 0;
    for (int i = 0; i < from->encoding->parts; i++)
        bytes += from->part[i].row_bytes;
    return bytes;
}

static int32_t piece_rows(const sluice_trunk_tensor *tensor)
{
    size_t block =
        PIECE_ROWS / SLUICE_PANEL_ROWS * sluice_weight_panel_bytes(tensor->format, tensor->cols);
    size_t blocks = block < PIECE_BYTES ? PIECE_BYTES / block : 1;
    size_t rows = blocks * PIECE_ROWS;
    return rows < (size_t)tensor->rows ? (int32_t)rows : tensor->rows;
}

/* Largest buffers that any piece of the plan takes. */
static void measure(const sluice_plan *plan, const sluice_plan_file *file, size_t *out,
                    size_t *scratch)
{
    const sluice_source *source = plan->source;
    if (file->layer >= 0) {
        const sluice_record_layout *record = &plan->records[file->layer];
        const sluice_weight_format to[3] = {record->gate, record->up, record->down};
        if (*out < record->bytes) *out = (size_t)record->bytes;
        for (int part = 0; part < 3; part++) {
            const sluice_source_matrix *from = sluice_source_expert(source, file->layer, 0, part);
            size_t bytes = sluice_pack_scratch(from, to[part], from->rows);
            if (*scratch < bytes) *scratch = bytes;
        }
        return;
    }
    for (int32_t i = 0; i < source->trunk_count; i++) {
        const sluice_trunk_tensor *tensor = &plan->trunk[i];
        size_t bytes = (size_t)tensor->bytes;
        if (tensor->packed) {
            int32_t rows = piece_rows(tensor);
            bytes = sluice_weight_bytes(tensor->format, rows, tensor->cols) +
                    (size_t)SLUICE_CONTAINER_ALIGN;
            size_t need = sluice_pack_scratch(&source->trunk[i], tensor->format, rows);
            if (*scratch < need) *scratch = need;
        }
        if (*out < bytes) *out = bytes;
    }
}

int sluice_convert_threads(const sluice_plan *plan, int wanted)
{
    size_t out = 1, scratch = 1;
    for (int32_t i = 0; i < plan->file_count; i++)
        measure(plan, &plan->files[i], &out, &scratch);
    size_t fit = MEMORY_BYTES / (PIECES_A_TASK * out + scratch);
    if (fit < 1) fit = 1;
    return (size_t)wanted < fit ? wanted : (int)fit;
}

static size_t list_trunk(const sluice_plan *plan, piece *pieces)
{
    size_t count = 0;
    for (int32_t i = 0; i < plan->source->trunk_count; i++) {
        int32_t unit = plan->trunk_order[i];
        const sluice_trunk_tensor *tensor = &plan->trunk[unit];
        int32_t step = tensor->packed ? piece_rows(tensor) : tensor->rows;
        uint64_t offset = tensor->offset, end = offset + sluice_trunk_file_bytes(tensor);
        for (int32_t row = 0; row < tensor->rows; row += step) {
            int32_t rows = tensor->rows - row < step ? tensor->rows - row : step;
            bool last = row + rows == tensor->rows;
            uint64_t bytes = end - offset;
            if (!last) bytes = sluice_weight_bytes(tensor->format, rows, tensor->cols);
            if (pieces) pieces[count] = (piece){offset, bytes, unit, row, rows, last};
            offset += bytes;
            count++;
        }
    }
    return count;
}

static size_t list_records(const sluice_plan *plan, const sluice_plan_file *file, piece *pieces)
{
    uint64_t bytes = plan->records[file->layer].bytes;
    size_t count = (size_t)plan->source->config.experts;
    for (size_t i = 0; pieces && i < count; i++)
        pieces[i] = (piece){.offset = i * bytes, .bytes = bytes, .unit = (int32_t)i, .last = true};
    return count;
}

static size_t list_pieces(const sluice_plan *plan, const sluice_plan_file *file, piece *pieces)
{
    return file->layer < 0 ? list_trunk(plan, pieces) : list_records(plan, file, pieces);
}

static uint64_t piece_source_bytes(const sluice_plan *plan, const sluice_plan_file *file,
                                   const piece *at)
{
    if (file->layer < 0)
        return matrix_row_bytes(&plan->source->trunk[at->unit]) * (uint64_t)at->rows;
    return file->source_bytes / (uint64_t)plan->source->config.experts;
}

static const char *shard_path(const sluice_plan *plan, const sluice_source_matrix *from)
{
    return plan->source->files->shards[from->part[0].shard].path;
}

static sluice_status pack_record(const batch *work, int32_t task, int worker, unsigned char *out,
                                 sluice_error *err)
{
    const sluice_plan *plan = work->run->plan;
    int32_t layer = work->file->layer, expert = work->pieces[task].unit;
    sluice_fit_weights weights[2];
    if (work->weigh)
        SLUICE_TRY(sluice_weigh_expert(work->weigh, layer, expert, &work->weights[task],
                                       &work->rooms[worker], &weights[0], &weights[1], err));
    static const char *const names[3] = {"gate_proj", "up_proj", "down_proj"};
    const sluice_record_layout *record = &plan->records[layer];
    const sluice_weight_format to[3] = {record->gate, record->up, record->down};
    const uint64_t offset[3] = {record->gate_offset, record->up_offset, record->down_offset};
    memset(out, 0, (size_t)record->bytes);
    for (int part = 0; part < 3; part++) {
        const sluice_source_matrix *from = sluice_source_expert(plan->source, layer, expert, part);
        char prefix[32], name[320];
        sluice_catalog_layer(&plan->source->config, layer, prefix, sizeof prefix);
        snprintf(name, sizeof name, "%.200s: %smlp.experts.%d.%s", shard_path(plan, from), prefix,
                 expert, names[part]);
        sluice_row_change change;
        const bool changes = sluice_convert_changes(
            plan->change, &(sluice_matrix_place){NULL, layer, expert, part}, &change);
        SLUICE_TRY(sluice_pack_rows(plan->source->files, from, to[part],
                                    work->weigh ? &weights[part / 2] : NULL,
                                    changes ? &change : NULL, 0, from->rows, name,
                                    work->scratch[worker], out + offset[part], err));
    }
    return SLUICE_OK;
}

static sluice_status pack_trunk(const batch *work, int32_t task, void *scratch, unsigned char *out,
                                sluice_error *err)
{
    const sluice_plan *plan = work->run->plan;
    const piece *at = &work->pieces[task];
    const sluice_trunk_tensor *tensor = &plan->trunk[at->unit];
    const sluice_source_matrix *from = &plan->source->trunk[at->unit];
    char name[320];
    snprintf(name, sizeof name, "%.200s: %s", shard_path(plan, from), tensor->name);
    if (!tensor->packed) return sluice_pack_plain(plan->source->files, from, name, out, err);
    size_t packed = sluice_weight_bytes(tensor->format, at->rows, tensor->cols);
    memset(out + packed, 0, (size_t)at->bytes - packed);
    sluice_row_change change;
    const bool changes = sluice_convert_changes(
        plan->change, &(sluice_matrix_place){tensor->name, -1, -1, -1}, &change);
    return sluice_pack_rows(plan->source->files, from, tensor->format,
                            work->weigh ? &work->weights[task] : NULL, changes ? &change : NULL,
                            at->row, at->rows, name, scratch, out, err);
}

static void work_on(void *context, int32_t task, int worker)
{
    const batch *work = context;
    const piece *at = &work->pieces[task];
    unsigned char *out = work->out[task];
    sluice_error *err = &work->errors[task];
    sluice_status status = work->file->layer < 0
                               ? pack_trunk(work, task, work->scratch[worker], out, err)
                               : pack_record(work, task, worker, out, err);
    if (status == SLUICE_OK)
        status =
            sluice_safetensors_writer_put(work->writer, at->offset, out, (size_t)at->bytes, err);
    work->status[task] = status;
}

sluice_status sluice_convert_report(sluice_convert_run *run, bool last, sluice_error *err)
{
    const sluice_convert_options *options = run->options;
    if (!options || !options->progress) return SLUICE_OK;
    uint64_t now = sluice_clock_ns();
    if (!last && now - run->reported_ns < REPORT_NS) return SLUICE_OK;
    run->reported_ns = now;
    sluice_convert_progress *progress = &run->progress;
    uint64_t mine = progress->bytes_done - run->skipped_bytes;
    progress->seconds = (double)(now - run->started_ns) * 1e-9;
    progress->bytes_per_second = progress->seconds > 0 ? (double)mine / progress->seconds : 0;
    progress->seconds_left = -1;
    if (mine)
        progress->seconds_left =
            (double)(progress->bytes_total - progress->bytes_done) / progress->bytes_per_second;
    if (options->progress(options->context, progress)) return SLUICE_OK;
    return sluice_fail(err, SLUICE_CANCELLED, "%s: the conversion was stopped", run->dir);
}

/* What the pieces of this batch weigh, made ready before the workers start. */
static sluice_status weigh_pieces(batch *work, size_t count, sluice_error *err)
{
    const sluice_plan *plan = work->run->plan;
    for (size_t i = 0; work->weigh && i < count; i++) {
        int32_t unit = work->pieces[i].unit;
        if (work->file->layer >= 0)
            SLUICE_TRY(sluice_weigh_layer(work->weigh, work->file->layer, &work->weights[i], err));
        else if (plan->trunk[unit].packed)
            SLUICE_TRY(
                sluice_weigh_trunk(work->weigh, plan->trunk[unit].name, &work->weights[i], err));
    }
    return SLUICE_OK;
}

static sluice_status new_weigh(batch *work, int threads, sluice_error *err)
{
    const sluice_plan *plan = work->run->plan;
    int32_t slots = threads * PIECES_A_TASK;
    if (!plan->importance) return SLUICE_OK;
    work->weights = calloc((size_t)slots, sizeof *work->weights);
    work->rooms = calloc((size_t)threads, sizeof *work->rooms);
    if (!work->weights || !work->rooms)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for importances");
    SLUICE_TRY(sluice_weigh_new(plan->importance, &plan->source->config, slots, &work->weigh, err));
    for (int i = 0; i < threads && work->file->layer >= 0; i++)
        SLUICE_TRY(sluice_weigh_room_new(work->weigh, &work->rooms[i], err));
    return SLUICE_OK;
}

static void free_buffers(batch *work, int threads)
{
    for (int i = 0; work->rooms && i < threads; i++)
        sluice_weigh_room_free(&work->rooms[i]);
    free(work->rooms);
    free(work->weights);
    sluice_weigh_free(work->weigh);
    for (int i = 0; work->out && i < PIECES_A_TASK * threads; i++)
        free(work->out[i]);
    for (int i = 0; work->scratch && i < threads; i++)
        free(work->scratch[i]);
    free(work->out);
    free(work->scratch);
    free(work->status);
    free(work->errors);
}

static sluice_status new_buffers(batch *work, int threads, sluice_error *err)
{
    size_t out = 1, scratch = 1, slots = (size_t)threads * PIECES_A_TASK;
    measure(work->run->plan, work->file, &out, &scratch);
    out = (out + 4095) & ~(size_t)4095;
    scratch = (scratch + 4095) & ~(size_t)4095;
    work->out = calloc(slots, sizeof *work->out);
    work->scratch = calloc((size_t)threads, sizeof *work->scratch);
    work->status = calloc(slots, sizeof *work->status);
    work->errors = calloc(slots, sizeof *work->errors);
    bool good = work->out && work->scratch && work->status && work->errors;
    for (size_t i = 0; good && i < slots; i++)
        good = (work->out[i] = aligned_alloc(4096, out)) != NULL;
    for (int i = 0; good && i < threads; i++)
        good = (work->scratch[i] = aligned_alloc(4096, scratch)) != NULL;
    if (good) {
        sluice_status status = new_weigh(work, threads, err);
        if (status != SLUICE_OK) free_buffers(work, threads);
        return status;
    }
    free_buffers(work, threads);
    return sluice_fail(err, SLUICE_NO_MEMORY,
                       "%s: no memory for %d buffers of %zu bytes; use fewer threads",
                       work->file->name, (int)slots + threads, out);
}

/* All pieces; checksums are continued in file order. */
static sluice_status write_pieces(sluice_convert_run *run, batch *work, const piece *pieces,
                                  size_t count, uint32_t *crc32c, sluice_error *err)
{
    size_t slots = (size_t)sluice_pool_threads(run->pool) * PIECES_A_TASK;
    for (size_t first = 0; first < count; first += slots) {
        size_t n = count - first < slots ? count - first : slots;
        work->pieces = pieces + first;
        SLUICE_TRY(weigh_pieces(work, n, err));
        sluice_pool_run(run->pool, work_on, work, (int32_t)n);
        for (size_t i = 0; i < n; i++) {
            const piece *at = &pieces[first + i];
            if (work->status[i] != SLUICE_OK) {
                if (err) *err = work->errors[i];
                return work->status[i];
            }
            crc32c[at->unit] = sluice_crc32c(crc32c[at->unit], work->out[i], (size_t)at->bytes);
            run->progress.bytes_done += piece_source_bytes(run->plan, work->file, at);
        }
        SLUICE_TRY(sluice_convert_report(run, false, err));
    }
    return SLUICE_OK;
}

static sluice_status write_file(sluice_convert_run *run, batch *work, const piece *pieces,
                                size_t count, uint32_t *crc32c, sluice_error *err)
{
    const sluice_plan_file *file = work->file;
    char *path = sluice_file_join(run->dir, file->name), *header = NULL;
    size_t bytes = 0;
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", file->name);
    sluice_status status = sluice_safetensors_writer_open(path, (size_t)file->header_bytes,
                                                          file->data_bytes, &work->writer, err);
    free(path);
    SLUICE_TRY(status);
    if (file->data_bytes >= DIRECT_BYTES) sluice_safetensors_writer_direct(work->writer);
    status = write_pieces(run, work, pieces, count, crc32c, err);
    if (status == SLUICE_OK)
        status = sluice_plan_header(run->plan, file, crc32c, &header, &bytes, err);
    if (status == SLUICE_OK)
        status = sluice_safetensors_writer_finish(work->writer, header, bytes, err);
    else
        sluice_safetensors_writer_abandon(work->writer);
    free(header);
    return status;
}

sluice_status sluice_convert_file(sluice_convert_run *run, const sluice_plan_file *file,
                                  sluice_error *err)
{
    batch work = {.run = run, .file = file};
    size_t count = list_pieces(run->plan, file, NULL);
    int32_t units =
        file->layer < 0 ? run->plan->source->trunk_count : run->plan->source->config.experts;
    piece *pieces = calloc(count, sizeof *pieces);
    uint32_t *crc32c = calloc((size_t)units, sizeof *crc32c);
    sluice_status status =
        pieces && crc32c
            ? new_buffers(&work, sluice_pool_threads(run->pool), err)
            : sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to plan it", file->name);
    if (status == SLUICE_OK) {
        run->progress.file = file->name;
        list_pieces(run->plan, file, pieces);
        status = write_file(run, &work, pieces, count, crc32c, err);
        free_buffers(&work, sluice_pool_threads(run->pool));
    }
    free(pieces);
    free(crc32c);
    return status;
}
