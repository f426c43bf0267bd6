/* Snapshots: what a session remembers, in as few bytes as it takes.
 *
 * A session keeps room for its whole context; a snapshot holds only the positions in use (KV, Gated
 * DeltaNet state, tokens), so that many fit where few sessions do. It is immutable, charged to the
 * engine's budget, and freed before the engine is closed. Its file is that of sluice_session_save.
 *
 * Taking, restoring, reading and freeing belong to the engine's thread; a snapshot may be written
 * to a file by any one thread at a time. */
#ifndef SLUICE_SNAPSHOT_H
#define SLUICE_SNAPSHOT_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_snapshot sluice_snapshot;

/* Of the engine's model: files of one fingerprint fit no other. */
uint32_t sluice_engine_fingerprint(const sluice_engine *engine);

/* SLUICE_NO_MEMORY: over the budget; freeing other snapshots helps. */
sluice_status sluice_snapshot_take(sluice_session *session, sluice_snapshot **out,
                                   sluice_error *err);
void sluice_snapshot_free(sluice_snapshot *snapshot); /* NULL is allowed */

/* The session becomes what the other one was; same engine. */
sluice_status sluice_snapshot_restore(const sluice_snapshot *snapshot, sluice_session *session,
                                      sluice_error *err);

/* The tokens seen, owned by the snapshot; and what it charges to the budget. */
const int32_t *sluice_snapshot_tokens(const sluice_snapshot *snapshot, int32_t *count);
uint64_t sluice_snapshot_bytes(const sluice_snapshot *snapshot);

/* Writes the file (under a temporary name, then renamed) and reads one back through session, which
 * it overwrites: another model or version is SLUICE_UNSUPPORTED, damage SLUICE_CORRUPT. */
sluice_status sluice_snapshot_write(const sluice_snapshot *snapshot, const char *path,
                                    sluice_error *err);
sluice_status sluice_snapshot_read(const char *path, sluice_session *session, sluice_snapshot **out,
                                   sluice_error *err);

/* What a file says about itself, without reading more than its beginning: how many tokens it holds,
 * and its size. Another model or version is SLUICE_UNSUPPORTED, more tokens than the session has
 * room for SLUICE_LIMIT, no such file or a truncated one SLUICE_CORRUPT. Damage further on is found
 * when it is read. */
sluice_status sluice_snapshot_look(const sluice_session *session, const char *path,
                                   int32_t *positions, uint64_t *bytes, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
