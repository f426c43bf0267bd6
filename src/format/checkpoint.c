/* See checkpoint.h. */
#define _GNU_SOURCE
#include "format/checkpoint.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/json.h"
#include "os/file.h"

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE "model.safetensors.index.json"
#define INDEX_BYTES_MAX ((size_t)256 << 20)

static sluice_status no_memory(const char *dir, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to open the model", dir);
}

/* A saved header is the size of the file (8 bytes, as in memory: it never leaves the machine) and
 * the JSON. */
sluice_status sluice_checkpoint_save_header(const sluice_checkpoint *checkpoint, int32_t shard,
                                            const char *headers_dir, sluice_error *err)
{
    const sluice_shard *from = &checkpoint->shards[shard];
    char *path = sluice_file_join(headers_dir, from->name);
    char *data = malloc(8 + from->header_bytes);
    sluice_status status = SLUICE_OK;
    if (path && data) {
        memcpy(data, &from->bytes, 8);
        memcpy(data + 8, from->header, from->header_bytes);
        status = sluice_file_save(path, data, 8 + from->header_bytes, err);
    } else {
        status = no_memory(checkpoint->dir, err);
    }
    free(path);
    free(data);
    return status;
}

static sluice_status open_saved(sluice_shard *shard, const char *headers_dir, sluice_error *err)
{
    char *path = sluice_file_join(headers_dir, shard->name), *data = NULL;
    size_t bytes = 0;
    if (!path) return no_memory(headers_dir, err);
    sluice_status status = SLUICE_OK;
    if (!sluice_file_exists(path))
        status = sluice_fail(err, SLUICE_NOT_FOUND, "%s: missing, but %s names it", shard->path,
                             INDEX_FILE);
    else
        status =
            sluice_file_load(path, (size_t)SLUICE_SAFETENSORS_HEADER_MAX + 8, &data, &bytes, err);
    if (status == SLUICE_OK && bytes < 8)
        status = sluice_fail(err, SLUICE_CORRUPT, "%s: truncated", path);
    if (status == SLUICE_OK) {
        memcpy(&shard->bytes, data, 8);
        shard->header_bytes = bytes - 8;
        memmove(data, data + 8, bytes - 8 + 1);
        shard->header = data;
        data = NULL;
        status = sluice_safetensors_parse(shard->header, shard->header_bytes, shard->bytes,
                                          shard->path, &shard->table, err);
    }
    free(data);
    free(path);
    return status;
}

static sluice_status open_shard(sluice_checkpoint *checkpoint, const char *name,
                                const char *headers_dir, sluice_error *err)
{
    sluice_shard *shard = &checkpoint->shards[checkpoint->shard_count++];
    shard->fd = -1;
    shard->name = strdup(name);
    shard->path = sluice_file_join(checkpoint->dir, name);
    if (!shard->name || !shard->path) return no_memory(checkpoint->dir, err);
    if (!sluice_file_exists(shard->path)) {
        if (headers_dir) return open_saved(shard, headers_dir, err);
        return sluice_fail(err, SLUICE_NOT_FOUND, "%s: missing, but %s names it", shard->path,
                           INDEX_FILE);
    }
    SLUICE_TRY(sluice_file_open(shard->path, &shard->fd, &shard->bytes, err));
    struct stat info;
    if (fstat(shard->fd, &info) == 0)
        shard->modified_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return sluice_safetensors_read(shard->fd, shard->path, shard->bytes, &shard->table,
                                   &shard->header, &shard->header_bytes, err);
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The index may name files in its own folder only. */
static bool is_plain_name(const char *name)
{
    return name && *name && *name != '.' && !strchr(name, '/') && strlen(name) < 200;
}

/* The distinct file names of the index, sorted; they point into the JSON. */
static sluice_status list_shards(const json_t *map, const char *path, const char ***names,
                                 size_t *count, sluice_error *err)
{
    if (!json_is_object(map) || !json_object_size(map))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"weight_map\" is missing or empty", path);
    const char **list = calloc(json_object_size(map), sizeof *list);
    if (!list) return no_memory(path, err);
    size_t n = 0;
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, file)
    {
        list[n] = json_string_value(file);
        if (!is_plain_name(list[n])) {
            free(list);
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: tensor %s is in no file of this folder by its \"weight_map\"",
                               path, tensor);
        }
        n++;
    }
    qsort(list, n, sizeof *list, by_text);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!i || strcmp(list[i], list[kept - 1]) != 0) list[kept++] = list[i];
    if (kept > SLUICE_CHECKPOINT_SHARDS_MAX) {
        free(list);
        return sluice_fail(err, SLUICE_LIMIT, "%s: names %zu files, more than %d", path, kept,
                           SLUICE_CHECKPOINT_SHARDS_MAX);
    }
    *names = list;
    *count = kept;
    return SLUICE_OK;
}

