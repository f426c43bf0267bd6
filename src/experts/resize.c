/* The pages of slots: taken at once, given back to the system, and taken again.
 *
 * The mapping stays as it is, so that nothing moves and growing cannot fail; a slot that is given
 * back is on a list of its own and has no pages. */
#include "experts/cache.h"

#define PIECE ((size_t)32 << 20)

static size_t slots_bytes(const sluice_experts *experts)
{
    return (size_t)experts->n_slots * experts->slot_bytes;
}

static void touch_piece(void *context, int32_t task, int worker)
{
    const sluice_experts *experts = context;
    const size_t begin = (size_t)task * PIECE, left = slots_bytes(experts) - begin;
    (void)worker;
    sluice_memory_touch(experts->memory + begin, left < PIECE ? left : PIECE);
}

void sluice_experts_touch(sluice_experts *experts, sluice_pool *pool)
{
    sluice_pool_run(pool, touch_piece, experts,
                    (int32_t)((slots_bytes(experts) + PIECE - 1) / PIECE));
    for (int32_t i = 0; i < experts->n_slots; i++)
        experts->slots[i].touched = true;
}

static bool give_back_one(sluice_experts *experts)
{
    if (!experts->unused.n && !sluice_cache_evict(experts)) return false;
    /* The one that was freed last: what was never touched has nothing to give. */
    int32_t index = sluice_index_list_pop(&experts->unused, experts->links);
    sluice_slot *slot = &experts->slots[index];
    if (slot->touched)
        sluice_memory_discard(experts->memory + (size_t)index * experts->slot_bytes,
                              experts->slot_bytes);
    slot->touched = false;
    sluice_index_list_push_back(&experts->returned, experts->links, index);
    return true;
}

int32_t sluice_experts_resize(sluice_experts *experts, int32_t slots)
{
    if (slots < experts->slots_min) slots = experts->slots_min;
    if (slots > experts->n_slots) slots = experts->n_slots;
    sluice_cache_reap(experts, 0);
    while (sluice_experts_slots_now(experts) > slots && give_back_one(experts))
        continue;
    while (sluice_experts_slots_now(experts) < slots)
        sluice_index_list_push_back(&experts->unused, experts->links,
                                    sluice_index_list_pop(&experts->returned, experts->links));
    return sluice_experts_slots_now(experts);
}
