/* The tokens of a vocabulary: see vocab.h. */
#include "tokenizer/vocab.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tokenizer/utf8.h"

/* Tokens of at most this many bytes are their own key. */
#define SHORT_MAX 7
/* Tokens whose slots are fetched from memory together. */
#define BATCH 32
/* In the lowest byte of the key of a longer token; that of a short one is its length and a flag. */
#define IS_LONG 0xFF

static uint64_t mix(uint64_t value)
{
    value *= UINT64_C(0x9E3779B97F4A7C15);
    value ^= value >> 32;
    value *= UINT64_C(0xBF58476D1CE4E5B9);
    return value ^ value >> 29;
}

/* What stands for a token in the table: its bytes themselves, or a hash of them (files are chosen
 * by their user, so a crafted one can at worst be slow to load). */
uint64_t sluice_vocab_key(const char *bytes, size_t length, bool literal)
{
    uint64_t word = 0;
    if (length <= SHORT_MAX) {
        memcpy(&word, bytes, length);
        return word << 8 | length | (uint64_t)literal << 3;
    }
    uint64_t hash = length << 1 | literal;
    for (; length >= 8; bytes += 8, length -= 8) {
        memcpy(&word, bytes, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, bytes, length);
    return mix(hash ^ word) | IS_LONG;
}

/* The table is read in no order at all: on huge pages that misses the TLB far less. */
static const char memory_tag[] = "tokenizer";

static void free_slots(sluice_vocab *vocab)
{
    if (!vocab->slots) return;
    sluice_memory_free(NULL, vocab->slots, vocab->slot_count * sizeof *vocab->slots, memory_tag);
}

void sluice_vocab_free(sluice_vocab *vocab)
{
    sluice_text_buffer_free(&vocab->bytes);
    free(vocab->entries);
    free_slots(vocab);
    *vocab = (sluice_vocab){0};
}

/* The byte behind a character of the alphabet, or -1. Bytes that are visible in Latin-1 stand for
 * themselves; the others follow from U+0100 in order. */
static int alphabet_byte(uint32_t codepoint)
{
    if (codepoint >= 0x21 && codepoint <= 0xFF) {
        bool moved = (codepoint >= 0x7F && codepoint <= 0xA0) || codepoint == 0xAD;
        return moved ? -1 : (int)codepoint;
    }
    if (codepoint < 0x100 || codepoint > 0x143) return -1;
    int place = (int)codepoint - 0x100;
    if (place <= 0x20) return place;
    return place <= 0x42 ? 0x7F + (place - 0x21) : 0xAD;
}

bool sluice_vocab_spell(const char *spelling, size_t length, sluice_text_buffer *to)
{
    size_t start = to->length;
    char *out = sluice_text_buffer_reserve(to, length);
    if (!out) return false;
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        size_t step = 1;
        int byte = (unsigned char)spelling[at];
        if (byte < 0x21 || byte > 0x7E) {
            byte = alphabet_byte(sluice_utf8_decode(spelling + at, &step));
        }
        if (byte < 0) {
            memcpy(to->bytes + start, spelling, length);
            to->length = start + length;
            return true;
        }
        out[used++] = (char)byte;
        at += step;
    }
    to->length = start + used;
    return false;
}

/* The slot that holds the token, or the empty one where it belongs. */
static sluice_vocab_slot *find_slot(const sluice_vocab *vocab, uint64_t key, const char *bytes,
                                    size_t length, bool literal)
{
    size_t mask = vocab->slot_count - 1;
    for (size_t at = mix(key) & mask;; at = (at + 1) & mask) {
        sluice_vocab_slot *slot = &vocab->slots[at];
        if (slot->id < 0) return slot;
        if (slot->key != key) continue;
        if ((key & 0xFF) != IS_LONG) return slot;
        const sluice_vocab_entry *entry = &vocab->entries[slot->id];
        if (entry->length == length && entry->literal == literal &&
            memcmp(vocab->bytes.bytes + entry->offset, bytes, length) == 0) {
            return slot;
        }
    }
}

static bool resize_slots(sluice_vocab *vocab, size_t slot_count)
{
    void *memory;
    if (sluice_memory_new(NULL, slot_count * sizeof *vocab->slots, memory_tag, &memory, NULL) !=
        SLUICE_OK) {
        return false;
    }
    sluice_vocab_slot *slots = memory;
    for (size_t i = 0; i < slot_count; i++)
        slots[i].id = -1;
    for (size_t i = 0; i < vocab->slot_count; i++) {
        sluice_vocab_slot slot = vocab->slots[i];
        if (slot.id < 0) continue;
        size_t at = mix(slot.key) & (slot_count - 1);
        while (slots[at].id >= 0)
            at = (at + 1) & (slot_count - 1);
        slots[at] = slot;
    }
    free_slots(vocab);
    vocab->slots = slots;
    vocab->slot_count = slot_count;
    return true;
}

