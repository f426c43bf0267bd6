/* Making sets of configurations: see machine.h. */
#include "grammar/machine.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/token_trie.h"

/* A set this large means a grammar that is ambiguous beyond use. */
#define SET_CONFIGS_MAX 16384u
/* Bytes of each kind of thing that is made between two collections. */
#define MACHINE_BYTES_MAX ((size_t)64 << 20)

static uint32_t mix(uint32_t hash, uint32_t value)
{
    uint64_t product = (uint64_t)(hash ^ value) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(product >> 32) ^ (uint32_t)product;
}

static bool fail(sluice_machine *m, sluice_status status)
{
    if (m->failed == SLUICE_OK) m->failed = status;
    return false;
}

static bool reserve(sluice_machine *m, void **array, uint32_t count, uint32_t *capacity,
                    size_t size)
{
    if (count < *capacity) return true;
    if (*capacity >= 1u << 30 || *capacity * 2 * size > MACHINE_BYTES_MAX) {
        return fail(m, SLUICE_LIMIT);
    }
    uint32_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*array, wanted * size);
    if (!grown) return fail(m, SLUICE_NO_MEMORY);
    *array = grown;
    *capacity = wanted;
    return true;
}

/* The slot for a hash: where probing begins. A table is at most half full. */
static bool reserve_slot(sluice_machine *m, sluice_table *table,
                         uint32_t (*hash_of)(const sluice_machine *m, uint32_t index))
{
    if (table->used * 2 < table->capacity) return true;
    uint32_t capacity = table->capacity ? table->capacity * 2 : 256;
    uint32_t *slots = calloc(capacity, sizeof *slots);
    if (!slots) return fail(m, SLUICE_NO_MEMORY);
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (!table->slots[i]) continue;
        uint32_t at = hash_of(m, table->slots[i] - 1) & (capacity - 1);
        while (slots[at])
            at = (at + 1) & (capacity - 1);
        slots[at] = table->slots[i];
    }
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return true;
}

static uint32_t config_hash(sluice_config config)
{
    return mix(mix(17, config.stack), config.state);
}

static uint32_t hash_stack(const sluice_machine *m, uint32_t index)
{
    return mix(mix(1, m->stacks[index].state), m->stacks[index].below);
}

static uint32_t hash_set(const sluice_machine *m, uint32_t index)
{
    return m->sets[index].hash;
}

static uint32_t hash_made(const sluice_machine *m, uint32_t index)
{
    return config_hash(m->made[index]);
}

static uint32_t add_costs(uint32_t x, uint32_t y)
{
    return x > UINT32_MAX - 1 - y ? UINT32_MAX - 1 : x + y;
}

/* The stack with a state on top; SLUICE_STACK_EMPTY after a failure. */
static uint32_t push(sluice_machine *m, uint32_t state, uint32_t below)
{
    if (!reserve_slot(m, &m->stack_table, hash_stack)) return 0;
    uint32_t mask = m->stack_table.capacity - 1;
    uint32_t at = mix(mix(1, state), below) & mask;
    for (; m->stack_table.slots[at]; at = (at + 1) & mask) {
        uint32_t index = m->stack_table.slots[at] - 1;
        if (m->stacks[index].state == state && m->stacks[index].below == below) return index;
    }
    void *stacks = m->stacks;
    bool room = reserve(m, &stacks, m->stack_count, &m->stack_capacity, sizeof *m->stacks);
    m->stacks = stacks;
    if (!room) return 0;
    const sluice_stack *base = &m->stacks[below];
    uint32_t cost = add_costs(base->cost, m->automaton->states[state].cost);
    m->stacks[m->stack_count] = (sluice_stack){state, below, base->depth + 1, cost};
    m->stack_table.slots[at] = ++m->stack_count;
    m->stack_table.used++;
    return m->stack_count - 1;
}

/* Whether a configuration can still be completed within the limit of calls. */
static bool is_useful(const sluice_machine *m, uint32_t state, uint32_t stack)
{
    const sluice_state_node *node = &m->automaton->states[state];
    return node->cost != UINT32_MAX && m->stacks[stack].depth + node->calls <= SLUICE_CALLS_MAX;
}

static void clear_made(sluice_machine *m)
{
    if (m->made_table.capacity > 4096 && m->made_table.used * 16 < m->made_table.capacity) {
        free(m->made_table.slots); /* after one large set, many small ones */
        m->made_table = (sluice_table){0};
    }
    if (m->made_table.used) {
        memset(m->made_table.slots, 0, m->made_table.capacity * sizeof *m->made_table.slots);
    }
    m->made_table.used = m->made_count = m->todo_count = 0;
    m->made_complete = m->made_escapes = false;
}

