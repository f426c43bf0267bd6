/* Everything that one sequence remembers: tokens, position, KV of each attention layer, convolution
 * window and GDN state of each GDN layer.
 *
 * What: one object with the verbs clear, copy (fork), truncate, checkpoint and rewind, save and
 * restore. Prefix reuse, a server's slots, rollback of speculation and /save are all these.
 *
 * One buffer of the backend holds it all:
 *
 *     | GDN layer 0: conv, s | GDN layer 1 | ... | attention layer 0: k, v | layer 1 | ...
 *     |<------- fixed_bytes, all in use -------->|<- capacity positions, the first in use ->|
 *
 * The fixed part comes first, so that a checkpoint of it is one copy. KV memory is reserved for
 * capacity positions and costs nothing until they are used (the pages stay untouched).
 *
 * Attention can be cut at any position; GDN folds all positions into one matrix and cannot: it goes
 * back only to the start or to a checkpoint. The model's forward pass is the only writer of
 * positions (see forward.h for what happens when a step fails halfway).
 *
 * What it does not do: allocate after it was made (checkpoints are objects of their own). */
#ifndef SLUICE_MODEL_STATE_H
#define SLUICE_MODEL_STATE_H

#include "backend/backend.h"
#include "base/memory.h"
#include "format/config.h"

#define SLUICE_GDN_BLOCK 64 /* positions of a block that GDN runs in chunked form */

typedef struct sluice_state_layout {
    int32_t layers, capacity; /* capacity: positions, a multiple of SLUICE_KV_BLOCK */
    int32_t kv_heads, head_dim, vocab;
    sluice_kv_type kv;
    uint8_t mixer[SLUICE_LAYERS_MAX];
    size_t offset[SLUICE_LAYERS_MAX]; /* of each layer's memory */
    size_t conv_bytes;                /* before s within a GDN layer */
    size_t kv_bytes;                  /* of k, and of v, within an attention layer */
    size_t fixed_bytes, bytes;
} sluice_state_layout;

/* For at least `positions` positions. */
void sluice_state_layout_init(sluice_state_layout *layout, const sluice_config *config,
                              int32_t positions, sluice_kv_type kv);

typedef struct sluice_state {
    const sluice_state_layout *layout; /* not owned */
    sluice_backend *backend;           /* not owned */
    sluice_buffer *memory;
    uint32_t fingerprint; /* of the model that it belongs to */
    int32_t position;     /* tokens seen, and the position of the next one */
    int32_t *tokens;      /* [capacity + 1]; the first position are set, the next is spare */
    uint64_t *chunked;    /* bit b: positions [64b, 64b + 64) ran as one block of GDN */
    bool stale;           /* tokens are right, memory is not: a step failed halfway */
} sluice_state;

sluice_status sluice_state_new(const sluice_state_layout *layout, sluice_backend *backend,
                               uint32_t fingerprint, sluice_state **out, sluice_error *err);
void sluice_state_free(sluice_state *state);

/* Where one layer's memory is, for the backend. */
sluice_layer_state sluice_state_layer(const sluice_state *state, int32_t layer);

void sluice_state_clear(sluice_state *state);

/* to becomes what from is. Both have the same layout and backend. */
void sluice_state_copy(sluice_state *to, const sluice_state *from);

/* Forgets positions from `position` on. SLUICE_UNSUPPORTED unless it is 0, the present position, or
 * the model has no GDN layers. */
sluice_status sluice_state_truncate(sluice_state *state, int32_t position, sluice_error *err);

/* Notes count tokens as seen, after the backend has run them as one segment. */
void sluice_state_append(sluice_state *state, const int32_t *tokens, int32_t count);
bool sluice_state_chunked(const sluice_state *state, int32_t block);
size_t sluice_state_chunked_words(const sluice_state_layout *layout);

/* A place to go back to: the fixed part and the tokens. KV is not copied, it is still in the state
 * that is rewound. */
typedef struct sluice_checkpoint sluice_checkpoint;
sluice_status sluice_checkpoint_new(const sluice_state *like, sluice_checkpoint **out,
                                    sluice_error *err);
void sluice_checkpoint_free(sluice_checkpoint *checkpoint);
void sluice_checkpoint_take(sluice_checkpoint *checkpoint, const sluice_state *state);
/* SLUICE_UNSUPPORTED unless the state's first tokens are those of the checkpoint. */
sluice_status sluice_checkpoint_rewind(const sluice_checkpoint *checkpoint, sluice_state *state,
                                       sluice_error *err);

/* ---- as bytes (state_bytes.c): versioned, checksummed, only the positions in use ---- */

/* Moves the next n bytes out of or into the caller's file or memory. */
typedef sluice_status (*sluice_state_write_fn)(void *context, const void *bytes, size_t n,
                                               sluice_error *err);
typedef sluice_status (*sluice_state_read_fn)(void *context, void *bytes, size_t n,
                                              sluice_error *err);

uint64_t sluice_state_saved_bytes(const sluice_state *state);
sluice_status sluice_state_save(const sluice_state *state, sluice_state_write_fn write,
                                void *context, sluice_error *err);

/* What saved bytes say about themselves, by their first 64: how many positions, and how many bytes
 * there are in all. The same errors as sluice_state_check, but for the checksum. */
sluice_status sluice_state_look(const sluice_state *state, sluice_state_read_fn read, void *context,
                                int32_t *positions, uint64_t *bytes, sluice_error *err);

/* Reads and checks the bytes without changing the state: another model or version is
 * SLUICE_UNSUPPORTED, a wrong checksum or size SLUICE_CORRUPT, too many positions SLUICE_LIMIT. */
sluice_status sluice_state_check(const sluice_state *state, sluice_state_read_fn read,
                                 void *context, sluice_error *err);
/* The same and into the state. If it fails the state is cleared; check first to keep it. */
sluice_status sluice_state_restore(sluice_state *state, sluice_state_read_fn read, void *context,
                                   sluice_error *err);

#endif
