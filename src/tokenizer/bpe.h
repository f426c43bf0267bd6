/* Byte-pair encoding: from the bytes of a piece of text to tokens.
 *
 * Of all neighbouring pairs that have a merge, the one with the lowest rank is merged, the leftmost
 * first, until none is left (Sennrich et al. 2016, as in the reference's merge_all). Short pieces
 * are searched anew for each merge; long ones keep their pairs in a heap, so that a piece of n
 * bytes costs n log n whatever it holds. */
#ifndef SLUICE_TOKENIZER_BPE_H
#define SLUICE_TOKENIZER_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tokenizer/id_list.h"
#include "tokenizer/vocab.h"

typedef struct sluice_merge_slot {
    int32_t left, right; /* left -1: empty */
    uint32_t rank;
    int32_t merged;
} sluice_merge_slot;

/* Zero-initialise, then fill. */
typedef struct sluice_bpe {
    const sluice_vocab *vocab;
    int32_t byte_ids[256];    /* -1: no token, the byte is dropped, as in the reference */
    bool ignore_merges;       /* a piece that is a token as a whole is that token */
    sluice_merge_slot *slots; /* open addressing, at most half full */
    size_t slot_count, used;
} sluice_bpe;

/* Memory of one thread for long pieces. Zero-initialise. */
typedef struct sluice_bpe_scratch {
    struct sluice_bpe_symbol *symbols;
    size_t symbol_capacity;
    struct sluice_bpe_pair *heap;
    size_t heap_count, heap_capacity;
} sluice_bpe_scratch;

/* Takes the bytes' ids from a complete vocabulary, which must outlive it. */
void sluice_bpe_init(sluice_bpe *bpe, const sluice_vocab *vocab);
void sluice_bpe_free(sluice_bpe *bpe);

/* Room for about this many merges at once. A hint: failing to follow it is no failure. */
void sluice_bpe_reserve(sluice_bpe *bpe, size_t merges);

/* Says that this pair will be added soon, so that its place is fetched from memory meanwhile. */
void sluice_bpe_announce(const sluice_bpe *bpe, int32_t left, int32_t right);

/* Of equal pairs the last counts, as in the reference. False if there is no memory. */
bool sluice_bpe_add_merge(sluice_bpe *bpe, int32_t left, int32_t right, uint32_t rank,
                          int32_t merged);

/* Appends the tokens of a piece of fewer than 2^31 bytes. SLUICE_NO_MEMORY is the only failure. */
sluice_status sluice_bpe_encode(const sluice_bpe *bpe, sluice_bpe_scratch *scratch,
                                const char *piece, size_t length, sluice_id_list *out,
                                sluice_error *err);
void sluice_bpe_scratch_free(sluice_bpe_scratch *scratch);

#endif