typedef struct placed {
    const char *tensor;
    const char *file;
} placed;

static int by_tensor(const void *left, const void *right)
{
    return strcmp(((const placed *)left)->tensor, ((const placed *)right)->tensor);
}

/* Every tensor of the index must be in the shard that it names. */
static sluice_status check_index(const sluice_checkpoint *checkpoint, const json_t *map,
                                 const char *path, sluice_error *err)
{
    size_t count = 0, n = 0;
    for (int32_t i = 0; i < checkpoint->shard_count; i++)
        count += checkpoint->shards[i].table.count;
    placed *all = calloc(count + 1, sizeof *all);
    if (!all) return no_memory(path, err);
    for (int32_t i = 0; i < checkpoint->shard_count; i++)
        for (size_t t = 0; t < checkpoint->shards[i].table.count; t++)
            all[n++] =
                (placed){checkpoint->shards[i].table.tensors[t].name, checkpoint->shards[i].name};
    qsort(all, n, sizeof *all, by_tensor);

    sluice_status status = SLUICE_OK;
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, file)
    {
        const placed key = {tensor, NULL};
        const placed *found = bsearch(&key, all, n, sizeof *all, by_tensor);
        if (found && strcmp(found->file, json_string_value(file)) == 0) continue;
        status = sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s should be in %s and is not", path,
                             tensor, json_string_value(file));
        break;
    }
    free(all);
    return status;
}

static sluice_status open_shards(sluice_checkpoint *checkpoint, const char *const *names,
                                 size_t count, const char *headers_dir, sluice_error *err)
{
    checkpoint->shards = calloc(count, sizeof *checkpoint->shards);
    if (!checkpoint->shards) return no_memory(checkpoint->dir, err);
    for (size_t i = 0; i < count; i++)
        SLUICE_TRY(open_shard(checkpoint, names[i], headers_dir, err));
    return SLUICE_OK;
}

static sluice_status open_indexed(sluice_checkpoint *checkpoint, const char *path,
                                  const char *headers_dir, sluice_error *err)
{
    char *text = NULL;
    size_t bytes = 0, count = 0;
    json_t *root = NULL;
    const char **names = NULL;
    SLUICE_TRY(sluice_file_load(path, INDEX_BYTES_MAX, &text, &bytes, err));
    sluice_status status = sluice_jansson_parse(text, bytes, path, &root, err);
    free(text);
    SLUICE_TRY(status);
    const json_t *map = json_object_get(root, "weight_map");
    status = list_shards(map, path, &names, &count, err);
    if (status == SLUICE_OK) status = open_shards(checkpoint, names, count, headers_dir, err);
    if (status == SLUICE_OK) status = check_index(checkpoint, map, path, err);
    free(names);
    json_decref(root);
    return status;
}