/* Adds a configuration to the set being made, unless it is there. */
static void add(sluice_machine *m, uint32_t state, uint32_t stack)
{
    sluice_config config = {stack, state};
    if (m->failed != SLUICE_OK || !is_useful(m, state, stack)) return;
    if (!reserve_slot(m, &m->made_table, hash_made)) return;
    uint32_t mask = m->made_table.capacity - 1, at = config_hash(config) & mask;
    for (; m->made_table.slots[at]; at = (at + 1) & mask) {
        sluice_config other = m->made[m->made_table.slots[at] - 1];
        if (other.state == state && other.stack == stack) return;
    }
    if (m->made_count == SET_CONFIGS_MAX) {
        fail(m, SLUICE_LIMIT);
        return;
    }
    void *made = m->made, *todo = m->todo;
    bool room = reserve(m, &made, m->made_count, &m->made_capacity, sizeof *m->made);
    m->made = made;
    room = room && reserve(m, &todo, m->todo_count, &m->todo_capacity, sizeof *m->todo);
    m->todo = todo;
    if (!room) return;
    m->made[m->made_count++] = m->todo[m->todo_count++] = config;
    m->made_table.slots[at] = m->made_count;
    m->made_table.used++;
}

/* Follows everything that takes no byte. */
static void close_made(sluice_machine *m)
{
    const sluice_automaton *a = m->automaton;
    while (m->todo_count && m->failed == SLUICE_OK) {
        sluice_config at = m->todo[--m->todo_count];
        const sluice_state_node *state = &a->states[at.state];
        if (state->end && at.stack == SLUICE_STACK_EMPTY) m->made_complete = true;
        if (state->end && at.stack == SLUICE_STACK_BOTTOM) m->made_escapes = true;
        if (state->end && at.stack > SLUICE_STACK_BOTTOM) {
            add(m, m->stacks[at.stack].state, m->stacks[at.stack].below);
        }
        for (uint32_t e = state->edges; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            const sluice_edge *edge = &a->edges[e];
            if (edge->kind == SLUICE_EDGE_EMPTY) add(m, edge->target, at.stack);
            if (edge->kind != SLUICE_EDGE_CALL) continue;
            uint32_t start = a->rules[edge->value].start, stack = at.stack;
            if (!edge->tail) {
                if (!is_useful(m, edge->target, at.stack)) continue;
                if (m->stacks[at.stack].depth >= SLUICE_CALLS_MAX) continue;
                stack = push(m, edge->target, at.stack);
            }
            add(m, start, stack);
        }
    }
}

static int by_stack(const void *a, const void *b)
{
    const sluice_config *x = a, *y = b;
    if (x->stack != y->stack) return x->stack < y->stack ? -1 : 1;
    return x->state < y->state ? -1 : x->state > y->state;
}

/* Only configurations that take something tell sets apart. Returns the least cost of all. */
static uint32_t reduce_made(sluice_machine *m)
{
    const sluice_automaton *a = m->automaton;
    uint32_t count = 0, cost = m->made_complete || m->made_escapes ? 0 : UINT32_MAX - 1;
    for (uint32_t i = 0; i < m->made_count; i++) {
        sluice_config config = m->made[i];
        if (!a->states[config.state].takes) continue;
        uint32_t own = add_costs(a->states[config.state].cost, m->stacks[config.stack].cost);
        if (own < cost) cost = own;
        m->made[count++] = config;
    }
    m->made_count = count;
    if (count > 1) qsort(m->made, count, sizeof *m->made, by_stack);
    return cost;
}

static bool is_set(const sluice_machine *m, const sluice_set *set, uint32_t hash)
{
    return set->hash == hash && set->count == m->made_count && set->complete == m->made_complete &&
           set->escapes == m->made_escapes &&
           (!set->count ||
            memcmp(m->configs + set->first, m->made, set->count * sizeof *m->made) == 0);
}

