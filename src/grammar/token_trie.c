/* Making the trie of a vocabulary: see token_trie.h. */
#include "grammar/token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tokenizer/tokenizer.h"

/* Kinds: control characters apart from tab, newline and return; each character that JSON, tags or
 * numbers treat by itself; letters, digits and other signs; what continues and what begins a longer
 * character. */
#define K4(k) k, k, k, k
#define K8(k) K4(k), K4(k)
#define K16(k) K8(k), K8(k)
const uint8_t
    sluice_byte_kind[256] = {K8(0),   0,       1,       2,       0,       0,
                             3,       0,       0,       K16(0), /* 00 */
                             4,       5,       6,       7,       7,       7,
                             7,       8,       9,       9,       10,      11,
                             12,      13,      14,      15, /* 20:  !"#$%&'()*+,-./ */
                             K8(16),  16,      16,      17,      17,      18,
                             19,      20,      21, /* 30: digits :;<=>? */
                             21,      K16(22), K8(22),  22,      22,      23,
                             24,      25,      26,      26, /* 40: @ letters [\]^_ */
                             26,      K4(27),  27,      27,      K16(28), K4(28),
                             29,      29,      29,      29,      29, /* 60: ` a-f g-z {|}~ */
                             K16(30), K16(30), K16(30), K16(30), K16(31), K16(31),
                             K16(31), K16(31)};

void sluice_token_trie_free(sluice_token_trie *trie)
{
    if (!trie) return;
    free(trie->nodes);
    free(trie->ids);
    free(trie);
}

typedef struct entry {
    const char *bytes;
    uint32_t length;
    int32_t id;
} entry;

static int by_bytes(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    uint32_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->bytes, y->bytes, shorter);
    if (order) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The tokens that text is made of. */
static uint32_t list_tokens(const sluice_tokenizer *tokenizer, entry *entries)
{
    uint32_t count = 0;
    int32_t vocab = sluice_tokenizer_vocab(tokenizer);
    for (int32_t id = 0; id < vocab; id++) {
        size_t length = 0;
        const char *bytes = sluice_tokenizer_token(tokenizer, id, &length);
        if (!bytes || !length || length > SLUICE_TRIE_DEPTH_MAX) continue;
        if (sluice_tokenizer_added(tokenizer, id)) continue;
        entries[count++] = (entry){bytes, (uint32_t)length, id};
    }
    if (count > 1) qsort(entries, count, sizeof *entries, by_bytes);
    return count;
}

static uint32_t shared_prefix(const entry *x, const entry *y)
{
    uint32_t length = 0;
    while (length < x->length && length < y->length && x->bytes[length] == y->bytes[length])
        length++;
    return length;
}

static uint32_t count_nodes(const entry *entries, uint32_t count)
{
    uint32_t nodes = 0;
    for (uint32_t i = 0; i < count; i++)
        nodes += entries[i].length - (i ? shared_prefix(&entries[i - 1], &entries[i]) : 0);
    return nodes;
}

/* Closes the nodes of the open path from depth on: what comes next is not below them. */
static void close_path(sluice_token_trie *trie, const uint32_t *path, uint32_t from, uint32_t open)
{
    while (open > from) {
        sluice_trie_node *node = &trie->nodes[path[--open]];
        node->end = trie->count;
        for (uint32_t child = path[open] + 1; child < trie->count; child = trie->nodes[child].end) {
            const sluice_trie_node *below = &trie->nodes[child];
            node->kinds |= below->kinds | 1u << sluice_byte_kind[below->byte];
        }
    }
}

static void fill(sluice_token_trie *trie, const entry *entries, uint32_t count)
{
    uint32_t path[SLUICE_TRIE_DEPTH_MAX], open = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shared = i ? shared_prefix(&entries[i - 1], &entries[i]) : 0;
        close_path(trie, path, shared, open);
        for (open = shared; open < entries[i].length; open++) {
            path[open] = trie->count;
            trie->nodes[trie->count++] = (sluice_trie_node){
                .first = i, .depth = (uint16_t)open, .byte = (uint8_t)entries[i].bytes[open]};
        }
        trie->ids[i] = entries[i].id;
        if (entries[i].length > trie->depth_max) trie->depth_max = entries[i].length;
    }
    close_path(trie, path, 0, open);
    trie->id_count = count;
    trie->nodes[trie->count] = (sluice_trie_node){.end = trie->count, .first = count};
}

sluice_status sluice_token_trie_new(const sluice_tokenizer *tokenizer, sluice_token_trie **out,
                                    sluice_error *err)
{
    size_t vocab = (size_t)sluice_tokenizer_vocab(tokenizer);
    sluice_token_trie *trie = calloc(1, sizeof *trie);
    entry *entries = malloc((vocab + 1) * sizeof *entries);
    *out = NULL;
    if (trie && entries) {
        trie->tokenizer = tokenizer;
        trie->vocab = (int32_t)vocab;
        uint32_t count = list_tokens(tokenizer, entries);
        trie->nodes = malloc(((size_t)count_nodes(entries, count) + 1) * sizeof *trie->nodes);
        trie->ids = malloc(((size_t)count + 1) * sizeof *trie->ids);
        if (trie->nodes && trie->ids) {
            fill(trie, entries, count);
            *out = trie;
        }
    }
    free(entries);
    if (*out) return SLUICE_OK;
    sluice_token_trie_free(trie);
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a trie of %zu tokens", vocab);
}

const char *sluice_token_trie_path(const sluice_token_trie *trie, const sluice_trie_node *node)
{
    size_t length;
    return sluice_tokenizer_token(trie->tokenizer, trie->ids[node->first], &length);
}

bool sluice_token_trie_has(const sluice_token_trie *trie, int32_t id)
{
    size_t length = 0;
    const char *bytes = sluice_tokenizer_token(trie->tokenizer, id, &length);
    return bytes && length && length <= SLUICE_TRIE_DEPTH_MAX &&
           !sluice_tokenizer_added(trie->tokenizer, id);
}
