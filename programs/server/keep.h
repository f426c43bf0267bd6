/* Kept states: snapshots of sequences, found by their longest common beginning with a prompt, in
 * memory and, with --state, in files too (keep_files.h).
 *
 * Gated DeltaNet cannot be cut back, so that a state is of use only where all of its tokens begin
 * the prompt. Those least recently used go when the limit, or the engine's budget, is reached. The
 * engine's thread alone uses it. */
#ifndef SLUICE_PROGRAMS_SERVER_KEEP_H
#define SLUICE_PROGRAMS_SERVER_KEEP_H

#include "server/store.h"
#include "sluice/snapshot.h"

typedef struct server_keep server_keep;

/* bytes_max 0: nothing is kept in memory. store: where files go; NULL: nowhere. It must be closed
 * before the keep is freed. */
sluice_status server_keep_new(uint64_t bytes_max, server_store *store, server_keep **out,
                              sluice_error *err);
void server_keep_free(server_keep *keep);

/* Puts the session where the longest kept beginning of the prompt ends, at least one token before
 * the prompt's end; returns how many tokens that are (0: the session is empty). */
int32_t server_keep_restore(server_keep *keep, const int32_t *prompt, int32_t count,
                            sluice_session *session);

/* Keeps what the session is now; to_file: also across restarts. That it does not fit is no error.
 */
void server_keep_take(server_keep *keep, sluice_session *session, bool to_file);

typedef struct server_keep_stats {
    uint64_t bytes, entries, hits, misses, evictions;
    uint64_t file_hits; /* of the hits, those that were read from a file */
} server_keep_stats;
server_keep_stats server_keep_stats_get(const server_keep *keep);

#endif