/* Room for one more set, its transitions unknown. */
static bool reserve_set(sluice_machine *m)
{
    size_t classes = m->automaton->class_count;
    uint32_t before = m->set_capacity;
    void *sets = m->sets;
    bool room = reserve(m, &sets, m->set_count, &m->set_capacity, sizeof *m->sets);
    m->sets = sets;
    if (!room) return false;
    if (before != m->set_capacity) {
        size_t bytes = m->set_capacity * classes * sizeof *m->next;
        uint32_t *next = bytes <= MACHINE_BYTES_MAX ? realloc(m->next, bytes) : NULL;
        if (!next) {
            m->set_capacity = before;
            return fail(m, bytes <= MACHINE_BYTES_MAX ? SLUICE_NO_MEMORY : SLUICE_LIMIT);
        }
        m->next = next;
    }
    memset(m->next + m->set_count * classes, 0xFF, classes * sizeof *m->next);
    return true;
}

/* The number of the set that was made. */
static uint32_t intern_made(sluice_machine *m)
{
    close_made(m);
    uint32_t cost = reduce_made(m), hash = mix(m->made_complete, m->made_escapes ? 2u : 0u);
    for (uint32_t i = 0; i < m->made_count; i++)
        hash = mix(hash, config_hash(m->made[i]));
    if (m->failed != SLUICE_OK) return SLUICE_SET_DEAD;
    if (!m->made_count && !m->made_complete && !m->made_escapes) return SLUICE_SET_DEAD;
    if (!reserve_slot(m, &m->set_table, hash_set)) return SLUICE_SET_DEAD;
    uint32_t mask = m->set_table.capacity - 1, at = hash & mask;
    for (; m->set_table.slots[at]; at = (at + 1) & mask) {
        uint32_t index = m->set_table.slots[at] - 1;
        if (is_set(m, &m->sets[index], hash)) return index;
    }
    while (m->config_count + m->made_count > m->config_capacity) {
        void *configs = m->configs;
        bool room =
            reserve(m, &configs, m->config_capacity, &m->config_capacity, sizeof *m->configs);
        m->configs = configs;
        if (!room) return SLUICE_SET_DEAD;
    }
    if (!reserve_set(m)) return SLUICE_SET_DEAD;
    if (m->made_count) {
        memcpy(m->configs + m->config_count, m->made, m->made_count * sizeof *m->made);
    }
    m->sets[m->set_count] = (sluice_set){.first = m->config_count,
                                         .count = m->made_count,
                                         .hash = hash,
                                         .cost = cost,
                                         .complete = m->made_complete,
                                         .escapes = m->made_escapes};
    m->config_count += m->made_count;
    m->set_table.slots[at] = ++m->set_count;
    m->set_table.used++;
    return m->set_count - 1;
}

uint32_t sluice_machine_start(sluice_machine *m)
{
    const sluice_automaton *a = m->automaton;
    clear_made(m);
    add(m, a->rules[a->root].start, SLUICE_STACK_EMPTY);
    return intern_made(m);
}

uint32_t sluice_machine_compute(sluice_machine *m, uint32_t set, uint32_t class)
{
    const sluice_automaton *a = m->automaton;
    uint8_t byte = a->byte_of[class];
    clear_made(m);
    for (uint32_t i = 0; i < m->sets[set].count; i++) {
        sluice_config config = m->configs[m->sets[set].first + i];
        uint32_t e = a->states[config.state].edges;
        for (; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            const sluice_edge *edge = &a->edges[e];
            if (edge->kind != SLUICE_EDGE_BYTES || byte < edge->low || byte > edge->high) continue;
            add(m, edge->target, config.stack);
        }
    }
    uint32_t to = intern_made(m);
    if (m->failed == SLUICE_OK) m->next[(size_t)set * a->class_count + class] = to;
    return to;
}

uint32_t sluice_machine_take_tag(sluice_machine *m, uint32_t set, uint32_t tag)
{
    const sluice_automaton *a = m->automaton;
    clear_made(m);
    for (uint32_t i = 0; i < m->sets[set].count; i++) {
        sluice_config config = m->configs[m->sets[set].first + i];
        uint32_t e = a->states[config.state].edges;
        for (; e != SLUICE_NO_EDGE; e = a->edges[e].next) {
            if (a->edges[e].kind == SLUICE_EDGE_TAG && a->edges[e].value == tag) {
                add(m, a->edges[e].target, config.stack);
            }
        }
    }
    return intern_made(m);
}

uint32_t sluice_machine_local(sluice_machine *m, uint32_t first, uint32_t count)
{
    /* Below an empty stack there is nothing to be unknown. */
    uint32_t stack =
        m->configs[first].stack == SLUICE_STACK_EMPTY ? SLUICE_STACK_EMPTY : SLUICE_STACK_BOTTOM;
    clear_made(m);
    for (uint32_t i = 0; i < count; i++)
        add(m, m->configs[first + i].state, stack);
    return intern_made(m);
}

