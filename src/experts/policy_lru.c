/* Least recently used: one list, oldest first. A guess enters as if it had been used. */
#include <stdlib.h>

#include "experts/index_list.h"
#include "experts/policy.h"

typedef struct lru {
    sluice_cache_policy policy;
    sluice_index_list order;
    sluice_index_link links[]; /* [slots] */
} lru;

static void lru_insert(sluice_cache_policy *policy, int32_t slot, int32_t key, bool wanted)
{
    lru *self = (lru *)policy;
    (void)key;
    (void)wanted;
    sluice_index_list_push_back(&self->order, self->links, slot);
}

static void lru_use(sluice_cache_policy *policy, int32_t slot)
{
    lru *self = (lru *)policy;
    sluice_index_list_remove(&self->order, self->links, slot);
    sluice_index_list_push_back(&self->order, self->links, slot);
}

static int32_t lru_evict(sluice_cache_policy *policy, bool (*busy)(const void *, int32_t),
                         const void *context)
{
    lru *self = (lru *)policy;
    int32_t slot = self->order.first;
    while (slot >= 0 && busy(context, slot))
        slot = self->links[slot].next;
    if (slot >= 0) sluice_index_list_remove(&self->order, self->links, slot);
    return slot;
}

static void lru_free(sluice_cache_policy *policy)
{
    free(policy);
}

sluice_status sluice_cache_policy_lru_new(const sluice_cache_sizes *sizes,
                                          sluice_cache_policy **out, sluice_error *err)
{
    lru *self = calloc(1, sizeof *self + (size_t)sizes->slots * sizeof *self->links);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    self->policy = (sluice_cache_policy){"lru", NULL, lru_insert, lru_use, lru_evict, lru_free};
    self->order = SLUICE_INDEX_LIST_EMPTY;
    *out = &self->policy;
    return SLUICE_OK;
}
