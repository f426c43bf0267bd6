/* The tokens of a vocabulary: bytes by id, id by bytes.
 *
 * A tokenizer.json spells tokens in the byte-level alphabet (a visible character for each byte: a
 * space is U+0120). Here a token is the bytes that it stands for. A spelling with a character
 * outside that alphabet stands for itself and is "literal": no text is ever split into it, and the
 * decoder gives its characters back, as in the reference. */
#ifndef SLUICE_TOKENIZER_VOCAB_H
#define SLUICE_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tokenizer/text_buffer.h"

/* Ids are below this: sixteen times the largest vocabulary in use. */
#define SLUICE_VOCAB_MAX (1 << 22)

typedef struct sluice_vocab_entry {
    uint32_t offset, length; /* in bytes */
    bool exists, literal;
} sluice_vocab_entry;

/* Most tokens fit into a key whole, so that finding them touches this slot and nothing else. */
typedef struct sluice_vocab_slot {
    uint64_t key;
    int32_t id; /* -1: empty */
} sluice_vocab_slot;

/* Zero-initialise. */
typedef struct sluice_vocab {
    sluice_text_buffer bytes;
    sluice_vocab_entry *entries;
    int32_t count, capacity;  /* highest id plus one; room */
    sluice_vocab_slot *slots; /* open addressing, at most half full */
    size_t slot_count, used;
} sluice_vocab;

void sluice_vocab_free(sluice_vocab *vocab);

/* Adds a token by its spelling. SLUICE_CORRUPT: the id or (once there is an index) the spelling is
 * taken, or the id is out of range; the sentence names the token, and name the file. */
sluice_status sluice_vocab_add(sluice_vocab *vocab, const char *name, const char *spelling,
                               size_t length, int64_t id, sluice_error *err);

/* Makes the index by bytes, at once for all tokens so far: nothing is found before. SLUICE_CORRUPT:
 * two tokens are spelled alike. */
sluice_status sluice_vocab_index(sluice_vocab *vocab, const char *name, sluice_error *err);

/* Appends the bytes that a spelling stands for; returns whether it is literal. */
bool sluice_vocab_spell(const char *spelling, size_t length, sluice_text_buffer *to);

/* Looking up many tokens in no order spends its time waiting for memory, so a caller may compute
 * keys first, announce them, and find the tokens a little later. */
uint64_t sluice_vocab_key(const char *bytes, size_t length, bool literal);
void sluice_vocab_announce(const sluice_vocab *vocab, uint64_t key);
int32_t sluice_vocab_find_key(const sluice_vocab *vocab, uint64_t key, const char *bytes,
                              size_t length, bool literal);

/* The id of a token, or -1. */
int32_t sluice_vocab_find(const sluice_vocab *vocab, const char *bytes, size_t length,
                          bool literal);

/* Its bytes, or NULL for an id that names none. */
const char *sluice_vocab_token(const sluice_vocab *vocab, int32_t id, size_t *length);

#endif
