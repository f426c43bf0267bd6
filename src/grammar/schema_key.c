/* Keys of properties that a schema does not name: any but those it names.
 *
 * The names are a trie of characters; a key may leave it anywhere for what is free. Such keys have
 * no escapes, so that no other spelling of a name passes. */
#include <stdlib.h>

#include "grammar/schema_object.h"
#include "tokenizer/utf8.h"

/* Names sorted by their bytes; those of one state of the trie share a beginning. */
typedef struct names {
    const sluice_schema_property **sorted;
    sluice_schema_builder *b;
    uint32_t free, end; /* inside a key that is no name any more; behind the closing quote */
} names;

static int by_name(const void *a, const void *b)
{
    const sluice_schema_property *x = *(const sluice_schema_property *const *)a;
    const sluice_schema_property *y = *(const sluice_schema_property *const *)b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = shorter ? memcmp(x->name, y->name, shorter) : 0;
    return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

static void fill_plain(const names *n, sluice_characters *set)
{
    sluice_characters_add(set, 0x20, SLUICE_CHARACTER_MAX);
    sluice_characters_normalise(set, false);
    sluice_characters_remove(set, '"');
    sluice_characters_remove(set, '\\');
    if (n->b->json->in_call) sluice_characters_remove(set, '<');
}

/* Names [first, last) share depth bytes, which have led to a state. */
static void build_names(const names *n, size_t first, size_t last, size_t depth, uint32_t state)
{
    sluice_automaton *a = n->b->a;
    sluice_characters set = {0};
    fill_plain(n, &set);
    bool is_name = first < last && n->sorted[first]->length == depth;
    if (is_name) first++;
    if (!is_name) sluice_automaton_bytes(a, state, '"', '"', n->end);
    while (first < last && a->failed == SLUICE_OK) {
        size_t step, next = first;
        uint32_t character = sluice_utf8_decode(n->sorted[first]->name + depth, &step);
        while (next < last && n->sorted[next]->length >= depth + step &&
               memcmp(n->sorted[next]->name + depth, n->sorted[first]->name + depth, step) == 0)
            next++;
        /* What needs an escape is no part of such keys anyway. */
        if (sluice_characters_remove(&set, character)) {
            uint32_t child = sluice_build_literal(a, state, n->sorted[first]->name + depth, step);
            build_names(n, first, next, depth + step, child);
        }
        first = next;
    }
    sluice_characters_build(a, state, &set, n->free);
    sluice_characters_free(&set);
}

uint32_t sluice_schema_key_build(sluice_schema_builder *b, const sluice_schema_members *members,
                                 uint32_t from)
{
    sluice_automaton *a = b->a;
    names n = {.b = b, .free = sluice_automaton_state(a), .end = sluice_automaton_state(a)};
    n.sorted = malloc((members->count + 1) * sizeof(*n.sorted));
    if (!n.sorted) {
        a->failed = SLUICE_NO_MEMORY;
        return n.end;
    }
    size_t count = 0;
    for (size_t i = 0; i < members->count; i++)
        if (members->properties[i].length <= 256) n.sorted[count++] = &members->properties[i];
    if (count > 1) qsort(n.sorted, count, sizeof(*n.sorted), by_name);
    build_names(&n, 0, count, 0, sluice_build_text(a, from, "\""));
    build_names(&n, 0, 0, 0, n.free);
    free(n.sorted);
    return n.end;
}
