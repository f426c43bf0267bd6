/* The tokens of a vocabulary as a trie of their bytes, laid out in the order of a walk.
 *
 * Nodes lie in preorder, so a walk is a loop over an array that jumps to a node's end where the
 * grammar allows nothing below it. Added tokens are no part of it: they stand for themselves, not
 * for their characters. */
#ifndef SLUICE_GRAMMAR_TOKEN_TRIE_H
#define SLUICE_GRAMMAR_TOKEN_TRIE_H

#include "sluice/grammar.h"

/* Longer tokens are left out: nothing is lost by never choosing them. */
#define SLUICE_TRIE_DEPTH_MAX 1024

typedef struct sluice_trie_node {
    uint32_t end;   /* the first node that is not below this one */
    uint32_t first; /* in ids: tokens of this node, then those below it; up to the end's first */
    uint32_t kinds; /* of all bytes below: bits of sluice_byte_kind */
    uint16_t depth; /* of the byte: bytes before it */
    uint8_t byte;
} sluice_trie_node;

struct sluice_token_trie {
    const sluice_tokenizer *tokenizer;
    int32_t vocab;
    sluice_trie_node *nodes; /* [count + 1]: the last is the end of all */
    uint32_t count;
    int32_t *ids; /* by bytes */
    uint32_t id_count;
    uint32_t depth_max; /* bytes of the longest token */
};

/* Which of 32 kinds a byte is of: kinds keep apart what grammars tell apart. */
extern const uint8_t sluice_byte_kind[256];

/* The bytes of the way to a node: node->depth + 1 of them. */
const char *sluice_token_trie_path(const sluice_token_trie *trie, const sluice_trie_node *node);

/* Whether a token is one of the trie's, that is, stands for its bytes. */
bool sluice_token_trie_has(const sluice_token_trie *trie, int32_t id);

#endif
