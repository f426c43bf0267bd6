/* sluice_convert: from a source folder to a container, streaming.
 *
 * The plan lists the files; each is written by pieces (one expert, or some rows of a trunk matrix)
 * that any worker reads, packs, writes and checksums on its own. Memory is a few pieces per thread.
 * After each file it is durable under its final name, and with consume the shards that nothing
 * needs any more are deleted. Everything about being interrupted is in convert_work.c. */
#define _GNU_SOURCE
#include "sluice/convert.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pool.h"
#include "format/convert_file.h"
#include "format/convert_work.h"
#include "format/model_files.h"
#include "os/file.h"
#include "os/folder.h"

#define SLACK_BYTES ((uint64_t)1 << 20) /* folders, journal, rounding to blocks */

/* The nearest folder above path that exists. */
static sluice_status free_space(const char *path, uint64_t *bytes, dev_t *device, sluice_error *err)
{
    char *at = strdup(path);
    if (!at) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", path);
    while (*at && !sluice_file_is_dir(at)) {
        char *slash = strrchr(at, '/');
        if (slash == at)
            at[1] = '\0';
        else if (slash)
            *slash = '\0';
        else
            memcpy(at, ".", 2);
    }
    struct stat info = {0};
    sluice_status status = sluice_file_free_space(*at ? at : ".", bytes, err);
    if (stat(*at ? at : ".", &info) == 0) *device = info.st_dev;
    free(at);
    return status;
}

static sluice_status fill_plan(const sluice_work *work, const sluice_plan *plan, bool consume,
                               sluice_convert_plan *out, sluice_error *err)
{
    const sluice_source *source = plan->source;
    uint64_t extra = sluice_model_files_bytes(source) + SLACK_BYTES;
    dev_t target = 0;
    struct stat info = {0};
    *out = (sluice_convert_plan){.tensors_left_out = source->left_out};
    SLUICE_TRY(free_space(work->out, &out->free_bytes, &target, err));
    bool shared = stat(source->files->dir, &info) == 0 && info.st_dev == target;
    out->output_bytes = extra - SLACK_BYTES;
    for (int32_t i = 0; i < plan->file_count; i++) {
        const sluice_plan_file *file = &plan->files[i];
        out->source_bytes += file->source_bytes;
        out->output_bytes += file->header_bytes + file->data_bytes;
        if (file->finished) out->written_bytes += file->header_bytes + file->data_bytes;
    }
    for (int32_t i = 0; consume && i < source->files->shard_count; i++)
        out->shards_kept += source->holds_left_out[i];
    out->needed_bytes = sluice_plan_needed(plan, consume && shared) + extra;
    return SLUICE_OK;
}

static sluice_status open_plan(const char *source_dir, const sluice_work *work,
                               const sluice_convert_options *options,
                               const sluice_convert_change *change, bool writable,
                               sluice_plan **plan, sluice_error *err)
{
    sluice_source *source = NULL;
    SLUICE_TRY(sluice_source_open(source_dir, sluice_work_headers(work), &source, err));
    SLUICE_TRY(sluice_plan_new(source, options, change, plan, err));
    return sluice_work_resume(work, *plan, writable, err);
}

sluice_status sluice_convert_measure(const char *source, const char *out,
                                     const sluice_convert_options *options,
                                     sluice_convert_plan *plan, sluice_error *err)
{
    sluice_work work;
    sluice_plan *made = NULL;
    SLUICE_TRY(sluice_work_new(out, &work, err));
    sluice_status status = open_plan(source, &work, options, NULL, false, &made, err);
    if (status == SLUICE_OK)
        status = fill_plan(&work, made, options && options->consume, plan, err);
    sluice_plan_free(made);
    sluice_work_free(&work);
    return status;
}

static bool is_empty_folder(const char *path)
{
    DIR *open = opendir(path);
    if (!open) return false;
    int entries = 0;
    while (entries < 3 && readdir(open)) /* "." and ".." are two */
        entries++;
    closedir(open);
    return entries < 3;
}

/* OUT must be free: absent or an empty folder. */
static sluice_status check_target(const sluice_work *work, bool *done, sluice_error *err)
{
    if (!sluice_file_exists(work->out)) return SLUICE_OK;
    /* OUT beside OUT.partial without a model: killed between the last rename and the cleaning up.
     */
    if (!work->made && sluice_file_is_dir(work->dir) && !sluice_file_exists(work->model) &&
        sluice_model_kind_of(work->out) == SLUICE_MODEL_CONTAINER) {
        *done = true;
        return sluice_folder_remove_tree(work->dir, err);
    }
    if (is_empty_folder(work->out)) return SLUICE_OK; /* the last rename replaces it */
    return sluice_fail(err, SLUICE_USAGE, "%s: already exists; delete it or choose another name",
                       work->out);
}

/* Only real files are consumed: behind a link (the Hugging Face cache has them) the bytes would
 * stay, or be somebody else's. */
static sluice_status check_consumable(const sluice_plan *plan, sluice_error *err)
{
    if (plan->source->container)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: is a container already; --consume deletes only checkpoints",
                           plan->source->files->dir);
    for (int32_t i = 0; i < plan->source->files->shard_count; i++) {
        const sluice_shard *shard = &plan->source->files->shards[i];
        struct stat info;
        if (shard->fd < 0) continue;
        if (lstat(shard->path, &info) != 0)
            return sluice_file_fail(err, errno, shard->path, "cannot be examined");
        if (!S_ISREG(info.st_mode))
            return sluice_fail(err, SLUICE_UNSUPPORTED,
                               "%s: a link; --consume deletes only files that lie in the folder "
                               "itself",
                               shard->path);
    }
    return SLUICE_OK;
}

