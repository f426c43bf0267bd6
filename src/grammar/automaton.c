/* Building an automaton: see automaton.h. */
#include "grammar/automaton.h"

#include <stdlib.h>
#include <string.h>

/* 2^20 edges of 16 bytes: a schema of 1 MiB stays far below. */
#define STATES_MAX (1u << 20)
#define EDGES_MAX (1u << 21)
#define RULES_MAX (1u << 18)
#define TAGS_MAX 256u

void sluice_automaton_free(sluice_automaton *a)
{
    if (!a) return;
    for (uint32_t i = 0; i < a->rule_count; i++)
        free(a->rules[i].name);
    for (uint32_t i = 0; i < a->tag_count; i++)
        free(a->tags[i]);
    free(a->states);
    free(a->edges);
    free(a->rules);
    free(a->tags);
    *a = (sluice_automaton){0};
}

/* Room for one more of an array; false: there is none, which is noted. */
static bool grow(sluice_automaton *a, void **array, uint32_t count, uint32_t *capacity, size_t size,
                 uint32_t max)
{
    if (a->failed != SLUICE_OK) return false;
    if (count < *capacity) return true;
    if (count >= max) {
        a->failed = SLUICE_LIMIT;
        return false;
    }
    uint32_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*array, wanted * size);
    if (!grown) {
        a->failed = SLUICE_NO_MEMORY;
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

/* After a failure there may be no state at all; 0 then only goes into calls that do nothing. */
uint32_t sluice_automaton_state(sluice_automaton *a)
{
    void *states = a->states;
    bool room = grow(a, &states, a->state_count, &a->state_capacity, sizeof *a->states, STATES_MAX);
    a->states = states;
    if (!room) return 0;
    a->states[a->state_count] = (sluice_state_node){.edges = SLUICE_NO_EDGE};
    return a->state_count++;
}

static void add_edge(sluice_automaton *a, uint32_t from, sluice_edge edge)
{
    void *edges = a->edges;
    bool room = grow(a, &edges, a->edge_count, &a->edge_capacity, sizeof *a->edges, EDGES_MAX);
    a->edges = edges;
    if (!room) return;
    edge.next = a->states[from].edges;
    a->edges[a->edge_count] = edge;
    a->states[from].edges = a->edge_count++;
}

void sluice_automaton_empty(sluice_automaton *a, uint32_t from, uint32_t to)
{
    if (from != to) add_edge(a, from, (sluice_edge){.kind = SLUICE_EDGE_EMPTY, .target = to});
}

void sluice_automaton_bytes(sluice_automaton *a, uint32_t from, unsigned low, unsigned high,
                            uint32_t to)
{
    add_edge(
        a, from,
        (sluice_edge){
            .kind = SLUICE_EDGE_BYTES, .low = (uint8_t)low, .high = (uint8_t)high, .target = to});
}

uint32_t sluice_automaton_rule(sluice_automaton *a, const char *name, uint32_t start, uint32_t end)
{
    void *rules = a->rules;
    bool room = grow(a, &rules, a->rule_count, &a->rule_capacity, sizeof *a->rules, RULES_MAX);
    a->rules = rules;
    if (!room) return 0;
    char *copy = name ? strdup(name) : NULL;
    if (name && !copy) a->failed = SLUICE_NO_MEMORY;
    a->rules[a->rule_count] = (sluice_rule){copy, start, end};
    return a->rule_count++;
}

uint32_t sluice_build_literal(sluice_automaton *a, uint32_t from, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint32_t to = sluice_automaton_state(a);
        sluice_automaton_bytes(a, from, (uint8_t)bytes[i], (uint8_t)bytes[i], to);
        from = to;
    }
    return from;
}

uint32_t sluice_build_text(sluice_automaton *a, uint32_t from, const char *text)
{
    return sluice_build_literal(a, from, text, strlen(text));
}

uint32_t sluice_build_call(sluice_automaton *a, uint32_t from, uint32_t rule)
{
    uint32_t to = sluice_automaton_state(a);
    add_edge(a, from, (sluice_edge){.kind = SLUICE_EDGE_CALL, .value = rule, .target = to});
    return to;
}

static uint32_t find_tag(sluice_automaton *a, const char *content, size_t length)
{
    for (uint32_t i = 0; i < a->tag_count; i++) {
        if (strlen(a->tags[i]) == length && memcmp(a->tags[i], content, length) == 0) return i;
    }
    void *tags = a->tags;
    bool room = grow(a, &tags, a->tag_count, &a->tag_capacity, sizeof *a->tags, TAGS_MAX);
    a->tags = tags;
    if (!room) return 0;
    a->tags[a->tag_count] = strndup(content, length);
    if (!a->tags[a->tag_count]) {
        a->failed = SLUICE_NO_MEMORY;
        return 0;
    }
    return a->tag_count++;
}

void sluice_automaton_tag(sluice_automaton *a, uint32_t from, const char *content, size_t length,
                          uint32_t to)
{
    uint32_t tag = find_tag(a, content, length);
    add_edge(a, from, (sluice_edge){.kind = SLUICE_EDGE_TAG, .value = tag, .target = to});
}

uint32_t sluice_build_tag(sluice_automaton *a, uint32_t from, const char *content, size_t length)
{
    uint32_t to = sluice_build_literal(a, from, content, length);
    sluice_automaton_tag(a, from, content, length, to);
    return to;
}

uint32_t sluice_build_repeat(sluice_automaton *a, uint32_t from, uint32_t rule, uint32_t min,
                             uint32_t max)
{
    for (uint32_t i = 0; i < min && a->failed == SLUICE_OK; i++)
        from = sluice_build_call(a, from, rule);
    if (max == UINT32_MAX) {
        uint32_t loop = sluice_automaton_state(a);
        sluice_automaton_empty(a, from, loop);
        sluice_automaton_empty(a, sluice_build_call(a, loop, rule), loop);
        return loop;
    }
    /* Each may be the last: all lead to the same end, so that few states are alive at once. */
    uint32_t end = sluice_automaton_state(a);
    for (uint32_t i = min; i < max && a->failed == SLUICE_OK; i++) {
        sluice_automaton_empty(a, from, end);
        from = sluice_build_call(a, from, rule);
    }
    sluice_automaton_empty(a, from, end);
    return end;
}

uint32_t sluice_build_repeat_element(sluice_automaton *a, uint32_t from, uint32_t start,
                                     uint32_t end, uint32_t min, uint32_t max)
{
    if (min == 1 && max == 1) {
        sluice_automaton_empty(a, from, start);
        return end;
    }
    if (min > 1 || (max > 1 && max != UINT32_MAX)) {
        return sluice_build_repeat(a, from, sluice_automaton_rule(a, NULL, start, end), min, max);
    }
    uint32_t behind = sluice_automaton_state(a);
    if (max == 0) {
        sluice_automaton_empty(a, from, behind);
        return behind;
    }
    sluice_automaton_empty(a, from, start);
    sluice_automaton_empty(a, end, behind);
    if (min == 0) sluice_automaton_empty(a, from, behind);
    if (max == UINT32_MAX) sluice_automaton_empty(a, end, start);
    return behind;
}
