/* Added tokens: strings that are recognised in text before anything else looks at it. */
#ifndef SLUICE_TOKENIZER_ADDED_TOKENS_H
#define SLUICE_TOKENIZER_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sluice_added_token {
    char *content; /* owned */
    size_t length;
    int32_t id;
    bool special, normalized, lstrip, rstrip, single_word;
} sluice_added_token;

/* A trie over the contents of some added tokens, which must outlive it. Immutable once filled. */
typedef struct sluice_matcher {
    struct sluice_matcher_node *nodes;
    size_t count, capacity;
    uint32_t roots[256]; /* node of a first byte; 0: none */
} sluice_matcher;

/* Zero-initialise, then add; content is the text to look for. False if there is no memory. */
bool sluice_matcher_add(sluice_matcher *matcher, const char *content, size_t length,
                        const sluice_added_token *token);
void sluice_matcher_free(sluice_matcher *matcher);

/* Bytes [begin, end) are the token, with the spaces that lstrip and rstrip take. next is where to
 * look for the one behind it. */
typedef struct sluice_match {
    const sluice_added_token *token;
    size_t begin, end, next;
} sluice_match;

/* The next token in bytes [from, limit) of a text: of those that begin first, the longest. Spaces
 * and words around it are looked at in the whole text; taken is where the previous token ended.
 * With skip_special, special tokens are passed over. False if there is none. */
bool sluice_matcher_find(const sluice_matcher *matcher, const char *text, size_t length,
                         size_t from, size_t limit, size_t taken, bool skip_special,
                         sluice_match *match);

#endif
