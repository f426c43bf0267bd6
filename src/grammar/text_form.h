/* How characters of a string are written: within the quotes of JSON, or as they are, as in a
 * parameter of a tool call. */
#ifndef SLUICE_GRAMMAR_TEXT_FORM_H
#define SLUICE_GRAMMAR_TEXT_FORM_H

#include "grammar/characters.h"

/* What ends the value of a parameter, and so may not stand in one. */
#define SLUICE_PARAMETER_END "</parameter>"

typedef struct sluice_text_form {
    bool quoted;  /* in JSON, with escapes */
    bool in_call; /* SLUICE_PARAMETER_END may not come */
} sluice_text_form;

/* Edges for one character of a normalised set, which is used up. In a call '<' is left out, so that
 * no tag can begin; false if nothing is left. */
bool sluice_text_form_build(sluice_automaton *a, sluice_text_form form, uint32_t from,
                            sluice_characters *set, uint32_t to);

/* Any text that the form can hold, as often as it likes: returns the state that loops, from which
 * the end of the text may come. */
uint32_t sluice_text_form_any(sluice_automaton *a, sluice_text_form form, uint32_t from);

#endif
