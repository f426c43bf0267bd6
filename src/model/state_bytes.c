/* A sequence's memory as bytes: what --state and /save write.
 *
 * All little-endian, in this order:
 *
 *     header    64 bytes: "sluice-state", version, fingerprint of the model, positions, how
 *               KV is kept (sluice_kv_type), bytes of this whole file, zeros
 *     tokens    positions x int32
 *     blocks    one bit for each whole block of 64 positions, in 64-bit words
 *     fixed     the GDN layers' memory as it lies in the state
 *     kv        for each attention layer and head: the used part of k, then of v
 *     checksum  CRC32C of everything before it
 *
 * One walk serves saving, checking and restoring, so the three cannot disagree. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "model/state.h"

#define VERSION 1u
#define BOUNCE_BYTES ((size_t)256 << 10)

static const char magic[16] = "sluice-state";

typedef struct header {
    char magic[16];
    uint32_t version, fingerprint;
    uint32_t positions, kv;
    uint64_t bytes;
    char reserved[24];
} header;
_Static_assert(sizeof(header) == 64, "the header of a saved state is 64 bytes");

typedef enum walk_mode { SAVE, CHECK, RESTORE } walk_mode;

typedef struct walk {
    walk_mode mode;
    sluice_state *state;
    sluice_state_write_fn write;
    sluice_state_read_fn read;
    void *context;
    uint32_t crc;
    void *bounce; /* [BOUNCE_BYTES] */
    sluice_error *err;
} walk;

/* The next n bytes: out of memory when saving, else into it. */
static sluice_status pass(walk *w, void *memory, size_t n)
{
    if (w->mode == SAVE) {
        SLUICE_TRY(w->write(w->context, memory, n, w->err));
    } else {
        SLUICE_TRY(w->read(w->context, memory, n, w->err));
    }
    w->crc = sluice_crc32c(w->crc, memory, n);
    return SLUICE_OK;
}

/* A range of host memory that a check must leave alone. */
static sluice_status pass_host(walk *w, void *memory, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t n = bytes - done < BOUNCE_BYTES ? bytes - done : BOUNCE_BYTES;
        SLUICE_TRY(pass(w, w->mode == CHECK ? w->bounce : (char *)memory + done, n));
        done += n;
    }
    return SLUICE_OK;
}

/* A range of the state's buffer. */
static sluice_status pass_buffer(walk *w, size_t offset, size_t bytes)
{
    sluice_backend *backend = w->state->backend;
    for (size_t done = 0; done < bytes;) {
        size_t n = bytes - done < BOUNCE_BYTES ? bytes - done : BOUNCE_BYTES;
        if (w->mode == SAVE)
            backend->buffer_read(backend, w->state->memory, offset + done, w->bounce, n);
        SLUICE_TRY(pass(w, w->bounce, n));
        if (w->mode == RESTORE)
            backend->buffer_write(backend, w->state->memory, offset + done, w->bounce, n);
        done += n;
    }
    return SLUICE_OK;
}

static size_t block_words(int32_t positions)
{
    return (size_t)positions / SLUICE_GDN_BLOCK / 64 + 1;
}

static size_t head_bytes_used(const sluice_state_layout *layout, int32_t positions)
{
    return (size_t)sluice_kv_positions(positions) * sluice_kv_bytes(layout->kv, layout->head_dim);
}

static uint64_t bytes_of(const sluice_state_layout *layout, int32_t positions)
{
    uint64_t heads = 0;
    for (int32_t i = 0; i < layout->layers; i++)
        if (layout->mixer[i] == SLUICE_MIXER_ATTENTION) heads += (uint64_t)layout->kv_heads;
    return sizeof(header) + (uint64_t)positions * sizeof(int32_t) +
           block_words(positions) * sizeof(uint64_t) + layout->fixed_bytes +
           2 * heads * head_bytes_used(layout, positions) + sizeof(uint32_t);
}

static sluice_status pass_kv(walk *w, int32_t positions)
{
    const sluice_state_layout *layout = w->state->layout;
    size_t head = head_bytes_used(layout, layout->capacity);
    size_t used = head_bytes_used(layout, positions);
    for (int32_t i = 0; i < layout->layers; i++) {
        if (layout->mixer[i] != SLUICE_MIXER_ATTENTION) continue;
        for (int32_t h = 0; h < layout->kv_heads; h++) {
            size_t k = layout->offset[i] + (size_t)h * head;
            SLUICE_TRY(pass_buffer(w, k, used));
            SLUICE_TRY(pass_buffer(w, k + layout->kv_bytes, used));
        }
    }
    return SLUICE_OK;
}