static bool grow_entries(sluice_vocab *vocab, int32_t needed)
{
    if (needed <= vocab->capacity) return true;
    int32_t capacity = vocab->capacity ? vocab->capacity * 2 : 1024;
    if (capacity < needed) capacity = needed;
    sluice_vocab_entry *entries = realloc(vocab->entries, (size_t)capacity * sizeof *entries);
    if (!entries) return false;
    memset(entries + vocab->capacity, 0, (size_t)(capacity - vocab->capacity) * sizeof *entries);
    vocab->entries = entries;
    vocab->capacity = capacity;
    return true;
}

/* Puts a token that stands in entries into the index. */
static sluice_status insert(sluice_vocab *vocab, const char *name, int32_t id, uint64_t key,
                            sluice_error *err)
{
    const sluice_vocab_entry *entry = &vocab->entries[id];
    const char *bytes = vocab->bytes.bytes + entry->offset;
    sluice_vocab_slot *slot = find_slot(vocab, key, bytes, entry->length, entry->literal);
    if (slot->id >= 0) {
        int shown = entry->length > 60 ? 60 : (int)entry->length;
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: token \"%.*s\" stands in the vocabulary twice, as %d and %d", name,
                           shown, bytes, (int)slot->id, (int)id);
    }
    *slot = (sluice_vocab_slot){key, id};
    vocab->used++;
    return SLUICE_OK;
}

static uint64_t entry_key(const sluice_vocab *vocab, int32_t id)
{
    const sluice_vocab_entry *entry = &vocab->entries[id];
    return sluice_vocab_key(vocab->bytes.bytes + entry->offset, entry->length, entry->literal);
}

sluice_status sluice_vocab_index(sluice_vocab *vocab, const char *name, sluice_error *err)
{
    uint64_t keys[BATCH];
    size_t slot_count = 1024;
    while (slot_count / 2 <= (size_t)vocab->count)
        slot_count *= 2;
    vocab->used = 0;
    if (!resize_slots(vocab, slot_count)) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the vocabulary", name);
    }
    for (int32_t first = 0; first < vocab->count; first += BATCH) {
        int32_t end = vocab->count - first < BATCH ? vocab->count : first + BATCH;
        for (int32_t id = first; id < end; id++) {
            if (!vocab->entries[id].exists) continue;
            keys[id - first] = entry_key(vocab, id);
            sluice_vocab_announce(vocab, keys[id - first]);
        }
        for (int32_t id = first; id < end; id++) {
            if (!vocab->entries[id].exists) continue;
            SLUICE_TRY(insert(vocab, name, id, keys[id - first], err));
        }
    }
    return SLUICE_OK;
}

sluice_status sluice_vocab_add(sluice_vocab *vocab, const char *name, const char *spelling,
                               size_t length, int64_t id, sluice_error *err)
{
    int shown = length > 60 ? 60 : (int)length;
    if (id < 0 || id >= SLUICE_VOCAB_MAX) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: token \"%.*s\" has id %lld, not within 0..%d",
                           name, shown, spelling, (long long)id, SLUICE_VOCAB_MAX - 1);
    }
    if (id < vocab->count && vocab->entries[id].exists) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: token \"%.*s\" has id %lld, which another has",
                           name, shown, spelling, (long long)id);
    }
    size_t offset = vocab->bytes.length;
    bool literal = sluice_vocab_spell(spelling, length, &vocab->bytes);
    bool is_full = vocab->slot_count && vocab->used >= vocab->slot_count / 2;
    if (vocab->bytes.failed || vocab->bytes.length > UINT32_MAX ||
        !grow_entries(vocab, (int32_t)id + 1) ||
        (is_full && !resize_slots(vocab, vocab->slot_count * 2))) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the vocabulary", name);
    }
    vocab->entries[id] = (sluice_vocab_entry){
        (uint32_t)offset, (uint32_t)(vocab->bytes.length - offset), true, literal};
    if (id >= vocab->count) vocab->count = (int32_t)id + 1;
    if (!vocab->slot_count) return SLUICE_OK;
    return insert(vocab, name, (int32_t)id, entry_key(vocab, (int32_t)id), err);
}

void sluice_vocab_announce(const sluice_vocab *vocab, uint64_t key)
{
    if (vocab->slot_count) __builtin_prefetch(&vocab->slots[mix(key) & (vocab->slot_count - 1)]);
}

int32_t sluice_vocab_find_key(const sluice_vocab *vocab, uint64_t key, const char *bytes,
                              size_t length, bool literal)
{
    return vocab->slot_count ? find_slot(vocab, key, bytes, length, literal)->id : -1;
}

int32_t sluice_vocab_find(const sluice_vocab *vocab, const char *bytes, size_t length, bool literal)
{
    return sluice_vocab_find_key(vocab, sluice_vocab_key(bytes, length, literal), bytes, length,
                                 literal);
}

const char *sluice_vocab_token(const sluice_vocab *vocab, int32_t id, size_t *length)
{
    if (id < 0 || id >= vocab->count || !vocab->entries[id].exists) return NULL;
    *length = vocab->entries[id].length;
    return vocab->bytes.bytes + vocab->entries[id].offset;
}
