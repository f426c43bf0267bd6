/* See convert_work.h. */
#define _GNU_SOURCE
#include "format/convert_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/json.h"
#include "format/model_files.h"
#include "os/file.h"
#include "os/folder.h"

#define JOURNAL_BYTES_MAX ((size_t)16 << 20)

sluice_status sluice_work_new(const char *out, sluice_work *work, sluice_error *err)
{
    *work = (sluice_work){.lock_fd = -1};
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        length--;
    work->out = strndup(out, length);
    if (!work->out || asprintf(&work->dir, "%s.partial", work->out) < 0) {
        work->dir = NULL;
        sluice_work_free(work);
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", out);
    }
    work->model = sluice_file_join(work->dir, "model");
    work->headers = sluice_file_join(work->dir, "source");
    work->journal = sluice_file_join(work->dir, "journal.json");
    work->lock = sluice_file_join(work->dir, "lock");
    if (!work->model || !work->headers || !work->journal || !work->lock) {
        sluice_work_free(work);
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", out);
    }
    return SLUICE_OK;
}

void sluice_work_free(sluice_work *work)
{
    sluice_file_close(work->lock_fd);
    free(work->out);
    free(work->dir);
    free(work->model);
    free(work->headers);
    free(work->journal);
    free(work->lock);
    *work = (sluice_work){.lock_fd = -1};
}

/* The holder of the lock may have finished and removed the folder between our open and our lock:
 * then the file that we hold is not the one that has the name, and we start again. */