static sluice_status open_files(sluice_checkpoint *checkpoint, const char *headers_dir,
                                sluice_error *err)
{
    char *index = sluice_file_join(checkpoint->dir, INDEX_FILE);
    char *single = sluice_file_join(checkpoint->dir, SINGLE_FILE);
    char *saved = headers_dir ? sluice_file_join(headers_dir, SINGLE_FILE) : NULL;
    sluice_status status = SLUICE_OK;
    if (!index || !single) {
        status = no_memory(checkpoint->dir, err);
    } else if (sluice_file_exists(index)) {
        status = open_indexed(checkpoint, index, headers_dir, err);
    } else if (sluice_file_exists(single) || (saved && sluice_file_exists(saved))) {
        status = open_shards(checkpoint, (const char *const[]){SINGLE_FILE}, 1, headers_dir, err);
    } else {
        status = sluice_fail(err, SLUICE_NOT_FOUND, "%s: neither %s nor %s is there",
                             checkpoint->dir, SINGLE_FILE, INDEX_FILE);
    }
    free(index);
    free(single);
    free(saved);
    return status;
}

static sluice_status new_checkpoint(const char *dir, sluice_checkpoint **out, sluice_error *err)
{
    if (!sluice_file_is_dir(dir))
        return sluice_fail(err, SLUICE_NOT_FOUND, "%s: no such folder", dir);
    sluice_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint || !(checkpoint->dir = strdup(dir))) {
        free(checkpoint);
        return no_memory(dir, err);
    }
    atomic_init(&checkpoint->bytes_read, 0);
    *out = checkpoint;
    return SLUICE_OK;
}

sluice_status sluice_checkpoint_open(const char *dir, const char *headers_dir,
                                     sluice_checkpoint **out, sluice_error *err)
{
    SLUICE_TRY(new_checkpoint(dir, out, err));
    const sluice_status status = open_files(*out, headers_dir, err);
    if (status == SLUICE_OK) return SLUICE_OK;
    sluice_checkpoint_close(*out);
    *out = NULL;
    return status;
}

sluice_status sluice_checkpoint_open_files(const char *dir, const char *const *names, size_t count,
                                           const char *headers_dir, sluice_checkpoint **out,
                                           sluice_error *err)
{
    SLUICE_TRY(new_checkpoint(dir, out, err));
    const sluice_status status = open_shards(*out, names, count, headers_dir, err);
    if (status == SLUICE_OK) return SLUICE_OK;
    sluice_checkpoint_close(*out);
    *out = NULL;
    return status;
}

void sluice_checkpoint_close(sluice_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    for (int32_t i = 0; i < checkpoint->shard_count; i++) {
        sluice_shard *shard = &checkpoint->shards[i];
        sluice_file_close(shard->fd);
        sluice_safetensors_free(&shard->table);
        free(shard->header);
        free(shard->name);
        free(shard->path);
    }
    free(checkpoint->shards);
    free(checkpoint->dir);
    free(checkpoint);
}

sluice_status sluice_checkpoint_read(sluice_checkpoint *checkpoint, int32_t shard, uint64_t offset,
                                     void *buffer, size_t bytes, sluice_error *err)
{
    const sluice_shard *from = &checkpoint->shards[shard];
    if (from->fd < 0)
        return sluice_fail(err, SLUICE_NOT_FOUND,
                           "%s: an interrupted conversion has consumed it, but it is needed",
                           from->path);
    SLUICE_TRY(sluice_file_read(from->fd, from->path, offset, buffer, bytes, err));
    atomic_fetch_add_explicit(&checkpoint->bytes_read, bytes, memory_order_relaxed);
#ifdef POSIX_FADV_DONTNEED
    /* Read once, never again: what lies in the page cache would only push out something useful. */
    if (bytes >= (size_t)1 << 20)
        posix_fadvise(from->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
#endif
    return SLUICE_OK;
}

bool sluice_checkpoint_is(const char *dir)
{
    char *index = sluice_file_join(dir, INDEX_FILE), *single = sluice_file_join(dir, SINGLE_FILE);
    bool is = (index && sluice_file_exists(index)) || (single && sluice_file_exists(single));
    free(index);
    free(single);
    return is;
}
