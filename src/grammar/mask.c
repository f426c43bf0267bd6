/* Walking the trie: see mask.h. */
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of kept masks before all are thrown away. */
#define LOCAL_BYTES_MAX ((size_t)64 << 20)
/* Stacks deeper than this are walked as they are: a kept mask holds only where as many calls again
 * are allowed above the stack. */
#define LOCAL_DEPTH_MAX (SLUICE_CALLS_MAX / 2)

struct sluice_local_mask {
    uint32_t id_count; /* of ids, or UINT32_MAX: words instead */
    uint32_t escape_count;
    uint32_t values[]; /* ids or words, then escapes */
};

static void allow(uint32_t *mask, const int32_t *ids, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        mask[(uint32_t)ids[i] / 32] |= 1u << ((uint32_t)ids[i] % 32);
}

/* A walk over nodes [at, end), which lie below depth bytes that have led to a set. */
typedef struct walk {
    uint32_t at, end;
    uint32_t depth, set;
    uint32_t cost_max;
    bool is_local; /* note escapes instead of following them */
} walk;

static bool note_escape(sluice_masks *masks, uint32_t node)
{
    if (masks->escape_count == masks->escape_capacity) {
        uint32_t capacity = masks->escape_capacity ? masks->escape_capacity * 2 : 256;
        uint32_t *escapes = realloc(masks->escapes, capacity * sizeof *escapes);
        if (!escapes) {
            masks->machine->failed = SLUICE_NO_MEMORY;
            return false;
        }
        masks->escapes = escapes;
        masks->escape_capacity = capacity;
    }
    masks->escapes[masks->escape_count++] = node;
    return true;
}

static void walk_trie(sluice_masks *masks, walk w, uint32_t *mask)
{
    const sluice_token_trie *trie = masks->trie;
    sluice_machine *m = masks->machine;
    uint32_t *path = masks->path; /* path[d]: the set before the byte at depth d */
    path[w.depth] = w.set;
    while (w.at < w.end) {
        const sluice_trie_node *node = &trie->nodes[w.at];
        uint32_t from = path[node->depth];
        uint32_t to = sluice_machine_next(m, from, node->byte);
        if (to == SLUICE_SET_DEAD) {
            if (m->failed != SLUICE_OK) return;
            w.at = node->end;
            continue;
        }
        const sluice_set *set = &m->sets[to];
        if (set->cost <= w.cost_max) allow(mask, trie->ids, node->first, node[1].first);
        if (w.is_local && set->escapes) {
            if (node->end > w.at + 1 && !note_escape(masks, w.at)) return;
            w.at = node->end;
            continue;
        }
        if (to == from && node->end > w.at + 1 && set->cost <= w.cost_max &&
            (node->kinds & ~sluice_machine_own(m, to)) == 0) {
            allow(mask, trie->ids, node[1].first, trie->nodes[node->end].first);
            w.at = node->end;
            continue;
        }
        path[node->depth + 1] = to;
        w.at++;
    }
}

static bool reserve_local(sluice_masks *masks, uint32_t set)
{
    if (set < masks->local_capacity) return true;
    uint32_t capacity = masks->local_capacity ? masks->local_capacity : 256;
    while (capacity <= set)
        capacity *= 2;
    sluice_local_mask **local = realloc(masks->local, capacity * sizeof(*local));
    if (!local) {
        masks->machine->failed = SLUICE_NO_MEMORY;
        return false;
    }
    memset(local + masks->local_capacity, 0, (capacity - masks->local_capacity) * sizeof(*local));
    masks->local = local;
    masks->local_capacity = capacity;
    return true;
}

static uint32_t count_bits(const uint32_t *mask, uint32_t words)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < words; i++)
        count += (uint32_t)__builtin_popcount(mask[i]);
    return count;
}

/* Keeps the walk that lies in scratch and escapes, as a list where that is shorter. */
static sluice_local_mask *keep(sluice_masks *masks, uint32_t set)
{
    uint32_t count = count_bits(masks->scratch, masks->words);
    bool listed = count < masks->words;
    size_t values = (listed ? count : masks->words) + (size_t)masks->escape_count;
    size_t bytes = sizeof(sluice_local_mask) + values * sizeof(uint32_t);
    if (masks->local_bytes + bytes > LOCAL_BYTES_MAX) sluice_masks_clear(masks);
    sluice_local_mask *local = reserve_local(masks, set) ? malloc(bytes) : NULL;
    if (!local) {
        masks->machine->failed = SLUICE_NO_MEMORY;
        return NULL;
    }
    local->id_count = listed ? count : UINT32_MAX;
    local->escape_count = masks->escape_count;
    uint32_t *to = local->values;
    for (uint32_t i = 0; i < masks->words && listed; i++) {
        for (uint32_t bits = masks->scratch[i]; bits; bits &= bits - 1)
            *to++ = i * 32 + (uint32_t)__builtin_ctz(bits);
    }
    if (!listed) {
        memcpy(to, masks->scratch, masks->words * sizeof *to);
        to += masks->words;
    }
    if (masks->escape_count) memcpy(to, masks->escapes, masks->escape_count * sizeof *to);
    masks->local[set] = local;
    masks->local_bytes += bytes;
    return local;
}