static sluice_status check_header(const walk *w, const header *h)
{
    const sluice_state_layout *layout = w->state->layout;
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return sluice_fail(w->err, SLUICE_CORRUPT, "this is not a saved state of sluice");
    if (h->version != VERSION)
        return sluice_fail(w->err, SLUICE_UNSUPPORTED,
                           "the saved state has version %u, this sluice "
                           "reads version %u",
                           h->version, VERSION);
    if (h->fingerprint != w->state->fingerprint)
        return sluice_fail(w->err, SLUICE_UNSUPPORTED, "the saved state belongs to another model");
    if (h->kv != (uint32_t)layout->kv)
        return sluice_fail(w->err, SLUICE_UNSUPPORTED,
                           "the saved state keeps keys and values in another type: use the --kv "
                           "that it was saved with");
    if (h->positions > (uint32_t)layout->capacity)
        return sluice_fail(w->err, SLUICE_LIMIT,
                           "the saved state has %u tokens, the context here is "
                           "%d",
                           h->positions, layout->capacity);
    if (h->bytes != bytes_of(layout, (int32_t)h->positions))
        return sluice_fail(w->err, SLUICE_CORRUPT,
                           "the saved state says %llu bytes, its %u tokens "
                           "need %llu",
                           (unsigned long long)h->bytes, h->positions,
                           (unsigned long long)bytes_of(layout, (int32_t)h->positions));
    return SLUICE_OK;
}

static sluice_status pass_checksum(walk *w)
{
    uint32_t expected = w->crc, found = expected;
    SLUICE_TRY(pass(w, &found, sizeof found));
    if (found != expected)
        return sluice_fail(w->err, SLUICE_CORRUPT,
                           "the saved state's checksum is %08x, its bytes give "
                           "%08x",
                           found, expected);
    return SLUICE_OK;
}

/* A checksum only says that the bytes are as they were written, not by whom. */
static sluice_status check_tokens(const walk *w, int32_t positions)
{
    for (int32_t i = 0; i < positions; i++)
        if (w->state->tokens[i] < 0 || w->state->tokens[i] >= w->state->layout->vocab)
            return sluice_fail(w->err, SLUICE_CORRUPT,
                               "the saved state's token %d at position %d is "
                               "not in the vocabulary",
                               w->state->tokens[i], i);
    return SLUICE_OK;
}

static sluice_status walk_all(walk *w)
{
    sluice_state *state = w->state;
    header h = {.version = VERSION,
                .fingerprint = state->fingerprint,
                .positions = (uint32_t)state->position,
                .kv = (uint32_t)state->layout->kv,
                .bytes = sluice_state_saved_bytes(state)};
    memcpy(h.magic, magic, sizeof magic);
    SLUICE_TRY(pass(w, &h, sizeof h));
    if (w->mode != SAVE) SLUICE_TRY(check_header(w, &h));

    int32_t positions = (int32_t)h.positions;
    SLUICE_TRY(pass_host(w, state->tokens, (size_t)positions * sizeof *state->tokens));
    SLUICE_TRY(pass_host(w, state->chunked, block_words(positions) * sizeof *state->chunked));
    SLUICE_TRY(pass_buffer(w, 0, state->layout->fixed_bytes));
    SLUICE_TRY(pass_kv(w, positions));
    SLUICE_TRY(pass_checksum(w));
    if (w->mode == RESTORE) {
        SLUICE_TRY(check_tokens(w, positions));
        state->position = positions;
    }
    return SLUICE_OK;
}

static sluice_status run(walk *w)
{
    w->bounce = malloc(BOUNCE_BYTES);
    if (!w->bounce)
        return sluice_fail(w->err, SLUICE_NO_MEMORY, "no memory to move a saved state through");
    sluice_status status = walk_all(w);
    free(w->bounce);
    return status;
}

uint64_t sluice_state_saved_bytes(const sluice_state *state)
{
    return bytes_of(state->layout, state->position);
}

sluice_status sluice_state_save(const sluice_state *state, sluice_state_write_fn write,
                                void *context, sluice_error *err)
{
    if (state->stale)
        return sluice_fail(err, SLUICE_USAGE,
                           "the last step of this sequence failed: run a step "
                           "before saving it");
    walk w = {.mode = SAVE,
              .state = (sluice_state *)state,
              .write = write,
              .context = context,
              .err = err};
    return run(&w);
}

sluice_status sluice_state_look(const sluice_state *state, sluice_state_read_fn read, void *context,
                                int32_t *positions, uint64_t *bytes, sluice_error *err)
{
    walk w = {.mode = CHECK, .state = (sluice_state *)state, .err = err};
    header h;
    SLUICE_TRY(read(context, &h, sizeof h, err));
    SLUICE_TRY(check_header(&w, &h));
    *positions = (int32_t)h.positions;
    *bytes = h.bytes;
    return SLUICE_OK;
}

sluice_status sluice_state_check(const sluice_state *state, sluice_state_read_fn read,
                                 void *context, sluice_error *err)
{
    walk w = {.mode = CHECK,
              .state = (sluice_state *)state,
              .read = read,
              .context = context,
              .err = err};
    return run(&w);
}

sluice_status sluice_state_restore(sluice_state *state, sluice_state_read_fn read, void *context,
                                   sluice_error *err)
{
    sluice_state_clear(state);
    walk w = {.mode = RESTORE, .state = state, .read = read, .context = context, .err = err};
    sluice_status status = run(&w);
    if (status != SLUICE_OK) sluice_state_clear(state);
    return status;
}
