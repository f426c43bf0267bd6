/* Checking and measuring a finished automaton.
 *
 * Costs are the least bytes from a state to the end of its rule: a fixpoint from the ends
 * backwards. A state without a finite cost leads nowhere and is never entered when matching, so
 * whatever a matcher has accepted can be completed. The calls that completing takes are measured in
 * the same way, so that this also holds when depth is limited. */
#include <stdlib.h>
#include <string.h>

#include "grammar/automaton.h"

/* Edges looked at while measuring: half a second. */
#define VISITS_MAX 200000000u

static uint32_t add_costs(uint32_t x, uint32_t y)
{
    uint64_t sum = (uint64_t)x + y;
    return x == UINT32_MAX || y == UINT32_MAX || sum >= UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

/* What an edge takes by itself: bytes, and calls within its call (UINT16_MAX: unknown yet). */
static void measure_edge(const sluice_automaton *a, const sluice_edge *edge, uint32_t *cost,
                         uint32_t *calls)
{
    *cost = *calls = 0;
    if (edge->kind == SLUICE_EDGE_BYTES) *cost = 1;
    if (edge->kind == SLUICE_EDGE_TAG) *cost = *calls = UINT32_MAX; /* its bytes are beside it */
    if (edge->kind == SLUICE_EDGE_CALL) {
        const sluice_state_node *start = &a->states[a->rules[edge->value].start];
        *cost = start->cost;
        *calls = start->cost == UINT32_MAX ? UINT32_MAX : start->calls + 1u;
    }
}

/* One round, backwards as suits how automata are built, or forwards; whether something changed. */
static bool relax(sluice_automaton *a, bool forwards)
{
    bool changed = false;
    for (uint32_t i = 0; i < a->state_count; i++) {
        uint32_t s = forwards ? i : a->state_count - 1 - i;
        sluice_state_node *state = &a->states[s];
        for (uint32_t e = state->edges; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            const sluice_state_node *to = &a->states[a->edges[e].target];
            uint32_t cost, calls;
            measure_edge(a, &a->edges[e], &cost, &calls);
            if (to->cost == UINT32_MAX || cost == UINT32_MAX) continue;
            cost = add_costs(cost, to->cost);
            if (calls < to->calls) calls = to->calls;
            if (calls >= UINT16_MAX) continue;
            bool is_new = state->cost == UINT32_MAX;
            if (cost < state->cost) {
                state->cost = cost;
                changed = true;
            }
            if (is_new || calls < state->calls) {
                state->calls = (uint16_t)calls;
                changed = true;
            }
        }
    }
    return changed;
}

/* False: rules call each other in so bad an order that measuring would take too long. */
static bool measure(sluice_automaton *a)
{
    for (uint32_t s = 0; s < a->state_count; s++) {
        sluice_state_node *state = &a->states[s];
        state->cost = state->end ? 0 : UINT32_MAX;
        state->calls = 0;
        state->takes = false;
        for (uint32_t e = state->edges; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            state->takes |=
                a->edges[e].kind == SLUICE_EDGE_BYTES || a->edges[e].kind == SLUICE_EDGE_TAG;
        }
    }
    uint64_t visited = 0;
    for (uint32_t round = 0; relax(a, round % 2 == 1); round++) {
        visited += a->edge_count + a->state_count;
        if (visited > VISITS_MAX) return false;
    }
    a->cost_max = 0;
    for (uint32_t s = 0; s < a->state_count; s++) {
        uint32_t cost = a->states[s].cost;
        if (cost != UINT32_MAX && cost > a->cost_max) a->cost_max = cost;
    }
    return true;
}

/* A call is a tail if its target ends its rule and does nothing else, perhaps behind empty edges.
 * Circles of empty edges cannot be: each has one edge only, and the end has none. */
static bool only_ends(const sluice_automaton *a, uint32_t s)
{
    for (uint32_t steps = 0; steps < 64; steps++) {
        const sluice_state_node *state = &a->states[s];
        if (state->edges == SLUICE_NO_EDGE) return state->end;
        const sluice_edge *edge = &a->edges[state->edges];
        if (state->end || edge->kind != SLUICE_EDGE_EMPTY || edge->next != SLUICE_NO_EDGE) {
            return false;
        }
        s = edge->target;
    }
    return false;
}

static void mark_tails(sluice_automaton *a)
{
    for (uint32_t e = 0; e < a->edge_count; e++) {
        if (a->edges[e].kind == SLUICE_EDGE_CALL)
            a->edges[e].tail = only_ends(a, a->edges[e].target);
    }
}

/* Looks for a rule that can call itself before it has taken anything: a depth-first search over
 * rules, along the states that a rule reaches without taking a byte. */
typedef struct search {
    const sluice_automaton *a;
    uint32_t *seen_by; /* [states]: the rule plus one whose reach last came here */
    uint8_t *color;    /* [rules]: 0 new, 1 on the path, 2 done */
    uint32_t *path;    /* [rules]: the rules on the path */
    uint32_t *callees; /* what is left to visit, of all rules on the path */
    size_t *left;      /* [rules]: where the callees of a rule on the path begin */
    uint32_t *todo;    /* [states] */
    size_t callee_count, callees_max;
} search;

/* Appends the rules that rule calls before it takes anything. */
static void find_callees(search *s, uint32_t rule)
{
    const sluice_automaton *a = s->a;
    uint32_t count = 0;
    s->todo[count++] = a->rules[rule].start;
    s->seen_by[a->rules[rule].start] = rule + 1;
    while (count) {
        const sluice_state_node *state = &a->states[s->todo[--count]];
        for (uint32_t e = state->edges; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            const sluice_edge *edge = &a->edges[e];
            bool passes = edge->kind == SLUICE_EDGE_EMPTY;
            if (edge->kind == SLUICE_EDGE_CALL) {
                if (s->callee_count < s->callees_max) {
                    s->callees[s->callee_count++] = edge->value;
                }
                passes = a->states[a->rules[edge->value].start].cost == 0;
            }
            if (!passes || s->seen_by[edge->target] == rule + 1) continue;
            s->seen_by[edge->target] = rule + 1;
            s->todo[count++] = edge->target;
        }
    }
}

/* The rule that calls itself, or SLUICE_NO_STATE. */
static uint32_t find_left_recursion(search *s)
{
    for (uint32_t r = 0; r < s->a->rule_count; r++) {
        if (s->color[r]) continue;
        uint32_t depth = 0;
        s->callee_count = 0;
        s->callees[s->callee_count++] = r;
        s->left[0] = 0;
        while (depth > 0 || s->callee_count > 0) {
            if (depth > 0 && s->callee_count == s->left[depth]) {
                s->color[s->path[--depth]] = 2;
                continue;
            }
            uint32_t callee = s->callees[--s->callee_count];
            if (s->color[callee] == 1) return callee;
            if (s->color[callee] == 2) continue;
            s->color[callee] = 1;
            s->path[depth++] = callee;
            s->left[depth] = s->callee_count;
            find_callees(s, callee);
        }
    }
    return SLUICE_NO_STATE;
}

static const char *name_of(const sluice_automaton *a, uint32_t rule)
{
    const char *name = a->rules[rule].name;
    return name ? name : "a repeated part";
}

static sluice_status check_left_recursion(const sluice_automaton *a, const char *what,
                                          sluice_error *err)
{
    size_t states = a->state_count, rules = (size_t)a->rule_count + 1;
    /* Each call's edge is listed at most once for each rule on the path that reaches it; rules
     * share no states but those of repeated parts, which are rules of their own, so twice is
     * enough. */
    size_t callees = 2 * (size_t)a->edge_count + rules;
    uint32_t *block = calloc(2 * states + rules + callees, sizeof *block);
    size_t *left = calloc(rules, sizeof *left);
    uint8_t *color = calloc(rules, 1);
    if (!block || !left || !color) {
        free(block);
        free(left);
        free(color);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to check %s", what);
    }
    search s = {.a = a, .seen_by = block, .todo = block + states, .color = color, .left = left};
    s.path = s.todo + states;
    s.callees = s.path + rules;
    s.callees_max = callees;
    uint32_t rule = find_left_recursion(&s);
    free(block);
    free(left);
    free(color);
    if (rule == SLUICE_NO_STATE) return SLUICE_OK;
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: %s calls itself before it has taken anything (left recursion): let it "
                       "begin with something else",
                       what, name_of(a, rule));
}

