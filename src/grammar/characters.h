/* Sets of characters (Unicode scalar values) and the edges that take one of them as UTF-8. */
#ifndef SLUICE_GRAMMAR_CHARACTERS_H
#define SLUICE_GRAMMAR_CHARACTERS_H

#include "grammar/automaton.h"

#define SLUICE_CHARACTER_MAX 0x10FFFFu

typedef struct sluice_range {
    uint32_t low, high;
} sluice_range;

/* Zero-initialise. Add in any order, then normalise; surrogates are left out by then. */
typedef struct sluice_characters {
    sluice_range *ranges;
    size_t count, capacity;
    bool failed; /* no memory */
} sluice_characters;

void sluice_characters_add(sluice_characters *set, uint32_t low, uint32_t high);
/* Sorted, apart, without surrogates; its complement if negated. */
void sluice_characters_normalise(sluice_characters *set, bool negated);
/* Takes a character out of a normalised set; whether it was in it. */
bool sluice_characters_remove(sluice_characters *set, uint32_t character);
void sluice_characters_free(sluice_characters *set);

/* Edges for one character of a normalised set, between two states. An empty set gives none. */
void sluice_characters_build(sluice_automaton *a, uint32_t from, const sluice_characters *set,
                             uint32_t to);
/* The same for one range without surrogates. */
void sluice_characters_build_range(sluice_automaton *a, uint32_t from, uint32_t low, uint32_t high,
                                   uint32_t to);

#endif
