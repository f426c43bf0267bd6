/* What an automaton may be in the middle of, one byte after the other.
 *
 * A configuration is a state and a stack of states to return to; all configurations that the bytes
 * so far lead to are a set. Stacks share their tails and equal ones are the same, and so are sets,
 * so a set is a small number, equal numbers mean equal futures, and where a byte leads is looked
 * up after the first time. In practice this is a finite automaton that is made as it is needed.
 *
 * Only configurations that can be completed are kept (see automaton_finish.c). What is made is kept
 * until sluice_machine_collect throws away all but the sets it is given. Not thread-safe. */
#ifndef SLUICE_GRAMMAR_MACHINE_H
#define SLUICE_GRAMMAR_MACHINE_H

#include "grammar/automaton.h"

#define SLUICE_STACK_EMPTY 0u  /* behind the root rule */
#define SLUICE_STACK_BOTTOM 1u /* behind the rule that a local set is in: unknown */
#define SLUICE_SET_DEAD 0u     /* no configuration: the bytes are not in the grammar */
#define SLUICE_SET_UNKNOWN UINT32_MAX

typedef struct sluice_stack {
    uint32_t state, below; /* to return to, and the stack then */
    uint32_t depth;
    uint32_t cost; /* bytes that completing all of it takes at least */
} sluice_stack;

typedef struct sluice_config {
    uint32_t stack, state;
} sluice_config;

typedef struct sluice_set {
    uint32_t first, count; /* configurations, by stack and state */
    uint32_t hash;
    uint32_t cost;  /* bytes to an end at least */
    bool complete;  /* the end is here */
    bool escapes;   /* the rule at the bottom may end here */
    bool knows_own; /* own is filled in */
    uint32_t own;   /* kinds of bytes (token_trie.h) that all lead back to this very set */
} sluice_set;

typedef struct sluice_table {
    uint32_t *slots; /* index plus one; 0: free */
    uint32_t capacity, used;
} sluice_table;

typedef struct sluice_machine {
    const sluice_automaton *automaton;
    sluice_stack *stacks;
    sluice_set *sets;
    sluice_config *configs;
    uint32_t *next; /* [sets, class_count] */
    uint32_t stack_count, set_count, config_count;
    uint32_t stack_capacity, set_capacity, config_capacity;
    sluice_table stack_table, set_table;
    /* The set being made. */
    sluice_config *made, *todo;
    uint32_t made_count, made_capacity, todo_count, todo_capacity;
    sluice_table made_table;
    bool made_complete, made_escapes;
    sluice_status failed; /* sticks: SLUICE_NO_MEMORY, or SLUICE_LIMIT for too many sets */
} sluice_machine;

/* The automaton must outlive it. */
sluice_status sluice_machine_init(sluice_machine *machine, const sluice_automaton *automaton,
                                  sluice_error *err);
void sluice_machine_free(sluice_machine *machine);
sluice_status sluice_machine_check(const sluice_machine *machine, sluice_error *err);

/* The set at the beginning. All these return SLUICE_SET_DEAD after a failure. */
uint32_t sluice_machine_start(sluice_machine *machine);
/* Where the bytes of a class lead. */
uint32_t sluice_machine_compute(sluice_machine *machine, uint32_t set, uint32_t class);
/* Where a tag as a token leads. */
uint32_t sluice_machine_take_tag(sluice_machine *machine, uint32_t set, uint32_t tag);
/* The set of configurations [first, first + count), which are of one stack, put on the unknown
 * bottom. */
uint32_t sluice_machine_local(sluice_machine *machine, uint32_t first, uint32_t count);

/* The kinds of bytes that lead back to the set. */
uint32_t sluice_machine_own(sluice_machine *machine, uint32_t set);

/* Bytes in use; and a machine anew with only the given sets, which are renumbered. */
size_t sluice_machine_bytes(const sluice_machine *machine);
sluice_status sluice_machine_collect(sluice_machine *machine, uint32_t *const *sets, size_t count,
                                     sluice_error *err);

static inline uint32_t sluice_machine_next(sluice_machine *machine, uint32_t set, uint8_t byte)
{
    const sluice_automaton *a = machine->automaton;
    uint32_t class = a->class_of[byte];
    uint32_t to = machine->next[(size_t)set * a->class_count + class];
    return to != SLUICE_SET_UNKNOWN ? to : sluice_machine_compute(machine, set, class);
}

#endif