static bool still_there(const sluice_work *work)
{
    struct stat ours, named;
    return fstat(work->lock_fd, &ours) == 0 && stat(work->lock, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

sluice_status sluice_work_lock(sluice_work *work, sluice_error *err)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        bool existed = sluice_file_is_dir(work->dir);
        SLUICE_TRY(sluice_folder_make(work->dir, err));
        work->made = !existed;
        work->lock_fd = open(work->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (work->lock_fd < 0 && errno == ENOENT) continue;
        if (work->lock_fd < 0) return sluice_file_fail(err, errno, work->lock, "cannot be created");
        if (flock(work->lock_fd, LOCK_EX | LOCK_NB) != 0) {
            int code = errno;
            sluice_file_close(work->lock_fd);
            work->lock_fd = -1;
            work->made = false;
            if (code != EWOULDBLOCK) return sluice_file_fail(err, code, work->lock, "cannot lock");
            return sluice_fail(err, SLUICE_USAGE, "%s: another conversion is writing it",
                               work->out);
        }
        if (still_there(work)) return SLUICE_OK;
        sluice_file_close(work->lock_fd);
        work->lock_fd = -1;
    }
    return sluice_fail(err, SLUICE_IO, "%s: cannot be locked", work->dir);
}

const char *sluice_work_headers(const sluice_work *work)
{
    return sluice_file_exists(work->journal) && sluice_file_is_dir(work->headers) ? work->headers
                                                                                  : NULL;
}

static bool consumed(const sluice_plan *plan)
{
    for (int32_t i = 0; i < plan->source->files->shard_count; i++)
        if (plan->source->files->shards[i].fd < 0) return true;
    return false;
}

/* Was this journal written for this plan, and are the shards those of then? */
static bool journal_fits(const sluice_work *work, const sluice_plan *plan)
{
    char *text = NULL;
    size_t bytes = 0;
    json_t *root = NULL;
    if (sluice_file_load(work->journal, JOURNAL_BYTES_MAX, &text, &bytes, NULL) != SLUICE_OK)
        return false;
    sluice_status status = sluice_jansson_parse(text, bytes, work->journal, &root, NULL);
    free(text);
    if (status != SLUICE_OK) return false;
    const char *fingerprint = json_string_value(json_object_get(root, "fingerprint"));
    bool fits = fingerprint && strcmp(fingerprint, plan->fingerprint) == 0;
    const json_t *times = json_object_get(root, "modified_ns");
    for (int32_t i = 0; fits && i < plan->source->files->shard_count; i++) {
        const sluice_shard *shard = &plan->source->files->shards[i];
        fits = shard->fd < 0 ||
               json_integer_value(json_object_get(times, shard->name)) == shard->modified_ns;
    }
    json_decref(root);
    return fits;
}

/* The file has its final name; it counts if its header is that of this plan (but for checksums). */
static bool file_finished(const sluice_work *work, const sluice_plan *plan,
                          const sluice_plan_file *file)
{
    char *path = sluice_file_join(work->model, file->name);
    int fd = -1;
    uint64_t bytes = 0;
    sluice_safetensors table = {0};
    bool good = path && sluice_file_open(path, &fd, &bytes, NULL) == SLUICE_OK &&
                bytes == file->header_bytes + file->data_bytes &&
                sluice_safetensors_read(fd, path, bytes, &table, NULL, NULL, NULL) == SLUICE_OK;
    if (good) {
        const char *fingerprint = sluice_safetensors_metadata(&table, "fingerprint");
        good = fingerprint && strcmp(fingerprint, plan->fingerprint) == 0;
    }
    sluice_safetensors_free(&table);
    sluice_file_close(fd);
    free(path);
    return good;
}

sluice_status sluice_work_resume(const sluice_work *work, sluice_plan *plan, bool writable,
                                 sluice_error *err)
{
    if (!sluice_file_exists(work->journal)) return SLUICE_OK;
    if (!journal_fits(work, plan)) {
        if (consumed(plan))
            return sluice_fail(err, SLUICE_USAGE,
                               "%s: begun with other options or another source, of which it has "
                               "consumed shards; finish it with those, or delete it",
                               work->dir);
        if (!writable) return SLUICE_OK;
        /* The journal last: until then it says that the rest is not ours. */
        SLUICE_TRY(sluice_folder_remove_tree(work->model, err));
        SLUICE_TRY(sluice_folder_remove_tree(work->headers, err));
        if (unlink(work->journal) != 0)
            return sluice_file_fail(err, errno, work->journal, "cannot be removed");
        return SLUICE_OK;
    }
    for (int32_t i = 0; i < plan->file_count; i++)
        plan->files[i].finished = file_finished(work, plan, &plan->files[i]);
    return SLUICE_OK;
}

static sluice_status write_journal(const sluice_work *work, const sluice_plan *plan,
                                   sluice_error *err)
{
    json_t *root = json_object(), *times = json_object();
    bool good = root && times &&
                json_object_set_new(root, "fingerprint", json_string(plan->fingerprint)) == 0;
    for (int32_t i = 0; good && i < plan->source->files->shard_count; i++) {
        const sluice_shard *shard = &plan->source->files->shards[i];
        good = json_object_set_new(times, shard->name, json_integer(shard->modified_ns)) == 0;
    }
    good = good && json_object_set(root, "modified_ns", times) == 0;
    char *text = good ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(times);
    json_decref(root);
    if (!text) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for it", work->journal);
    sluice_status status = sluice_file_save(work->journal, text, strlen(text), err);
    free(text);
    return status;
}

sluice_status sluice_work_begin(const sluice_work *work, const sluice_plan *plan, bool consume,
                                sluice_error *err)
{
    SLUICE_TRY(sluice_folder_make(work->model, err));
    if (consume) {
        SLUICE_TRY(sluice_folder_make(work->headers, err));
        for (int32_t i = 0; i < plan->source->files->shard_count; i++)
            if (plan->source->files->shards[i].fd >= 0)
                SLUICE_TRY(
                    sluice_checkpoint_save_header(plan->source->files, i, work->headers, err));
    }
    /* A journal that is there already fits, and knows the times of shards that are gone. */
    if (!sluice_file_exists(work->journal)) SLUICE_TRY(write_journal(work, plan, err));
    return sluice_model_files_copy(plan->source, work->model, plan->requantised, err);
}

sluice_status sluice_work_finish(sluice_work *work, sluice_error *err)
{
    SLUICE_TRY(sluice_file_sync_dir(work->model, err));
    if (rename(work->model, work->out) != 0)
        return sluice_file_fail(err, errno, work->out, "cannot be put in place");
    SLUICE_TRY(sluice_file_sync_parent(work->out, err));
    return sluice_folder_remove_tree(work->dir, err);
}

void sluice_work_abandon(sluice_work *work, const sluice_plan *plan)
{
    bool keep = !work->made || work->lock_fd < 0;
    for (int32_t i = 0; plan && i < plan->file_count; i++)
        keep = keep || plan->files[i].finished;
    if (!keep) sluice_folder_remove_tree(work->dir, NULL);
}
