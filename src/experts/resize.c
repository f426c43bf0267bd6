/* Giving the memory of slots back to the system, and taking it again.
 *
 * The mapping stays as it is, so that nothing moves and growing cannot fail; a slot that is given
 * back is on a list of its own and has no pages. */
#include "experts/cache.h"

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