static sluice_status check_space(const sluice_work *work, const sluice_convert_plan *plan,
                                 sluice_error *err)
{
    if (plan->needed_bytes <= plan->free_bytes) return SLUICE_OK;
    return sluice_fail(
        err, SLUICE_NO_SPACE,
        "%s: the container needs %.2f GB of disk space, %.2f GB are free there (%llu "
        "and %llu bytes)",
        work->out, (double)plan->needed_bytes / 1e9, (double)plan->free_bytes / 1e9,
        (unsigned long long)plan->needed_bytes, (unsigned long long)plan->free_bytes);
}

static sluice_status consume_shards(const sluice_plan *plan, int32_t file, sluice_error *err)
{
    bool any = false;
    for (int32_t i = 0; i < plan->source->files->shard_count; i++) {
        sluice_shard *shard = &plan->source->files->shards[i];
        if (shard->fd < 0 || !sluice_plan_frees(plan, i, file)) continue;
        if (unlink(shard->path) != 0 && errno != ENOENT)
            return sluice_file_fail(err, errno, shard->path, "cannot be deleted");
        sluice_file_close(shard->fd);
        shard->fd = -1;
        any = true;
    }
    return any ? sluice_file_sync_dir(plan->source->files->dir, err) : SLUICE_OK;
}

static int thread_count(const sluice_convert_options *options)
{
    if (options && options->threads > 0) return options->threads;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < 1024 ? (int)online : 1;
}

static sluice_status write_files(const sluice_work *work, sluice_plan *plan,
                                 const sluice_convert_options *options,
                                 const sluice_convert_plan *totals, sluice_error *err)
{
    sluice_convert_run run = {
        .plan = plan,
        .dir = work->model,
        .options = options,
        .started_ns = sluice_clock_ns(),
        .progress = {.bytes_total = totals->source_bytes, .files_total = plan->file_count},
    };
    int threads = sluice_convert_threads(plan, thread_count(options));
    SLUICE_TRY(sluice_pool_new(threads, NULL, &run.pool, err));
    sluice_status status = SLUICE_OK;
    for (int32_t i = 0; i < plan->file_count; i++)
        if (plan->files[i].finished) run.skipped_bytes += plan->files[i].source_bytes;
    run.progress.bytes_done = run.skipped_bytes;
    for (int32_t i = 0; i < plan->file_count && status == SLUICE_OK; i++) {
        if (!plan->files[i].finished) status = sluice_convert_file(&run, &plan->files[i], err);
        if (status == SLUICE_OK) plan->files[i].finished = true;
        if (status == SLUICE_OK && options && options->consume)
            status = consume_shards(plan, i, err);
        run.progress.files_done = i + 1;
    }
    if (status == SLUICE_OK) status = sluice_convert_report(&run, true, err);
    sluice_pool_free(run.pool);
    return status;
}

static sluice_status convert_locked(const char *source, sluice_work *work,
                                    const sluice_convert_options *options,
                                    const sluice_convert_change *change, sluice_plan **plan,
                                    sluice_error *err)
{
    bool consume = options && options->consume, done = false;
    sluice_convert_plan totals;
    SLUICE_TRY(check_target(work, &done, err));
    if (done) return SLUICE_OK;
    SLUICE_TRY(open_plan(source, work, options, change, true, plan, err));
    if (consume) SLUICE_TRY(check_consumable(*plan, err));
    SLUICE_TRY(fill_plan(work, *plan, consume, &totals, err));
    SLUICE_TRY(check_space(work, &totals, err));
    if (options && options->starting && !options->starting(options->context, &totals))
        return sluice_fail(err, SLUICE_CANCELLED, "%s: the conversion was cancelled", work->out);
    SLUICE_TRY(sluice_work_begin(work, *plan, consume, err));
    SLUICE_TRY(write_files(work, *plan, options, &totals, err));
    return sluice_work_finish(work, err);
}

sluice_status sluice_convert(const char *source, const char *out,
                             const sluice_convert_options *options, sluice_error *err)
{
    return sluice_convert_changed(source, out, options, NULL, err);
}

sluice_status sluice_convert_changed(const char *source, const char *out,
                                     const sluice_convert_options *options,
                                     const sluice_convert_change *change, sluice_error *err)
{
    sluice_work work;
    sluice_plan *plan = NULL;
    SLUICE_TRY(sluice_convert_check(options, err));
    SLUICE_TRY(sluice_work_new(out, &work, err));
    sluice_status status = SLUICE_OK;
    bool done = false;
    if (!sluice_file_is_dir(source))
        status = sluice_fail(err, SLUICE_NOT_FOUND, "%s: no such folder", source);
    else if (!sluice_file_exists(work.dir)) /* refuse before making anything */
        status = check_target(&work, &done, err);
    if (status == SLUICE_OK) status = sluice_work_lock(&work, err);
    if (status == SLUICE_OK) {
        status = convert_locked(source, &work, options, change, &plan, err);
        if (status != SLUICE_OK) sluice_work_abandon(&work, plan);
    }
    sluice_plan_free(plan);
    sluice_work_free(&work);
    return status;
}
