/* The insides of a grammar, for the files of this room. */
#ifndef SLUICE_GRAMMAR_GRAMMAR_H
#define SLUICE_GRAMMAR_GRAMMAR_H

#include "grammar/automaton.h"
#include "sluice/grammar.h"

struct sluice_grammar {
    sluice_automaton automaton;
};

#endif
