/* Regular expressions, as JSON schemas use them: the subset that is regular indeed. */
#ifndef SLUICE_GRAMMAR_REGEX_H
#define SLUICE_GRAMMAR_REGEX_H

#include "grammar/text_form.h"

/* Builds what the pattern describes, written in a form; *to receives the state behind. As in JSON
 * schema a pattern may match anywhere in the text unless it is anchored. place begins the sentence
 * of an error. SLUICE_UNSUPPORTED names what is beyond the subset. */
sluice_status sluice_regex_build(sluice_automaton *a, sluice_text_form form, uint32_t from,
                                 const char *pattern, size_t length, const char *place,
                                 uint32_t *to, sluice_error *err);

#endif
