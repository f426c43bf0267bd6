/* Snapshots: the bytes of a saved session, kept in memory (see sluice/snapshot.h). */
#include "sluice/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"
#include "engine/engine.h"
#include "os/file.h"

static const char temporary_suffix[] = ".sluice-tmp";

struct sluice_snapshot {
    sluice_engine *engine;
    void *bytes;
    size_t size;
    int32_t *tokens;
    int32_t count;
};

uint32_t sluice_engine_fingerprint(const sluice_engine *engine)
{
    return engine->model->fingerprint;
}

/* Where the walk over a state's bytes is. */
typedef struct cursor {
    char *bytes;
    size_t at, size;
} cursor;

static sluice_status write_on(void *context, const void *bytes, size_t n, sluice_error *err)
{
    cursor *c = context;
    if (n > c->size - c->at)
        return sluice_fail(err, SLUICE_INTERNAL, "a state outgrew its snapshot of %zu bytes",
                           c->size);
    memcpy(c->bytes + c->at, bytes, n);
    c->at += n;
    return SLUICE_OK;
}

static sluice_status read_on(void *context, void *bytes, size_t n, sluice_error *err)
{
    cursor *c = context;
    if (n > c->size - c->at)
        return sluice_fail(err, SLUICE_INTERNAL, "a snapshot ends after %zu bytes", c->size);
    memcpy(bytes, c->bytes + c->at, n);
    c->at += n;
    return SLUICE_OK;
}

static sluice_status snapshot_new(sluice_engine *engine, const sluice_state *state,
                                  sluice_snapshot **out, sluice_error *err)
{
    sluice_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a snapshot");
    snapshot->engine = engine;
    snapshot->count = state->position;
    snapshot->tokens = malloc(((size_t)state->position + 1) * sizeof *snapshot->tokens);
    sluice_status status =
        snapshot->tokens ? SLUICE_OK
                         : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a snapshot's tokens");
    size_t size = (size_t)sluice_state_saved_bytes(state);
    if (status == SLUICE_OK)
        status = sluice_memory_new(engine->budget, size, "snapshot", &snapshot->bytes, err);
    if (status != SLUICE_OK) {
        free(snapshot->tokens);
        free(snapshot);
        return status;
    }
    snapshot->size = size;
    memcpy(snapshot->tokens, state->tokens, (size_t)state->position * sizeof *snapshot->tokens);
    *out = snapshot;
    return SLUICE_OK;
}

sluice_status sluice_snapshot_take(sluice_session *session, sluice_snapshot **out,
                                   sluice_error *err)
{
    sluice_snapshot *snapshot = NULL;
    SLUICE_TRY(sluice_session_settle(session, err));
    SLUICE_TRY(snapshot_new(session->engine, session->state, &snapshot, err));
    cursor c = {snapshot->bytes, 0, snapshot->size};
    sluice_status status = sluice_state_save(session->state, write_on, &c, err);
    if (status != SLUICE_OK) {
        sluice_snapshot_free(snapshot);
        return status;
    }
    *out = snapshot;
    return SLUICE_OK;
}

void sluice_snapshot_free(sluice_snapshot *snapshot)
{
    if (!snapshot) return;
    sluice_memory_free(snapshot->engine->budget, snapshot->bytes, snapshot->size, "snapshot");
    free(snapshot->tokens);
    free(snapshot);
}

sluice_status sluice_snapshot_restore(const sluice_snapshot *snapshot, sluice_session *session,
                                      sluice_error *err)
{
    if (session->engine != snapshot->engine)
        return sluice_fail(err, SLUICE_USAGE, "the snapshot belongs to another engine");
    cursor c = {snapshot->bytes, 0, snapshot->size};
    session->pending = false;
    return sluice_state_restore(session->state, read_on, &c, err);
}

const int32_t *sluice_snapshot_tokens(const sluice_snapshot *snapshot, int32_t *count)
{
    *count = snapshot->count;
    return snapshot->tokens;
}

uint64_t sluice_snapshot_bytes(const sluice_snapshot *snapshot)
{
    return snapshot->size;
}

sluice_status sluice_snapshot_write(const sluice_snapshot *snapshot, const char *path,
                                    sluice_error *err)
{
    size_t size = strlen(path) + sizeof temporary_suffix;
    char *temporary = malloc(size);
    int fd;
    if (!temporary) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", path);
    snprintf(temporary, size, "%s%s", path, temporary_suffix);
    sluice_status status = sluice_file_create(temporary, &fd, err);
    if (status == SLUICE_OK) {
        status = sluice_file_write(fd, temporary, 0, snapshot->bytes, snapshot->size, err);
        if (status == SLUICE_OK) {
            status = sluice_file_commit(fd, temporary, path, err);
        } else {
            sluice_file_close(fd);
            unlink(temporary);
        }
    }
    free(temporary);
    return status;
}

sluice_status sluice_snapshot_read(const char *path, sluice_session *session, sluice_snapshot **out,
                                   sluice_error *err)
{
    SLUICE_TRY(sluice_session_load(session, path, err));
    return sluice_snapshot_take(session, out, err);
}

/* A file whose beginning is looked at. */
typedef struct looked {
    const char *path;
    int fd;
} looked;

static sluice_status read_beginning(void *context, void *bytes, size_t n, sluice_error *err)
{
    const looked *l = context;
    return sluice_file_read(l->fd, l->path, 0, bytes, n, err);
}

sluice_status sluice_snapshot_look(const sluice_session *session, const char *path,
                                   int32_t *positions, uint64_t *bytes, sluice_error *err)
{
    looked l = {.path = path};
    uint64_t found;
    sluice_error why = {0};
    SLUICE_TRY(sluice_file_open(path, &l.fd, &found, err));
    sluice_status status =
        sluice_state_look(session->state, read_beginning, &l, positions, bytes, &why);
    if (status == SLUICE_OK && *bytes != found)
        status = sluice_fail(&why, SLUICE_CORRUPT, "the file has %llu bytes instead of %llu",
                             (unsigned long long)found, (unsigned long long)*bytes);
    sluice_file_close(l.fd);
    if (status == SLUICE_OK) return SLUICE_OK;
    bool named = !strncmp(why.detail, path, strlen(path));
    return sluice_fail(err, status, "%s%s%s", named ? "" : path, named ? "" : ": ", why.detail);
}