uint32_t sluice_machine_own(sluice_machine *m, uint32_t set)
{
    if (m->sets[set].knows_own) return m->sets[set].own;
    uint32_t others = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (sluice_machine_next(m, set, (uint8_t)byte) == set) continue;
        others |= 1u << sluice_byte_kind[byte];
    }
    m->sets[set].own = ~others;
    m->sets[set].knows_own = true;
    return ~others;
}

/* The dead set and the two fixed stacks. */
static bool begin(sluice_machine *m)
{
    void *stacks = m->stacks;
    bool room = reserve(m, &stacks, 1, &m->stack_capacity, sizeof *m->stacks);
    m->stacks = stacks;
    if (!room || !reserve_set(m)) return false;
    m->stacks[SLUICE_STACK_EMPTY] = (sluice_stack){SLUICE_NO_STATE, 0, 0, 0};
    /* Local sets must leave room for as many calls below them. */
    m->stacks[SLUICE_STACK_BOTTOM] = (sluice_stack){SLUICE_NO_STATE, 0, SLUICE_CALLS_MAX / 2, 0};
    m->stack_count = 2;
    m->sets[SLUICE_SET_DEAD] = (sluice_set){.cost = UINT32_MAX};
    memset(m->next, 0, m->automaton->class_count * sizeof *m->next);
    m->set_count = 1;
    return true;
}

sluice_status sluice_machine_init(sluice_machine *machine, const sluice_automaton *automaton,
                                  sluice_error *err)
{
    *machine = (sluice_machine){.automaton = automaton};
    if (begin(machine)) return SLUICE_OK;
    sluice_machine_free(machine);
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to follow a grammar");
}

void sluice_machine_free(sluice_machine *m)
{
    free(m->stacks);
    free(m->sets);
    free(m->configs);
    free(m->next);
    free(m->made);
    free(m->todo);
    free(m->stack_table.slots);
    free(m->set_table.slots);
    free(m->made_table.slots);
    *m = (sluice_machine){0};
}

sluice_status sluice_machine_check(const sluice_machine *m, sluice_error *err)
{
    if (m->failed == SLUICE_OK) return SLUICE_OK;
    if (m->failed == SLUICE_NO_MEMORY) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to follow the grammar");
    }
    return sluice_fail(err, SLUICE_LIMIT,
                       "the grammar is too ambiguous to follow: too much may come next at once");
}

size_t sluice_machine_bytes(const sluice_machine *m)
{
    return m->stack_count * sizeof *m->stacks + m->config_count * sizeof *m->configs +
           m->set_count * (sizeof *m->sets + (size_t)m->automaton->class_count * sizeof *m->next);
}

/* The same stack in another machine. */
static uint32_t move_stack(sluice_machine *to, const sluice_machine *from, uint32_t stack)
{
    uint32_t path[SLUICE_CALLS_MAX + 1], count = 0;
    for (; stack > SLUICE_STACK_BOTTOM && count < SLUICE_CALLS_MAX;
         stack = from->stacks[stack].below)
        path[count++] = from->stacks[stack].state;
    while (count)
        stack = push(to, path[--count], stack);
    return stack;
}

sluice_status sluice_machine_collect(sluice_machine *m, uint32_t *const *sets, size_t count,
                                     sluice_error *err)
{
    sluice_machine fresh;
    SLUICE_TRY(sluice_machine_init(&fresh, m->automaton, err));
    /* Into numbers of the fresh machine only once all have been moved. */
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < count; i++) {
            const sluice_set *set = &m->sets[*sets[i]];
            if (*sets[i] == SLUICE_SET_DEAD) continue;
            clear_made(&fresh);
            for (uint32_t j = 0; j < set->count; j++) {
                sluice_config config = m->configs[set->first + j];
                add(&fresh, config.state, move_stack(&fresh, m, config.stack));
            }
            close_made(&fresh);
            fresh.made_complete = set->complete;
            uint32_t moved = intern_made(&fresh);
            if (last) *sets[i] = moved;
        }
        if (fresh.failed != SLUICE_OK) {
            sluice_status status = sluice_machine_check(&fresh, err);
            sluice_machine_free(&fresh);
            return status;
        }
    }
    sluice_machine_free(m);
    *m = fresh;
    return SLUICE_OK;
}
