/* One remembered answer as bytes, for a file of --state.
 *
 * Little-endian: a header of 48 bytes (magic, version, tokens of the vocabulary, lengths), the key,
 * the reasoning, the tokens, and a 64-bit FNV-1a of all before it. */
#ifndef SLUICE_PROGRAMS_SERVER_REPLAY_FILE_H
#define SLUICE_PROGRAMS_SERVER_REPLAY_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

typedef struct server_replay_record {
    char *key; /* owned, as all below */
    size_t key_length;
    json_t *reasoning; /* of the answer; NULL: none */
    int32_t *tokens;
    size_t count;
    uint64_t used;
} server_replay_record;

void server_replay_record_free(server_replay_record *record);

/* NULL: no memory. Freed with free(). */
void *server_replay_encode(const server_replay_record *record, size_t *count);

/* name stands for the bytes in errors. SLUICE_UNSUPPORTED: another version; SLUICE_CORRUPT: damage,
 * or tokens that are not below vocab. */
sluice_status server_replay_decode(const char *name, const void *bytes, size_t count, int32_t vocab,
                                   server_replay_record *out, sluice_error *err);

#endif