static sluice_local_mask *find_local(sluice_masks *masks, uint32_t set)
{
    if (set < masks->local_capacity && masks->local[set]) return masks->local[set];
    memset(masks->scratch, 0, masks->words * sizeof *masks->scratch);
    masks->escape_count = 0;
    walk_trie(masks, (walk){0, masks->trie->count, 0, set, UINT32_MAX, true}, masks->scratch);
    return masks->machine->failed == SLUICE_OK ? keep(masks, set) : NULL;
}

/* Below a node at which the rule at the bottom was left: with the real stack. */
static void walk_escape(sluice_masks *masks, uint32_t set, uint32_t at, uint32_t *mask)
{
    const sluice_trie_node *node = &masks->trie->nodes[at];
    const char *path = sluice_token_trie_path(masks->trie, node);
    for (uint32_t i = 0; i <= node->depth; i++) {
        set = sluice_machine_next(masks->machine, set, (uint8_t)path[i]);
        if (set == SLUICE_SET_DEAD) return;
    }
    walk_trie(masks, (walk){at + 1, node->end, node->depth + 1u, set, UINT32_MAX, false}, mask);
}

/* The tokens that the configurations on one stack allow. */
static void fill_group(sluice_masks *masks, uint32_t set, uint32_t first, uint32_t count,
                       uint32_t *mask)
{
    uint32_t local_set = sluice_machine_local(masks->machine, first, count);
    if (local_set == SLUICE_SET_DEAD) return;
    sluice_local_mask *local = find_local(masks, local_set);
    if (!local) return;
    const uint32_t *escapes = local->values + local->id_count;
    if (local->id_count == UINT32_MAX) {
        for (uint32_t i = 0; i < masks->words; i++)
            mask[i] |= local->values[i];
        escapes = local->values + masks->words;
    } else {
        for (uint32_t i = 0; i < local->id_count; i++)
            mask[local->values[i] / 32] |= 1u << (local->values[i] % 32);
    }
    for (uint32_t i = 0; i < local->escape_count && masks->machine->failed == SLUICE_OK; i++)
        walk_escape(masks, set, escapes[i], mask);
}

/* Tokens that are taken as a whole. */
static void fill_tags(sluice_masks *masks, uint32_t set, uint32_t cost_max, uint32_t *mask)
{
    sluice_machine *m = masks->machine;
    const sluice_automaton *a = m->automaton;
    for (uint32_t tag = 0; tag < a->tag_count; tag++) {
        int32_t id = masks->tag_ids[tag];
        if (id < 0) continue;
        uint32_t to = sluice_machine_take_tag(m, set, tag);
        if (to == SLUICE_SET_DEAD || m->sets[to].cost > cost_max) continue;
        mask[(uint32_t)id / 32] |= 1u << ((uint32_t)id % 32);
    }
}

sluice_status sluice_masks_fill(sluice_masks *masks, uint32_t set, uint32_t cost_max,
                                uint32_t *mask, sluice_error *err)
{
    sluice_machine *m = masks->machine;
    memset(mask, 0, masks->words * sizeof *mask);
    uint32_t first = m->sets[set].first, end = first + m->sets[set].count;
    bool is_deep = cost_max != UINT32_MAX;
    for (uint32_t i = first; i < end; i++)
        is_deep |= m->stacks[m->configs[i].stack].depth > LOCAL_DEPTH_MAX;
    if (is_deep) walk_trie(masks, (walk){0, masks->trie->count, 0, set, cost_max, false}, mask);
    for (uint32_t i = first, next; i < end && !is_deep; i = next) {
        for (next = i + 1; next < end && m->configs[next].stack == m->configs[i].stack;)
            next++;
        fill_group(masks, set, i, next - i, mask);
    }
    if (masks->machine->automaton->tag_count) fill_tags(masks, set, cost_max, mask);
    return sluice_machine_check(m, err);
}

sluice_status sluice_masks_init(sluice_masks *masks, const sluice_token_trie *trie,
                                sluice_machine *machine, sluice_error *err)
{
    const sluice_automaton *a = machine->automaton;
    *masks = (sluice_masks){.trie = trie, .machine = machine};
    masks->words = ((uint32_t)trie->vocab + 31) / 32;
    masks->scratch = calloc((size_t)masks->words + 1, sizeof *masks->scratch);
    masks->path = calloc((size_t)trie->depth_max + 1, sizeof *masks->path);
    masks->tag_ids = calloc((size_t)a->tag_count + 1, sizeof *masks->tag_ids);
    if (!masks->scratch || !masks->path || !masks->tag_ids) {
        sluice_masks_free(masks);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for masks of tokens");
    }
    for (uint32_t i = 0; i < a->tag_count; i++)
        masks->tag_ids[i] = sluice_tokenizer_find(trie->tokenizer, a->tags[i]);
    return SLUICE_OK;
}

void sluice_masks_clear(sluice_masks *masks)
{
    for (uint32_t i = 0; i < masks->local_capacity; i++) {
        free(masks->local[i]);
        masks->local[i] = NULL;
    }
    masks->local_bytes = 0;
}

void sluice_masks_free(sluice_masks *masks)
{
    sluice_masks_clear(masks);
    free(masks->local);
    free(masks->scratch);
    free(masks->path);
    free(masks->tag_ids);
    free(masks->escapes);
    *masks = (sluice_masks){0};
}
