/* Finding and, once, converting a model (see locate.h). */
#include "engine/locate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "format/container.h"
#include "os/file.h"
#include "os/folder.h"

static sluice_status no_memory(sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
}

/* Takes candidate (may be NULL for lack of memory) as *path if a model lies there, else frees it.
 */
static bool accept_model(char *candidate, char **path)
{
    if (candidate && sluice_model_kind_of(candidate) != SLUICE_MODEL_NONE) {
        *path = candidate;
        return true;
    }
    free(candidate);
    return false;
}

/* PREFIX/share/sluice/models/nano for a program in PREFIX/bin. */
static char *beside_program(void)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return NULL;
    program[n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        if (!slash) return NULL;
        *slash = '\0';
    }
    return sluice_file_join(program, "share/sluice/models/nano");
}

sluice_status sluice_locate_nano(char **path, sluice_error *err)
{
    if (accept_model(beside_program(), path) ||
        accept_model(sluice_file_join(SLUICE_SOURCE_DIR, "models/nano"), path) ||
        accept_model(sluice_file_join(SLUICE_DATA_DIR, "models/nano"), path))
        return SLUICE_OK;
    return sluice_fail(err, SLUICE_NOT_FOUND,
                       "the bundled model is neither in ../share/sluice beside "
                       "the program nor in %s nor in %s",
                       SLUICE_SOURCE_DIR "/models", SLUICE_DATA_DIR "/models");
}

/* FNV-1a, 64 bits: names a folder, protects nothing. */
static uint64_t hash(uint64_t seed, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        seed = (seed ^ at[i]) * 0x100000001b3u;
    return seed;
}

/* What "sluice calibrate" writes into a model's folder, and that name's temporary one. */
static bool is_written_here(const char *name)
{
    static const char own[] = "calibration.json";
    return !strncmp(name, own, sizeof own - 1);
}

/* Order of entries must not matter: their hashes are added up. */
static sluice_status hash_files(const char *dir, uint64_t *sum, sluice_error *err)
{
    DIR *folder = opendir(dir);
    if (!folder) return sluice_file_fail(err, errno, dir, "reading the folder");
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        struct stat info;
        if (is_written_here(entry->d_name)) continue;
        if (fstatat(dirfd(folder), entry->d_name, &info, 0) != 0 || !S_ISREG(info.st_mode))
            continue;
        int64_t numbers[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
        uint64_t one = hash(0xcbf29ce484222325u, entry->d_name, strlen(entry->d_name));
        *sum += hash(one, numbers, sizeof numbers);
    }
    closedir(folder);
    return SLUICE_OK;
}

sluice_status sluice_locate_cache_home(char **path, sluice_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        *path = sluice_file_join(cache, "sluice");
    else if (home && home[0] == '/')
        *path = sluice_file_join(home, ".cache/sluice");
    else
        return sluice_fail(err, SLUICE_NOT_FOUND,
                           "neither XDG_CACHE_HOME nor HOME says where converted "
                           "models may be kept: convert the model yourself, or set one of them");
    return *path ? SLUICE_OK : no_memory(err);
}

sluice_status sluice_locate_cache(const char *source, char **path, sluice_error *err)
{
    char absolute[PATH_MAX], name[NAME_MAX + 1];
    if (!realpath(source, absolute))
        return sluice_file_fail(err, errno, source, "finding the folder");
    /* A container of another version is not one that this library reads. */
    uint64_t sum =
        hash(0xcbf29ce484222325u, SLUICE_CONTAINER_VERSION, sizeof SLUICE_CONTAINER_VERSION);
    sum = hash(sum, absolute, strlen(absolute));
    SLUICE_TRY(hash_files(absolute, &sum, err));
    const char *last = strrchr(absolute, '/') + 1;
    snprintf(name, sizeof name, "%.200s-%016llx", *last ? last : "root", (unsigned long long)sum);
    char *home;
    SLUICE_TRY(sluice_locate_cache_home(&home, err));
    *path = sluice_file_join(home, name);
    free(home);
    return *path ? SLUICE_OK : no_memory(err);
}

