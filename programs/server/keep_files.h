/* Kept states in files: one snapshot's file each, named after its tokens. */
#ifndef SLUICE_PROGRAMS_SERVER_KEEP_FILES_H
#define SLUICE_PROGRAMS_SERVER_KEEP_FILES_H

#include "server/store.h"
#include "sluice/snapshot.h"

/* Looks at the beginning of every file and ignores those that are truncated or not of this model
 * and version, with a warning each. */
void server_keep_files_check(server_store *store, sluice_session *session);

/* Reads the longest state that begins the prompt and has more than `more` tokens into the session;
 * 0: there is none, and the session is what it was, unless *changed. */
int32_t server_keep_files_restore(server_store *store, const int32_t *prompt, int32_t count,
                                  int32_t more, sluice_session *session, bool *changed);

/* Writes it later; done is called with context when the snapshot is no longer needed. False: the
 * file is there already, and done is not called. */
bool server_keep_files_write(server_store *store, const sluice_snapshot *snapshot,
                             void (*done)(void *context), void *context);

#endif
