/* The folder of --state: its list of files and its limit; see store.h. */
#include "server/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "server/store_name.h"

enum { WAITING_MAX = 64 };

struct server_store {
    char *dir;
    uint64_t bytes_max;
    uint32_t identity;
    pthread_t thread;

    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t wanted;
    server_store_file *files; /* [room] */
    size_t count, room;
    server_store_job waiting[WAITING_MAX]; /* a ring */
    size_t first, n_waiting;
    server_store_stats stats;
    bool closing, warned;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static char *path_of(const server_store *store, const server_store_file *file)
{
    char name[SERVER_STORE_NAME_SIZE];
    size_t size = strlen(store->dir) + sizeof name + 1;
    char *path = malloc(size);
    server_store_name(file, name);
    if (path) snprintf(path, size, "%s/%s", store->dir, name);
    return path;
}

/* The functions below are called under the lock. */

static bool add_file(server_store *store, const server_store_file *file)
{
    if (store->count == store->room) {
        size_t room = store->room ? 2 * store->room : 64;
        server_store_file *grown = realloc(store->files, room * sizeof *grown);
        if (!grown) return false;
        store->files = grown;
        store->room = room;
    }
    store->files[store->count++] = *file;
    store->stats.bytes += file->bytes;
    return true;
}

static bool is_same(const server_store_file *a, const server_store_file *b)
{
    return a->identity == b->identity && a->kind == b->kind && a->number == b->number &&
           a->hash == b->hash;
}

static server_store_file *find_file(server_store *store, const server_store_file *like)
{
    for (size_t i = 0; i < store->count; i++)
        if (is_same(&store->files[i], like)) return &store->files[i];
    return NULL;
}

static void forget(server_store *store, server_store_file *file)
{
    store->stats.bytes -= file->bytes;
    *file = store->files[--store->count];
}

/* Removes the oldest until so many bytes more are within the limit. */
static void make_room(server_store *store, uint64_t bytes)
{
    while (store->count > 0 && store->stats.bytes + bytes > store->bytes_max) {
        server_store_file *oldest = store->files;
        for (size_t i = 1; i < store->count; i++)
            if (store->files[i].used < oldest->used) oldest = &store->files[i];
        char *path = path_of(store, oldest);
        if (path) unlink(path);
        free(path);
        forget(store, oldest);
        store->stats.evicted++;
    }
}

static void write_failed(server_store *store, const sluice_error *err)
{
    store->stats.errors++;
    if (!store->warned) cli_note("a state is not kept: %s", err->detail);
    store->warned = true; /* a full disk is worth one line */
}

/* Of a file that is to be written; false: it does not fit at all, or is there. */
static bool prepare(server_store *store, const server_store_job *job, server_store_file *file)
{
    pthread_mutex_lock(&store->mutex);
    *file = (server_store_file){
        .identity = store->identity, .kind = job->kind, .number = job->number, .hash = job->hash};
    server_store_file *same = find_file(store, file);
    bool wanted = job->bytes <= store->bytes_max && (!same || same->ignored);
    if (wanted && same) forget(store, same);
    if (wanted) make_room(store, job->bytes);
    pthread_mutex_unlock(&store->mutex);
    return wanted;
}

static void write_file(server_store *store, const server_store_job *job)
{
    server_store_file file;
    sluice_error err = {SLUICE_NO_MEMORY, "no memory for a file's name"};
    struct stat found;
    if (!prepare(store, job, &file)) return;
    char *path = path_of(store, &file);
    sluice_status status = path ? job->write(job->context, path, &err) : SLUICE_NO_MEMORY;
    bool there = status == SLUICE_OK && stat(path, &found) == 0;
    pthread_mutex_lock(&store->mutex);
    if (there) {
        file.bytes = (uint64_t)found.st_size;
        file.used = now_ns();
        make_room(store, file.bytes);
        if (!add_file(store, &file)) unlink(path);
        store->stats.written++;
    } else if (status != SLUICE_OK) {
        write_failed(store, &err);
    }
    pthread_mutex_unlock(&store->mutex);
    free(path);
}

static void *write_all(void *context)
{
    server_store *store = context;
    for (;;) {
        pthread_mutex_lock(&store->mutex);
        while (store->n_waiting == 0 && !store->closing)
            pthread_cond_wait(&store->wanted, &store->mutex);
        if (store->n_waiting == 0) break;
        server_store_job job = store->waiting[store->first];
        pthread_mutex_unlock(&store->mutex);
        write_file(store, &job);
        job.done(job.context);
        pthread_mutex_lock(&store->mutex);
        store->first = (store->first + 1) % WAITING_MAX;
        store->n_waiting--;
        pthread_mutex_unlock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

void server_store_write(server_store *store, const server_store_job *job)
{
    pthread_mutex_lock(&store->mutex);
    bool accepted = store->n_waiting < WAITING_MAX;
    if (accepted) {
        store->waiting[(store->first + store->n_waiting++) % WAITING_MAX] = *job;
        pthread_cond_signal(&store->wanted);
    }
    pthread_mutex_unlock(&store->mutex);
    if (!accepted) job->done(job->context);
}

/* Also on disk, so that the order survives. */
static void touch(server_store_file *file, const char *path)
{
    file->used = now_ns();
    if (path) utimensat(AT_FDCWD, path, NULL, 0);
}

static bool is_ours(const server_store *store, const server_store_file *file,
                    server_store_kind kind)
{
    return file->kind == kind && file->identity == store->identity && !file->ignored;
}

bool server_store_find(server_store *store, server_store_kind kind,
                       bool (*accept)(void *context, const server_store_file *file), void *context,
                       server_store_file *out, char **path)
{
    server_store_file *best = NULL;
    pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < store->count; i++) {
        server_store_file *file = &store->files[i];
        if (is_ours(store, file, kind) && (!best || file->number > best->number) &&
            accept(context, file))
            best = file;
    }
    *path = best ? path_of(store, best) : NULL;
    if (*path) {
        touch(best, *path);
        *out = *best;
    }
    pthread_mutex_unlock(&store->mutex);
    return *path != NULL;
}

bool server_store_has(server_store *store, server_store_kind kind, uint32_t number, uint64_t hash)
{
    server_store_file like = {
        .identity = store->identity, .kind = kind, .number = number, .hash = hash};
    pthread_mutex_lock(&store->mutex);
    server_store_file *file = find_file(store, &like);
    if (file && file->ignored) file = NULL;
    char *path = file ? path_of(store, file) : NULL;
    if (file) touch(file, path);
    pthread_mutex_unlock(&store->mutex);
    free(path);
    return file != NULL;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const server_store_file *)a)->used, y = ((const server_store_file *)b)->used;
    return (x < y) - (x > y);
}

