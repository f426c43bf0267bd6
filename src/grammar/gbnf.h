/* Grammars in the notation of llama.cpp (GBNF). */
#ifndef SLUICE_GRAMMAR_GBNF_H
#define SLUICE_GRAMMAR_GBNF_H

#include "grammar/automaton.h"

/* Adds the rules of a grammar; *root receives its rule root. Errors name the line. */
sluice_status sluice_gbnf_build(sluice_automaton *a, const char *source, size_t length,
                                uint32_t *root, sluice_error *err);

#endif
