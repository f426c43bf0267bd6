/* The tokens of a vocabulary: see vocab.h. */
#include "tokenizer/vocab.h"

#include <stdlib.h>

#include "tokenizer/utf8.h"

/* Two rounds of multiply and fold over eight bytes at a time. Files are chosen by their user, so a
 * crafted one can at worst be slow to load. */
static uint32_t hash_bytes(const char *bytes, size_t length, bool literal)
{
    const uint64_t factor = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t hash = (length << 1 | literal) * factor;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
        bytes += 8;
        length -= 8;
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, length);
    hash = (hash ^ rest) * factor;
    hash ^= hash >> 29;
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    return (uint32_t)(hash >> 32);
}

void sluice_vocab_free(sluice_vocab *vocab)
{
    sluice_text_buffer_free(&vocab->bytes);
    free(vocab->entries);
    free(vocab->slots);
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
static sluice_vocab_slot *find_slot(const sluice_vocab *vocab, uint32_t hash, const char *bytes,
                                    size_t length, bool literal)
{
    size_t mask = vocab->slot_count - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        sluice_vocab_slot *slot = &vocab->slots[at];
        if (slot->id < 0) return slot;
        if (slot->hash != hash) continue;
        const sluice_vocab_entry *entry = &vocab->entries[slot->id];
        if (entry->length == length && entry->literal == literal &&
            memcmp(vocab->bytes.bytes + entry->offset, bytes, length) == 0) {
            return slot;
        }
    }
}

static bool resize_slots(sluice_vocab *vocab, size_t slot_count)
{
    sluice_vocab_slot *slots = malloc(slot_count * sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < slot_count; i++)
        slots[i].id = -1;
    for (size_t i = 0; i < vocab->slot_count; i++) {
        sluice_vocab_slot slot = vocab->slots[i];
        if (slot.id < 0) continue;
        size_t at = slot.hash & (slot_count - 1);
        while (slots[at].id >= 0)
            at = (at + 1) & (slot_count - 1);
        slots[at] = slot;
    }
    free(vocab->slots);
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

void sluice_vocab_reserve(sluice_vocab *vocab, size_t tokens)
{
    size_t slot_count = 1024;
    if (tokens > SLUICE_VOCAB_MAX) tokens = SLUICE_VOCAB_MAX;
    while (slot_count < tokens * 2)
        slot_count *= 2;
    if (slot_count > vocab->slot_count) resize_slots(vocab, slot_count);
    grow_entries(vocab, (int32_t)tokens);
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
    bool room = !vocab->bytes.failed && vocab->bytes.length <= UINT32_MAX &&
                grow_entries(vocab, (int32_t)id + 1) &&
                (vocab->used < vocab->slot_count / 2 ||
                 resize_slots(vocab, vocab->slot_count ? vocab->slot_count * 2 : 1024));
    if (!room) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the vocabulary", name);
    const char *bytes = vocab->bytes.bytes + offset;
    size_t count = vocab->bytes.length - offset;
    uint32_t hash = hash_bytes(bytes, count, literal);
    sluice_vocab_slot *slot = find_slot(vocab, hash, bytes, count, literal);
    if (slot->id >= 0) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: token \"%.*s\" stands in the vocabulary twice",
                           name, shown, spelling);
    }
    *slot = (sluice_vocab_slot){hash, (int32_t)id};
    vocab->used++;
    vocab->entries[id] = (sluice_vocab_entry){(uint32_t)offset, (uint32_t)count, true, literal};
    if (id >= vocab->count) vocab->count = (int32_t)id + 1;
    return SLUICE_OK;
}

int32_t sluice_vocab_find(const sluice_vocab *vocab, const char *bytes, size_t length, bool literal)
{
    if (!vocab->slot_count) return -1;
    return find_slot(vocab, hash_bytes(bytes, length, literal), bytes, length, literal)->id;
}

const char *sluice_vocab_token(const sluice_vocab *vocab, int32_t id, size_t *length)
{
    if (id < 0 || id >= vocab->count || !vocab->entries[id].exists) return NULL;
    *length = vocab->entries[id].length;
    return vocab->bytes.bytes + vocab->entries[id].offset;
}
