/* Sessions: a state with a file format around it and, perhaps, one token that has not run yet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "engine/engine.h"
#include "os/file.h"

static const char temporary_suffix[] = ".sluice-tmp";

sluice_status sluice_session_open(sluice_engine *engine, sluice_session **out, sluice_error *err)
{
    sluice_session *session = calloc(1, sizeof *session);
    if (!session) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a session");
    session->engine = engine;
    sluice_status status = sluice_state_new(&engine->layout, engine->backend,
                                            engine->model->fingerprint, &session->state, err);
    if (status != SLUICE_OK) {
        free(session);
        return status;
    }
    *out = session;
    return SLUICE_OK;
}

void sluice_session_close(sluice_session *session)
{
    if (!session) return;
    sluice_state_free(session->state);
    free(session);
}

const int32_t *sluice_session_tokens(const sluice_session *session, int32_t *count)
{
    *count = session->state->position + session->pending;
    return session->state->tokens;
}

void sluice_session_clear(sluice_session *session)
{
    sluice_state_clear(session->state);
    session->pending = false;
    session->bulk_end = 0;
}

sluice_status sluice_session_copy(sluice_session *to, const sluice_session *from, sluice_error *err)
{
    if (to->engine != from->engine)
        return sluice_fail(err, SLUICE_USAGE, "the sessions belong to two engines");
    sluice_state_copy(to->state, from->state);
    to->pending = from->pending;
    to->bulk_end = 0;
    to->state->tokens[to->state->position] = from->state->tokens[from->state->position];
    return SLUICE_OK;
}

void sluice_session_prompt(sluice_session *session, int32_t count)
{
    const sluice_engine *engine = session->engine;
    int32_t tail = engine->options.levers.prefill_full_tail, seen;
    if (tail <= 0) tail = SLUICE_PREFILL_FULL_TAIL;
    sluice_session_tokens(session, &seen);
    session->bulk_end = engine->rules.prompt && count > tail ? seen + count - tail : 0;
}

typedef struct file {
    const char *path;
    int fd;
    uint64_t offset, bytes;
} file;

static sluice_status write_on(void *context, const void *bytes, size_t n, sluice_error *err)
{
    file *f = context;
    SLUICE_TRY(sluice_file_write(f->fd, f->path, f->offset, bytes, n, err));
    f->offset += n;
    return SLUICE_OK;
}

static sluice_status read_on(void *context, void *bytes, size_t n, sluice_error *err)
{
    file *f = context;
    if (n > f->bytes - f->offset)
        return sluice_fail(err, SLUICE_CORRUPT, "the file is truncated at byte %llu",
                           (unsigned long long)f->bytes);
    SLUICE_TRY(sluice_file_read(f->fd, f->path, f->offset, bytes, n, err));
    f->offset += n;
    return SLUICE_OK;
}

/* Puts the file's name before what the state's reader said about the bytes. */
static sluice_status name_file(const file *f, sluice_status status, sluice_error *err)
{
    if (status == SLUICE_OK || !err || !strncmp(err->detail, f->path, strlen(f->path)))
        return status;
    char detail[sizeof err->detail];
    snprintf(detail, sizeof detail, "%s", err->detail);
    return sluice_fail(err, status, "%s: %s", f->path, detail);
}

sluice_status sluice_session_save(sluice_session *session, const char *path, sluice_error *err)
{
    SLUICE_TRY(sluice_session_settle(session, err));
    size_t size = strlen(path) + sizeof temporary_suffix;
    char *temporary = malloc(size);
    if (!temporary) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", path);
    snprintf(temporary, size, "%s%s", path, temporary_suffix);
    file f = {.path = path};
    sluice_status status = sluice_file_create(temporary, &f.fd, err);
    if (status == SLUICE_OK) {
        status = sluice_state_save(session->state, write_on, &f, err);
        if (status == SLUICE_OK) {
            status = sluice_file_commit(f.fd, temporary, path, err);
        } else {
            sluice_file_close(f.fd);
            unlink(temporary);
        }
    }
    free(temporary);
    return status;
}

static sluice_status load_from(sluice_session *session, file *f, sluice_error *err)
{
    SLUICE_TRY(sluice_state_check(session->state, read_on, f, err));
    if (f->offset != f->bytes)
        return sluice_fail(err, SLUICE_CORRUPT, "the file goes on after the state's %llu bytes",
                           (unsigned long long)f->offset);
    f->offset = 0;
    session->pending = false;
    session->bulk_end = 0;
    return sluice_state_restore(session->state, read_on, f, err);
}

sluice_status sluice_session_load(sluice_session *session, const char *path, sluice_error *err)
{
    file f = {.path = path};
    SLUICE_TRY(sluice_file_open(path, &f.fd, &f.bytes, err));
    sluice_status status = name_file(&f, load_from(session, &f, err), err);
    sluice_file_close(f.fd);
    return status;
}
