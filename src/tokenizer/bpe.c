/* Byte-pair encoding: see bpe.h. */
#include "tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Up to this many symbols a linear search for the lowest rank beats the heap. */
#define SHORT_MAX 48
#define NO_RANK UINT32_MAX
#define NOWHERE UINT32_MAX

typedef struct sluice_bpe_symbol {
    int32_t id; /* -1: merged into the symbol before it */
    uint32_t previous, next;
} symbol;

/* A pair that could be merged when it was pushed; stale if its symbols have changed since. */
typedef struct sluice_bpe_pair {
    uint32_t rank, place;
    int32_t left, right, merged;
} pair;

void sluice_bpe_init(sluice_bpe *bpe, const sluice_vocab *vocab)
{
    bpe->vocab = vocab;
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        bpe->byte_ids[i] = sluice_vocab_find(vocab, &byte, 1, false);
    }
}

static const char memory_tag[] = "tokenizer";

static void free_slots(sluice_bpe *bpe)
{
    if (!bpe->slots) return;
    sluice_memory_free(NULL, bpe->slots, bpe->slot_count * sizeof *bpe->slots, memory_tag);
}

void sluice_bpe_free(sluice_bpe *bpe)
{
    free_slots(bpe);
    *bpe = (sluice_bpe){0};
}

void sluice_bpe_scratch_free(sluice_bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (sluice_bpe_scratch){0};
}

static size_t hash_pair(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= UINT64_C(0x9E3779B97F4A7C15);
    key ^= key >> 32;
    return (size_t)(key * UINT64_C(0xD6E8FEB86659FD93) >> 20);
}

static sluice_merge_slot *find_slot(const sluice_bpe *bpe, int32_t left, int32_t right)
{
    size_t mask = bpe->slot_count - 1;
    for (size_t at = hash_pair(left, right) & mask;; at = (at + 1) & mask) {
        sluice_merge_slot *slot = &bpe->slots[at];
        if (slot->left < 0 || (slot->left == left && slot->right == right)) return slot;
    }
}

static const sluice_merge_slot *find_merge(const sluice_bpe *bpe, int32_t left, int32_t right)
{
    if (!bpe->slot_count) return NULL;
    const sluice_merge_slot *slot = find_slot(bpe, left, right);
    return slot->left < 0 ? NULL : slot;
}

/* Makes room for this many slots, a power of two. */
static bool resize_slots(sluice_bpe *bpe, size_t slot_count)
{
    void *memory;
    if (sluice_memory_new(NULL, slot_count * sizeof *bpe->slots, memory_tag, &memory, NULL) !=
        SLUICE_OK) {
        return false;
    }
    sluice_bpe grown = *bpe;
    grown.slot_count = slot_count;
    grown.slots = memory;
    for (size_t i = 0; i < slot_count; i++)
        grown.slots[i].left = -1;
    for (size_t i = 0; i < bpe->slot_count; i++) {
        const sluice_merge_slot *slot = &bpe->slots[i];
        if (slot->left >= 0) *find_slot(&grown, slot->left, slot->right) = *slot;
    }
    free_slots(bpe);
    *bpe = grown;
    return true;
}

void sluice_bpe_reserve(sluice_bpe *bpe, size_t merges)
{
    size_t slot_count = 1024;
    if (merges > SLUICE_VOCAB_MAX) merges = SLUICE_VOCAB_MAX;
    while (slot_count < merges * 2)
        slot_count *= 2;
    if (slot_count > bpe->slot_count) resize_slots(bpe, slot_count);
}

void sluice_bpe_announce(const sluice_bpe *bpe, int32_t left, int32_t right)
{
    if (!bpe->slot_count) return;
    __builtin_prefetch(&bpe->slots[hash_pair(left, right) & (bpe->slot_count - 1)], 1);
}

bool sluice_bpe_add_merge(sluice_bpe *bpe, int32_t left, int32_t right, uint32_t rank,
                          int32_t merged)
{
    if (bpe->used >= bpe->slot_count / 2 &&
        !resize_slots(bpe, bpe->slot_count ? bpe->slot_count * 2 : 1024)) {
        return false;
    }
    sluice_merge_slot *slot = find_slot(bpe, left, right);
    if (slot->left < 0) bpe->used++;
    *slot = (sluice_merge_slot){left, right, rank, merged};
    return true;
}

static void encode_short(const sluice_bpe *bpe, int32_t *ids, size_t count, sluice_id_list *out)
{
    uint32_t ranks[SHORT_MAX];
    int32_t merged[SHORT_MAX];
    /* ranks[i] belongs to the pair (i, i+1). */
    for (size_t i = 0; i + 1 < count; i++) {
        const sluice_merge_slot *merge = find_merge(bpe, ids[i], ids[i + 1]);
        ranks[i] = merge ? merge->rank : NO_RANK;
        merged[i] = merge ? merge->merged : -1;
    }
    for (;;) {
        size_t best = 0;
        uint32_t lowest = NO_RANK;
        for (size_t i = 0; i + 1 < count; i++) {
            if (ranks[i] < lowest) {
                lowest = ranks[i];
                best = i;
            }
        }
        if (lowest == NO_RANK) break;
        ids[best] = merged[best];
        size_t behind = count - best - 2;
        memmove(ids + best + 1, ids + best + 2, behind * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, behind * sizeof *ranks);
        memmove(merged + best, merged + best + 1, behind * sizeof *merged);
        count--;
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            const sluice_merge_slot *merge = find_merge(bpe, ids[i], ids[i + 1]);
            ranks[i] = merge ? merge->rank : NO_RANK;
            merged[i] = merge ? merge->merged : -1;
        }
    }
    for (size_t i = 0; i < count; i++)
        sluice_id_list_append(out, ids[i]);
}

