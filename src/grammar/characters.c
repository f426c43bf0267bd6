/* Sets of characters: see characters.h. */
#include "grammar/characters.h"

#include <stdlib.h>

#include "tokenizer/utf8.h"

#define SURROGATES_LOW 0xD800u
#define SURROGATES_HIGH 0xDFFFu

void sluice_characters_free(sluice_characters *set)
{
    free(set->ranges);
    *set = (sluice_characters){0};
}

void sluice_characters_add(sluice_characters *set, uint32_t low, uint32_t high)
{
    if (high > SLUICE_CHARACTER_MAX) high = SLUICE_CHARACTER_MAX;
    if (low > high || set->failed) return;
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 8;
        sluice_range *ranges = realloc(set->ranges, capacity * sizeof *ranges);
        if (!ranges) {
            set->failed = true;
            return;
        }
        set->ranges = ranges;
        set->capacity = capacity;
    }
    set->ranges[set->count++] = (sluice_range){low, high};
}

static int by_low(const void *a, const void *b)
{
    const sluice_range *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* Sorts, and joins what touches. */
static void join(sluice_characters *set)
{
    size_t count = 0;
    if (set->count > 1) qsort(set->ranges, set->count, sizeof *set->ranges, by_low);
    for (size_t i = 0; i < set->count; i++) {
        sluice_range range = set->ranges[i];
        if (count && range.low <= set->ranges[count - 1].high + 1) {
            if (range.high > set->ranges[count - 1].high) set->ranges[count - 1].high = range.high;
        } else {
            set->ranges[count++] = range;
        }
    }
    set->count = count;
}

/* What a joined set lacks. */
static void invert(sluice_characters *set)
{
    sluice_characters out = {.failed = set->failed};
    uint32_t next = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->ranges[i].low > next) sluice_characters_add(&out, next, set->ranges[i].low - 1);
        next = set->ranges[i].high + 1;
    }
    sluice_characters_add(&out, next, SLUICE_CHARACTER_MAX);
    sluice_characters_free(set);
    *set = out;
}

void sluice_characters_normalise(sluice_characters *set, bool negated)
{
    join(set);
    if (!negated) invert(set);
    /* A joined set that lacks surrogates is one whose complement has them. */
    sluice_characters_add(set, SURROGATES_LOW, SURROGATES_HIGH);
    join(set);
    invert(set);
}

bool sluice_characters_remove(sluice_characters *set, uint32_t character)
{
    for (size_t i = 0; i < set->count; i++) {
        sluice_range range = set->ranges[i];
        if (character < range.low || character > range.high) continue;
        set->ranges[i] = set->ranges[--set->count];
        if (character > range.low) sluice_characters_add(set, range.low, character - 1);
        if (character < range.high) sluice_characters_add(set, character + 1, range.high);
        join(set);
        return true;
    }
    return false;
}

/* Characters low..high whose UTF-8 has the same number of bytes: equal leading bytes are shared,
 * and the rest is cut where all trailing bytes are full. */
static void build_bytes(sluice_automaton *a, uint32_t from, const unsigned char *low,
                        const unsigned char *high, size_t length, uint32_t to)
{
    if (length == 1) {
        sluice_automaton_bytes(a, from, low[0], high[0], to);
        return;
    }
    unsigned char bound[4];
    if (low[0] == high[0]) {
        uint32_t next = sluice_automaton_state(a);
        sluice_automaton_bytes(a, from, low[0], low[0], next);
        build_bytes(a, next, low + 1, high + 1, length - 1, to);
        return;
    }
    unsigned first = low[0], last = high[0];
    bool low_full = true, high_full = true;
    for (size_t i = 1; i < length; i++) {
        low_full &= low[i] == 0x80;
        high_full &= high[i] == 0xBF;
    }
    if (!low_full) {
        bound[0] = low[0];
        for (size_t i = 1; i < length; i++)
            bound[i] = 0xBF;
        build_bytes(a, from, low, bound, length, to);
        first++;
    }
    if (!high_full) {
        bound[0] = high[0];
        for (size_t i = 1; i < length; i++)
            bound[i] = 0x80;
        build_bytes(a, from, bound, high, length, to);
        last--;
    }
    if (first > last) return;
    uint32_t state = sluice_automaton_state(a);
    sluice_automaton_bytes(a, from, first, last, state);
    for (size_t i = 2; i < length; i++) {
        uint32_t next = sluice_automaton_state(a);
        sluice_automaton_bytes(a, state, 0x80, 0xBF, next);
        state = next;
    }
    sluice_automaton_bytes(a, state, 0x80, 0xBF, to);
}

void sluice_characters_build_range(sluice_automaton *a, uint32_t from, uint32_t low, uint32_t high,
                                   uint32_t to)
{
    static const uint32_t last_of_length[] = {0x7F, 0x7FF, 0xFFFF, SLUICE_CHARACTER_MAX};
    for (size_t i = 0; i < 4 && low <= high; i++) {
        if (low > last_of_length[i]) continue;
        uint32_t last = high < last_of_length[i] ? high : last_of_length[i];
        char first_bytes[4], last_bytes[4];
        size_t length = sluice_utf8_encode(low, first_bytes);
        sluice_utf8_encode(last, last_bytes);
        build_bytes(a, from, (const unsigned char *)first_bytes, (const unsigned char *)last_bytes,
                    length, to);
        low = last + 1;
    }
}

void sluice_characters_build(sluice_automaton *a, uint32_t from, const sluice_characters *set,
                             uint32_t to)
{
    if (set->failed) a->failed = SLUICE_NO_MEMORY;
    for (size_t i = 0; i < set->count; i++) {
        sluice_range range = set->ranges[i];
        sluice_characters_build_range(a, from, range.low, range.high, to);
    }
}
