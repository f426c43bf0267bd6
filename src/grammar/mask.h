/* Which tokens may come next: a walk over the trie of tokens with the machine.
 *
 * Most of a walk does not depend on what the grammar is nested in: a token that begins within a
 * string and does not leave it may come in every string. So the walk from the states on one stack
 * is done once with that stack unknown, and kept: the tokens that fit, and the nodes of the trie at
 * which the rule was left, below which only the real stack can tell. */
#ifndef SLUICE_GRAMMAR_MASK_H
#define SLUICE_GRAMMAR_MASK_H

#include "grammar/machine.h"
#include "grammar/token_trie.h"

typedef struct sluice_local_mask sluice_local_mask;

typedef struct sluice_masks {
    const sluice_token_trie *trie;
    sluice_machine *machine;
    int32_t *tag_ids; /* [tags]: the token of a tag, or -1 */
    uint32_t words;   /* of a mask */
    uint32_t *scratch;
    uint32_t *path;            /* [depth_max]: sets along a walk */
    sluice_local_mask **local; /* [local_capacity], by set */
    uint32_t local_capacity;
    size_t local_bytes;
    uint32_t *escapes; /* nodes, of the walk at hand */
    uint32_t escape_count, escape_capacity;
} sluice_masks;

/* Trie and machine must outlive it. */
sluice_status sluice_masks_init(sluice_masks *masks, const sluice_token_trie *trie,
                                sluice_machine *machine, sluice_error *err);
void sluice_masks_free(sluice_masks *masks);
/* Forgets what was kept: sets have new numbers. */
void sluice_masks_clear(sluice_masks *masks);

/* Fills mask [words] with the tokens that may come after a set, stop tokens aside. With a cost
 * limit, only tokens after which so many bytes can complete the answer (UINT32_MAX: all). */
sluice_status sluice_masks_fill(sluice_masks *masks, uint32_t set, uint32_t cost_max,
                                uint32_t *mask, sluice_error *err);

#endif
