/* Fuzzes the compilers of grammars, and what they make: the first byte says what the input is
 * (GBNF, a schema, tools, and how), the rest up to a NUL byte is compiled, and what is behind it is
 * matched. What is accepted as a prefix must have an ending: following the masks of a vocabulary of
 * bytes with few tokens left leads to a whole answer. */
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/machine.h"
#include "sluice/grammar.h"

/* Steps that completing may take before the fuzzer gives up on it. */
#define STEPS_MAX 400

/* Takes the byte that brings the end nearest until it is there: costs must fall by one a byte. */
static void complete(sluice_machine *machine, uint32_t set)
{
    const sluice_automaton *a = machine->automaton;
    for (int step = 0; step < STEPS_MAX && machine->sets[set].cost; step++) {
        uint32_t cost = machine->sets[set].cost, best = SLUICE_SET_DEAD;
        for (uint32_t class = 0; class < a->class_count; class ++) {
            uint32_t to = sluice_machine_next(machine, set, a->byte_of[class]);
            if (machine->failed != SLUICE_OK) return;
            if (to != SLUICE_SET_DEAD && machine->sets[to].cost < cost) best = to;
        }
        if (best == SLUICE_SET_DEAD) abort(); /* a dead end */
        set = best;
    }
    if (!machine->sets[set].cost && !machine->sets[set].complete) abort();
}

static void follow(const sluice_grammar *grammar, const uint8_t *text, size_t length)
{
    sluice_machine machine;
    if (sluice_machine_init(&machine, &grammar->automaton, NULL) != SLUICE_OK) return;
    uint32_t set = sluice_machine_start(&machine);
    if (set == SLUICE_SET_DEAD && machine.failed == SLUICE_OK) abort(); /* nothing to say at all */
    for (size_t i = 0; i < length && set != SLUICE_SET_DEAD; i++) {
        uint32_t to = sluice_machine_next(&machine, set, text[i]);
        if (to == SLUICE_SET_DEAD) break;
        set = to;
    }
    if (set != SLUICE_SET_DEAD && machine.failed == SLUICE_OK) complete(&machine, set);
    sluice_machine_free(&machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const uint8_t *source = data + 1;
    const uint8_t *end = memchr(source, 0, size - 1);
    size_t length = end ? (size_t)(end - source) : size - 1;
    unsigned how = data[0];
    sluice_answer answer = {
        .thinking = how & 8, .single_call = how & 16, .space = (sluice_json_space)(how / 32 % 3)};
    bool tools = (how & 3) == 2;
    if (tools) {
        answer.tools = (const char *)source;
        answer.tools_length = length;
        answer.tool_choice = how & 4 ? SLUICE_TOOLS_REQUIRED : SLUICE_TOOLS_AUTO;
    } else {
        answer.content = (how & 3) == 1 ? SLUICE_ANSWER_SCHEMA : SLUICE_ANSWER_GBNF;
        answer.source = (const char *)source;
        answer.source_length = length;
    }
    sluice_grammar *grammar;
    sluice_error err = {0};
    if (sluice_grammar_new(&answer, &grammar, &err) != SLUICE_OK) {
        if (grammar || !err.detail[0]) abort(); /* a failure says why */
        return 0;
    }
    size_t rest = end ? size - length - 2 : 0;
    follow(grammar, end ? end + 1 : NULL, rest);
    sluice_grammar_free(grammar);
    return 0;
}