typedef struct announcement {
    const sluice_engine_options *options;
    const char *source, *out;
} announcement;

static bool announce(void *context, const sluice_convert_plan *plan)
{
    const announcement *a = context;
    if (!a->options->notice) return true;
    char line[2 * PATH_MAX + 200];
    snprintf(line, sizeof line,
             "converting %s once into %s, which takes %.2f GB of disk (%.1f GB are "
             "free)",
             a->source, a->out, (double)plan->output_bytes / 1e9, (double)plan->free_bytes / 1e9);
    a->options->notice(a->options->callback_context, line);
    return true;
}

static bool report(void *context, const sluice_convert_progress *progress)
{
    const sluice_engine_options *options = ((const announcement *)context)->options;
    return !options->progress || options->progress(options->callback_context, progress);
}

static sluice_status convert(const char *source, const char *out,
                             const sluice_engine_options *options, sluice_error *err)
{
    announcement a = {options, source, out};
    sluice_convert_options convert_options = {
        .threads = options->threads, .starting = announce, .progress = report, .context = &a};
    return sluice_convert(source, out, &convert_options, err);
}

/* Holds OUT.lock while converting, so that of several processes one converts and the others wait.
 */
static sluice_status convert_once(const char *source, const char *out,
                                  const sluice_engine_options *options, sluice_error *err)
{
    char lock_path[PATH_MAX];
    snprintf(lock_path, sizeof lock_path, "%s.lock", out);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) return sluice_file_fail(err, errno, lock_path, "creating");
    while (flock(lock, LOCK_EX) != 0) {
        if (errno == EINTR) continue;
        sluice_status status = sluice_file_fail(err, errno, lock_path, "locking");
        close(lock);
        return status;
    }
    sluice_status status = SLUICE_OK;
    if (sluice_model_kind_of(out) != SLUICE_MODEL_CONTAINER)
        status = convert(source, out, options, err);
    close(lock); /* the file stays: removing it would let two processes hold two locks */
    return status;
}

static sluice_status convert_into_cache(const char *source, const sluice_engine_options *options,
                                        char **path, sluice_error *err)
{
    char *out, *home;
    SLUICE_TRY(sluice_locate_cache(source, &out, err));
    if (sluice_model_kind_of(out) == SLUICE_MODEL_CONTAINER) {
        *path = out;
        return SLUICE_OK;
    }
    sluice_status status = sluice_locate_cache_home(&home, err);
    if (status == SLUICE_OK) {
        status = sluice_folder_make(home, err);
        free(home);
    }
    if (status == SLUICE_OK) status = convert_once(source, out, options, err);
    if (status != SLUICE_OK) {
        free(out);
        return status;
    }
    *path = out;
    return SLUICE_OK;
}

sluice_status sluice_model_locate(const char *model, const sluice_engine_options *options,
                                  char **path, sluice_error *err)
{
    const sluice_engine_options defaults = sluice_engine_options_default();
    if (!options) options = &defaults;
    char *source = NULL;
    if (model) {
        source = strdup(model);
        if (!source) return no_memory(err);
    } else {
        SLUICE_TRY(sluice_locate_nano(&source, err));
    }
    switch (sluice_model_kind_of(source)) {
    case SLUICE_MODEL_CONTAINER: *path = source; return SLUICE_OK;
    case SLUICE_MODEL_SOURCE: break;
    case SLUICE_MODEL_NONE:
        sluice_fail(err, SLUICE_NOT_FOUND,
                    "%s: no model is here (a folder with config.json and "
                    "safetensors files is needed)",
                    source);
        free(source);
        return SLUICE_NOT_FOUND;
    }
    sluice_status status = convert_into_cache(source, options, path, err);
    free(source);
    return status;
}
