/* A folder of files that outlive the server (--state): states of conversations, sampled answers,
 * responses.
 *
 * What: which files there are, a limit on their bytes (those least recently used go first, also
 * across restarts), and one thread that writes, so that neither the engine nor a connection ever
 * waits for the disk. Files are named after what they are of, so that they are found without being
 * opened:
 *
 *     IDENTITY-NUMBER-HASH.KIND      8, 8 and 16 hexadecimal digits
 *
 * IDENTITY is of the model and of the settings that change its answers: files of others are left
 * alone until they are the oldest. What it does not do: know what is in a file (keep_files.c,
 * replay_file.c, response_store.c), which must hold its own checksum.
 *
 * Thread-safe. */
#ifndef SLUICE_PROGRAMS_SERVER_STORE_H
#define SLUICE_PROGRAMS_SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"

typedef struct server_store server_store;

typedef enum server_store_kind {
    SERVER_STORE_STATE,    /* a session behind NUMBER tokens, HASH is theirs */
    SERVER_STORE_TURN,     /* an answer's tokens, HASH is of the conversation */
    SERVER_STORE_RESPONSE, /* a conversation, HASH is of the response's id */
    SERVER_STORE_KINDS
} server_store_kind;

typedef struct server_store_file {
    uint32_t identity;
    server_store_kind kind;
    uint32_t number;
    uint64_t hash;
    uint64_t bytes;
    int64_t used; /* nanoseconds since 1970 */
    bool ignored; /* of no use, though its name is right */
} server_store_file;

/* Makes the folder if it is not there. The error names it. */
sluice_status server_store_open(const char *dir, uint64_t bytes_max, uint32_t identity,
                                server_store **out, sluice_error *err);

/* Waits until all is written. NULL is allowed. */
void server_store_close(server_store *store);

/* Writes a file later, in the order of the calls: write makes the whole file at path, durably, or
 * leaves nothing; done is called whatever comes of it, also if it is not written at all because the
 * same file is there, or more waits than the disk keeps up with. */
typedef struct server_store_job {
    server_store_kind kind;
    uint32_t number;
    uint64_t hash;
    uint64_t bytes; /* about; what the file has counts */
    sluice_status (*write)(void *context, const char *path, sluice_error *err);
    void (*done)(void *context);
    void *context;
} server_store_job;
void server_store_write(server_store *store, const server_store_job *job);

/* The file of this kind and identity with the highest number for which accept says yes; it is then
 * the most recently used, and *path its name (freed with free()). */
bool server_store_find(server_store *store, server_store_kind kind,
                       bool (*accept)(void *context, const server_store_file *file), void *context,
                       server_store_file *out, char **path);
bool server_store_has(server_store *store, server_store_kind kind, uint32_t number, uint64_t hash);

/* Every file of a kind, the most recently used first, while visit says true. */
void server_store_each(server_store *store, server_store_kind kind,
                       bool (*visit)(void *context, const server_store_file *file,
                                     const char *path),
                       void *context);

/* A file that turned out to be of no use: it is not offered again, and a line on stderr says why,
 * unless it is just gone. */
void server_store_ignore(server_store *store, const server_store_file *file, const char *path,
                         const sluice_error *why);

/* Small files as a whole. send takes over bytes (from malloc; NULL: nothing is written). read:
 * freed with free(); files of over bytes_max are refused. */
void server_store_send(server_store *store, server_store_kind kind, uint32_t number, uint64_t hash,
                       void *bytes, size_t count);
sluice_status server_store_read(const char *path, size_t bytes_max, char **bytes, size_t *count,
                                sluice_error *err);

typedef struct server_store_stats {
    uint64_t files, bytes, written, evicted, ignored, errors;
} server_store_stats;
server_store_stats server_store_stats_get(server_store *store); /* NULL: zeros */

#endif
