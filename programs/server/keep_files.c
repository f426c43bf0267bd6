/* Kept states in files; see keep_files.h. */
#include "server/keep_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/hash.h"

typedef struct looking {
    server_store *store;
    sluice_session *session;
} looking;

static bool look(void *context, const server_store_file *file, const char *path)
{
    looking *l = context;
    sluice_error err = {0};
    int32_t positions = 0;
    uint64_t bytes = 0;
    sluice_status status = sluice_snapshot_look(l->session, path, &positions, &bytes, &err);
    if (status == SLUICE_OK && (uint32_t)positions != file->number) {
        err.code = SLUICE_CORRUPT;
        snprintf(err.detail, sizeof err.detail, "%s: it holds %d tokens instead of %u", path,
                 positions, file->number);
    }
    if (err.code != SLUICE_OK) server_store_ignore(l->store, file, path, &err);
    return true;
}

void server_keep_files_check(server_store *store, sluice_session *session)
{
    looking l = {store, session};
    server_store_each(store, SERVER_STORE_STATE, look, &l);
}

typedef struct prompt_hashes {
    const uint64_t *behind; /* [count + 1]: of so many tokens */
    int32_t count, more;
} prompt_hashes;

static bool begins(void *context, const server_store_file *file)
{
    const prompt_hashes *p = context;
    return file->number > (uint32_t)p->more && file->number <= (uint32_t)p->count &&
           p->behind[file->number] == file->hash;
}

static uint64_t *hash_all(const int32_t *tokens, int32_t count)
{
    uint64_t *behind = malloc(((size_t)count + 1) * sizeof *behind);
    if (!behind) return NULL;
    behind[0] = SERVER_HASH_START;
    for (int32_t i = 0; i < count; i++)
        behind[i + 1] = server_hash(behind[i], &tokens[i], sizeof *tokens);
    return behind;
}

/* The tokens themselves decide, not their hash. */
static bool holds(sluice_session *session, const int32_t *prompt, int32_t expected)
{
    int32_t count;
    const int32_t *tokens = sluice_session_tokens(session, &count);
    return count == expected && !memcmp(tokens, prompt, (size_t)count * sizeof *tokens);
}

int32_t server_keep_files_restore(server_store *store, const int32_t *prompt, int32_t count,
                                  int32_t more, sluice_session *session, bool *changed)
{
    uint64_t *behind = hash_all(prompt, count);
    prompt_hashes p = {behind, count, more};
    server_store_file file;
    int32_t found = 0;
    char *path;
    *changed = false;
    while (behind && found == 0 &&
           server_store_find(store, SERVER_STORE_STATE, begins, &p, &file, &path)) {
        sluice_error err = {0};
        *changed = true;
        if (sluice_session_load(session, path, &err) == SLUICE_OK &&
            !holds(session, prompt, (int32_t)file.number)) {
            err.code = SLUICE_CORRUPT;
            snprintf(err.detail, sizeof err.detail, "%s: its name is of other tokens", path);
        }
        if (err.code == SLUICE_OK)
            found = (int32_t)file.number;
        else
            server_store_ignore(store, &file, path, &err);
        free(path);
    }
    free(behind);
    return found;
}

/* A snapshot on its way to its file. */
typedef struct sending {
    const sluice_snapshot *snapshot;
    void (*done)(void *context);
    void *context;
} sending;

static sluice_status write_snapshot(void *context, const char *path, sluice_error *err)
{
    const sending *s = context;
    return sluice_snapshot_write(s->snapshot, path, err);
}

static void sent(void *context)
{
    sending *s = context;
    s->done(s->context);
    free(s);
}

bool server_keep_files_write(server_store *store, const sluice_snapshot *snapshot,
                             void (*done)(void *context), void *context)
{
    int32_t count;
    const int32_t *tokens = sluice_snapshot_tokens(snapshot, &count);
    uint64_t hash = server_hash(SERVER_HASH_START, tokens, (size_t)count * sizeof *tokens);
    if (server_store_has(store, SERVER_STORE_STATE, (uint32_t)count, hash)) return false;
    sending *s = malloc(sizeof *s);
    if (!s) return false;
    *s = (sending){snapshot, done, context};
    server_store_job job = {.kind = SERVER_STORE_STATE,
                            .number = (uint32_t)count,
                            .hash = hash,
                            .bytes = sluice_snapshot_bytes(snapshot),
                            .write = write_snapshot,
                            .done = sent,
                            .context = s};
    server_store_write(store, &job);
    return true;
}