static sluice_status check_measures(const sluice_automaton *a, const char *what, sluice_error *err)
{
    /* The root is the first rule, and the least telling name. */
    for (uint32_t r = a->rule_count; r-- > 0;) {
        if (a->states[a->rules[r].start].cost != UINT32_MAX) continue;
        if (!a->rules[r].name && r != a->root) continue;
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: %s can never end", what, name_of(a, r));
    }
    for (uint32_t s = 0; s < a->state_count; s++) {
        if (a->states[s].cost == UINT32_MAX || a->states[s].calls <= SLUICE_CALLS_NEEDED_MAX) {
            continue;
        }
        return sluice_fail(err, SLUICE_LIMIT, "%s asks for nesting deeper than %d", what,
                           SLUICE_CALLS_NEEDED_MAX);
    }
    return SLUICE_OK;
}

static void find_classes(sluice_automaton *a)
{
    bool begins[257] = {true};
    for (uint32_t e = 0; e < a->edge_count; e++) {
        if (a->edges[e].kind != SLUICE_EDGE_BYTES) continue;
        begins[a->edges[e].low] = true;
        begins[a->edges[e].high + 1] = true;
    }
    a->class_count = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (begins[byte]) a->byte_of[a->class_count++] = (uint8_t)byte;
        a->class_of[byte] = (uint8_t)(a->class_count - 1);
    }
}

sluice_status sluice_automaton_finish(sluice_automaton *a, uint32_t root, const char *what,
                                      sluice_error *err)
{
    if (a->failed == SLUICE_NO_MEMORY) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to compile %s", what);
    }
    if (a->failed != SLUICE_OK) {
        return sluice_fail(err, a->failed,
                           "%s is too large: it needs more than a million states or two million "
                           "edges (large repetition counts multiply)",
                           what);
    }
    a->root = root;
    for (uint32_t r = 0; r < a->rule_count; r++)
        a->states[a->rules[r].end].end = true;
    if (!measure(a)) {
        return sluice_fail(err, SLUICE_LIMIT, "%s is too large and too deeply nested", what);
    }
    SLUICE_TRY(check_measures(a, what, err));
    SLUICE_TRY(check_left_recursion(a, what, err));
    mark_tails(a);
    find_classes(a);
    return SLUICE_OK;
}
