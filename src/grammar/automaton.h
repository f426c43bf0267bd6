/* A grammar as a pushdown automaton over bytes: what every notation is compiled to.
 *
 * States are joined by edges; an edge takes a byte of a range, takes nothing, calls a rule and goes
 * on behind it, or takes a tag: a token of the tokenizer as a whole (its bytes one by one are a
 * path beside it). A rule is a state to start from and a state to end in; states belong to no rule,
 * so that what was built in place can become a rule afterwards, for repetition.
 *
 * Builders take the state to go on from and return the state behind what they built. The first
 * failure (memory, size) sticks, and later calls do nothing of use: sluice_automaton_finish reports
 * it. */
#ifndef SLUICE_GRAMMAR_AUTOMATON_H
#define SLUICE_GRAMMAR_AUTOMATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_NO_STATE UINT32_MAX
#define SLUICE_NO_EDGE UINT32_MAX

/* Calls within calls at most, in whatever is matched. JSON takes at least one a level and other
 * readers of it, this library's included, refuse more than 256 levels. */
#define SLUICE_CALLS_MAX 240
/* Calls within calls that a grammar may ask for before anything of it can end. */
#define SLUICE_CALLS_NEEDED_MAX (SLUICE_CALLS_MAX / 4)

typedef enum sluice_edge_kind {
    SLUICE_EDGE_EMPTY,
    SLUICE_EDGE_BYTES, /* low..high */
    SLUICE_EDGE_CALL,  /* value: rule */
    SLUICE_EDGE_TAG    /* value: tag */
} sluice_edge_kind;

typedef struct sluice_edge {
    uint8_t kind, low, high;
    bool tail; /* of a call: nothing comes behind it, so that no return is kept */
    uint32_t value;
    uint32_t target;
    uint32_t next; /* of the same state */
} sluice_edge;

typedef struct sluice_state_node {
    uint32_t edges; /* the first, or SLUICE_NO_EDGE */
    uint32_t cost;  /* bytes to the end of the rule at least; UINT32_MAX: there is no way */
    uint16_t calls; /* calls within calls that the way with the fewest takes */
    bool end;       /* of a rule */
    bool takes;     /* has an edge that takes a byte or a tag */
} sluice_state_node;

typedef struct sluice_rule {
    char *name; /* for errors; NULL: none */
    uint32_t start, end;
} sluice_rule;

typedef struct sluice_automaton {
    sluice_state_node *states;
    sluice_edge *edges;
    sluice_rule *rules;
    char **tags; /* their contents */
    uint32_t state_count, edge_count, rule_count, tag_count;
    uint32_t state_capacity, edge_capacity, rule_capacity, tag_capacity;
    sluice_status failed; /* SLUICE_OK until something fails */
    uint32_t root;        /* rule */
    uint32_t cost_max;    /* the largest finite cost of a state */
    /* Bytes that no edge tells apart share a class; filled by sluice_automaton_finish. */
    uint8_t class_of[256], byte_of[256];
    uint32_t class_count;
} sluice_automaton;

void sluice_automaton_free(sluice_automaton *automaton);

uint32_t sluice_automaton_state(sluice_automaton *a);
void sluice_automaton_empty(sluice_automaton *a, uint32_t from, uint32_t to);
void sluice_automaton_bytes(sluice_automaton *a, uint32_t from, unsigned low, unsigned high,
                            uint32_t to);
/* A tag as a token; its bytes must be a path from one state to the other beside it. */
void sluice_automaton_tag(sluice_automaton *a, uint32_t from, const char *content, size_t length,
                          uint32_t to);
/* The end state may be SLUICE_NO_STATE at first; name is copied and may be NULL. */
uint32_t sluice_automaton_rule(sluice_automaton *a, const char *name, uint32_t start, uint32_t end);

/* Builders: each returns the state behind. */
uint32_t sluice_build_literal(sluice_automaton *a, uint32_t from, const char *bytes, size_t length);
uint32_t sluice_build_text(sluice_automaton *a, uint32_t from, const char *text);
uint32_t sluice_build_call(sluice_automaton *a, uint32_t from, uint32_t rule);
/* A tag such as "<tool_call>", as a token or as text. */
uint32_t sluice_build_tag(sluice_automaton *a, uint32_t from, const char *content, size_t length);
/* The rule from min to max times; max UINT32_MAX: no limit. */
uint32_t sluice_build_repeat(sluice_automaton *a, uint32_t from, uint32_t rule, uint32_t min,
                             uint32_t max);
/* The element between two states, which nothing leads to yet, from min to max times. */
uint32_t sluice_build_repeat_element(sluice_automaton *a, uint32_t from, uint32_t start,
                                     uint32_t end, uint32_t min, uint32_t max);

/* Checks and measures the whole: every rule must be able to end, none may call itself before it has
 * taken anything, and the first failure of the building is reported. what names the grammar in
 * errors: "the schema". */
sluice_status sluice_automaton_finish(sluice_automaton *a, uint32_t root, const char *what,
                                      sluice_error *err);

#endif