void server_store_each(server_store *store, server_store_kind kind,
                       bool (*visit)(void *context, const server_store_file *file,
                                     const char *path),
                       void *context)
{
    pthread_mutex_lock(&store->mutex);
    size_t n = 0;
    server_store_file *list = malloc((store->count + 1) * sizeof *list);
    for (size_t i = 0; list && i < store->count; i++)
        if (is_ours(store, &store->files[i], kind)) list[n++] = store->files[i];
    pthread_mutex_unlock(&store->mutex);
    if (n > 0) qsort(list, n, sizeof *list, newest_first);
    bool more = true;
    for (size_t i = 0; i < n && more; i++) {
        char *path = path_of(store, &list[i]);
        if (path) more = visit(context, &list[i], path);
        free(path);
    }
    free(list);
}

/* The file stays where it is, and within the limit, but as nobody's. */
void server_store_ignore(server_store *store, const server_store_file *file, const char *path,
                         const sluice_error *why)
{
    bool gone = access(path, F_OK) != 0;
    pthread_mutex_lock(&store->mutex);
    server_store_file *found = find_file(store, file);
    if (found && gone)
        forget(store, found);
    else if (found)
        found->ignored = true;
    if (!gone) store->stats.ignored++;
    pthread_mutex_unlock(&store->mutex);
    if (!gone) cli_note("a saved state is ignored: %s", why->detail);
}

server_store_stats server_store_stats_get(server_store *store)
{
    server_store_stats stats = {0};
    if (!store) return stats;
    pthread_mutex_lock(&store->mutex);
    stats = store->stats;
    stats.files = store->count;
    pthread_mutex_unlock(&store->mutex);
    return stats;
}

static sluice_status fail(sluice_error *err, sluice_status code, const char *dir, const char *why)
{
    err->code = code;
    snprintf(err->detail, sizeof err->detail, "--state %s: %s", dir, why);
    return code;
}

/* What is in the folder under our names. Files that an earlier run left half written go. */
static sluice_status list_files(server_store *store, sluice_error *err)
{
    DIR *dir = opendir(store->dir);
    if (!dir) return fail(err, SLUICE_IO, store->dir, strerror(errno));
    size_t foreign = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        server_store_file file;
        struct stat found;
        if (server_store_name_is_temporary(entry->d_name)) unlinkat(dirfd(dir), entry->d_name, 0);
        if (!server_store_name_read(entry->d_name, &file) ||
            fstatat(dirfd(dir), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(found.st_mode))
            continue;
        file.bytes = (uint64_t)found.st_size;
        file.used = (int64_t)found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec;
        foreign += file.identity != store->identity;
        if (!add_file(store, &file)) {
            closedir(dir);
            return fail(err, SLUICE_NO_MEMORY, store->dir, "no memory for its list of files");
        }
    }
    closedir(dir);
    make_room(store, 0);
    if (foreign > 0)
        cli_note("--state %s: %zu files are ignored, being of another model or of other settings",
                 store->dir, foreign);
    return SLUICE_OK;
}

/* For its owner alone: states tell what was said. */
static sluice_status make_folder(const char *dir, sluice_error *err)
{
    struct stat found;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) return fail(err, SLUICE_IO, dir, strerror(errno));
    if (stat(dir, &found) == 0 && !S_ISDIR(found.st_mode))
        errno = ENOTDIR;
    else if (access(dir, R_OK | W_OK | X_OK) == 0)
        return SLUICE_OK;
    return fail(err, SLUICE_IO, dir, strerror(errno));
}

sluice_status server_store_open(const char *dir, uint64_t bytes_max, uint32_t identity,
                                server_store **out, sluice_error *err)
{
    server_store *store = calloc(1, sizeof *store);
    if (store) store->dir = strdup(dir);
    if (!store || !store->dir) {
        free(store);
        return fail(err, SLUICE_NO_MEMORY, dir, "no memory");
    }
    store->bytes_max = bytes_max;
    store->identity = identity;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->wanted, NULL);
    sluice_status status = make_folder(dir, err);
    if (status == SLUICE_OK) status = list_files(store, err);
    if (status == SLUICE_OK && pthread_create(&store->thread, NULL, write_all, store) != 0)
        status = fail(err, SLUICE_NO_MEMORY, dir, "its thread could not be started");
    if (status != SLUICE_OK) {
        free(store->files);
        free(store->dir);
        free(store);
        return status;
    }
    *out = store;
    return SLUICE_OK;
}

void server_store_close(server_store *store)
{
    if (!store) return;
    pthread_mutex_lock(&store->mutex);
    store->closing = true;
    pthread_cond_signal(&store->wanted);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    pthread_cond_destroy(&store->wanted);
    pthread_mutex_destroy(&store->mutex);
    free(store->files);
    free(store->dir);
    free(store);
}