static bool before(const pair *a, const pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static bool heap_push(sluice_bpe_scratch *scratch, pair added)
{
    if (scratch->heap_count == scratch->heap_capacity) {
        size_t capacity = scratch->heap_capacity ? scratch->heap_capacity * 2 : 256;
        pair *heap = realloc(scratch->heap, capacity * sizeof *heap);
        if (!heap) return false;
        scratch->heap = heap;
        scratch->heap_capacity = capacity;
    }
    size_t at = scratch->heap_count++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!before(&added, &scratch->heap[parent])) break;
        scratch->heap[at] = scratch->heap[parent];
        at = parent;
    }
    scratch->heap[at] = added;
    return true;
}

static pair heap_pop(sluice_bpe_scratch *scratch)
{
    pair top = scratch->heap[0], last = scratch->heap[--scratch->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= scratch->heap_count) break;
        if (child + 1 < scratch->heap_count &&
            before(&scratch->heap[child + 1], &scratch->heap[child])) {
            child++;
        }
        if (!before(&scratch->heap[child], &last)) break;
        scratch->heap[at] = scratch->heap[child];
        at = child;
    }
    scratch->heap[at] = last;
    return top;
}

static bool push_pair(const sluice_bpe *bpe, sluice_bpe_scratch *scratch, uint32_t place)
{
    const symbol *left = &scratch->symbols[place];
    if (left->next == NOWHERE) return true;
    int32_t right = scratch->symbols[left->next].id;
    const sluice_merge_slot *merge = find_merge(bpe, left->id, right);
    if (!merge) return true;
    return heap_push(scratch, (pair){merge->rank, place, left->id, right, merge->merged});
}

static bool merge_all(const sluice_bpe *bpe, sluice_bpe_scratch *scratch, uint32_t count)
{
    symbol *symbols = scratch->symbols;
    scratch->heap_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!push_pair(bpe, scratch, i)) return false;
    }
    while (scratch->heap_count) {
        pair top = heap_pop(scratch);
        symbol *left = &symbols[top.place];
        if (left->id != top.left || left->next == NOWHERE) continue;
        symbol *right = &symbols[left->next];
        if (right->id != top.right) continue;
        left->id = top.merged;
        left->next = right->next;
        right->id = -1;
        if (left->next != NOWHERE) symbols[left->next].previous = top.place;
        if (!push_pair(bpe, scratch, top.place)) return false;
        if (left->previous != NOWHERE && !push_pair(bpe, scratch, left->previous)) return false;
    }
    return true;
}

static bool encode_long(const sluice_bpe *bpe, sluice_bpe_scratch *scratch, const char *piece,
                        size_t length, sluice_id_list *out)
{
    if (scratch->symbol_capacity < length) {
        free(scratch->symbols);
        scratch->symbols = malloc(length * sizeof *scratch->symbols);
        scratch->symbol_capacity = scratch->symbols ? length : 0;
        if (!scratch->symbols) return false;
    }
    symbol *symbols = scratch->symbols;
    uint32_t count = 0;
    for (size_t i = 0; i < length; i++) {
        int32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id < 0) continue;
        symbols[count] = (symbol){id, count ? count - 1 : NOWHERE, count + 1};
        count++;
    }
    if (!count) return true;
    symbols[count - 1].next = NOWHERE;
    if (!merge_all(bpe, scratch, count)) return false;
    for (uint32_t at = 0; at != NOWHERE; at = symbols[at].next) {
        sluice_id_list_append(out, symbols[at].id);
    }
    return true;
}

sluice_status sluice_bpe_encode(const sluice_bpe *bpe, sluice_bpe_scratch *scratch,
                                const char *piece, size_t length, sluice_id_list *out,
                                sluice_error *err)
{
    bool done = true;
    int32_t whole = bpe->ignore_merges ? sluice_vocab_find(bpe->vocab, piece, length, false) : -1;
    if (whole >= 0) {
        sluice_id_list_append(out, whole);
    } else if (length <= SHORT_MAX) {
        int32_t ids[SHORT_MAX];
        size_t count = 0;
        for (size_t i = 0; i < length; i++) {
            int32_t id = bpe->byte_ids[(unsigned char)piece[i]];
            if (id >= 0) ids[count++] = id;
        }
        encode_short(bpe, ids, count, out);
    } else {
        done = encode_long(bpe, scratch, piece, length, out);
    }
    if (!done || out->failed) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to encode text");
    return SLUICE_OK;
}
