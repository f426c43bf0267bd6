/* JSON as such: any value, object, array, string or number, and the white space between. */
#ifndef SLUICE_GRAMMAR_JSON_RULES_H
#define SLUICE_GRAMMAR_JSON_RULES_H

#include "grammar/text_form.h"
#include "sluice/grammar.h"

/* Rules that are built when they are first asked for. Set the first three members only. */
typedef struct sluice_json_rules {
    sluice_automaton *a;
    sluice_json_space space;
    bool in_call;   /* strings may not hold what ends a parameter */
    uint32_t built; /* bits of what follows */
    uint32_t value, object, array, string, number, integer, comma, colon, edge;
} sluice_json_rules;

uint32_t sluice_json_rules_value(sluice_json_rules *json);
uint32_t sluice_json_rules_object(sluice_json_rules *json);
uint32_t sluice_json_rules_array(sluice_json_rules *json);
uint32_t sluice_json_rules_string(sluice_json_rules *json);
/* At most 15 digits before the point and 15 behind it, an exponent of at most two: what every
 * reader of JSON can hold, and no endless digits. */
uint32_t sluice_json_rules_number(sluice_json_rules *json);
uint32_t sluice_json_rules_integer(sluice_json_rules *json); /* at most 18 digits */

/* A comma or colon with the space behind it; the space within brackets. */
uint32_t sluice_json_build_comma(sluice_json_rules *json, uint32_t from);
uint32_t sluice_json_build_colon(sluice_json_rules *json, uint32_t from);
uint32_t sluice_json_build_edge(sluice_json_rules *json, uint32_t from);

/* Digits, between min and max of them. */
uint32_t sluice_json_build_digits(sluice_automaton *a, uint32_t from, uint32_t min, uint32_t max);

#endif
