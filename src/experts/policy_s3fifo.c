/* S3-FIFO (Yang et al., SOSP 2023): a small queue for newcomers, a main queue for those used again,
 * and a memory of keys that left the small queue, whose return goes straight to main. What is used
 * once passes through without disturbing the rest. */
#include <stdlib.h>

#include "experts/index_list.h"
#include "experts/policy.h"

#define SMALL_SHARE 10 /* the small queue is a tenth of the slots */
#define USES_MAX 3

typedef struct s3fifo_slot {
    int32_t key;
    uint8_t uses;
    bool in_main;
} s3fifo_slot;

typedef struct s3fifo {
    sluice_cache_policy policy;
    sluice_index_list small, main;
    int32_t small_target, ghosts_max;
    uint64_t ghosts; /* keys that have left the small queue so far */
    uint64_t *left;  /* [keys], the value of ghosts when the key left; 0 if never */
    s3fifo_slot *slots;
    sluice_index_link *links;
} s3fifo;

static void s3fifo_insert(sluice_cache_policy *policy, int32_t slot, int32_t key, bool wanted)
{
    s3fifo *self = (s3fifo *)policy;
    (void)wanted;
    bool known = self->left[key] && self->ghosts - self->left[key] < (uint64_t)self->ghosts_max;
    self->slots[slot] = (s3fifo_slot){.key = key, .in_main = known};
    self->left[key] = 0;
    sluice_index_list_push_back(known ? &self->main : &self->small, self->links, slot);
}

static void s3fifo_use(sluice_cache_policy *policy, int32_t slot)
{
    s3fifo *self = (s3fifo *)policy;
    if (self->slots[slot].uses < USES_MAX) self->slots[slot].uses++;
}

static int32_t evict_from_small(s3fifo *self, bool (*busy)(const void *, int32_t),
                                const void *context)
{
    for (int32_t n = self->small.n; n > 0; n--) {
        int32_t index = sluice_index_list_pop(&self->small, self->links);
        s3fifo_slot *slot = &self->slots[index];
        if (slot->uses > 0) {
            *slot = (s3fifo_slot){.key = slot->key, .in_main = true};
            sluice_index_list_push_back(&self->main, self->links, index);
        } else if (busy(context, index)) {
            sluice_index_list_push_back(&self->small, self->links, index);
        } else {
            self->left[slot->key] = ++self->ghosts;
            return index;
        }
    }
    return -1;
}

static int32_t evict_from_main(s3fifo *self, bool (*busy)(const void *, int32_t),
                               const void *context)
{
    /* In USES_MAX + 1 rounds every count has come down to nothing. */
    for (int32_t n = (USES_MAX + 1) * self->main.n; n > 0; n--) {
        int32_t index = sluice_index_list_pop(&self->main, self->links);
        s3fifo_slot *slot = &self->slots[index];
        if (!slot->uses && !busy(context, index)) return index;
        slot->uses -= slot->uses > 0;
        sluice_index_list_push_back(&self->main, self->links, index);
    }
    return -1;
}

static int32_t s3fifo_evict(sluice_cache_policy *policy, bool (*busy)(const void *, int32_t),
                            const void *context)
{
    s3fifo *self = (s3fifo *)policy;
    int32_t slot = -1;
    if (self->small.n >= self->small_target) slot = evict_from_small(self, busy, context);
    if (slot < 0) slot = evict_from_main(self, busy, context);
    if (slot < 0) slot = evict_from_small(self, busy, context);
    return slot;
}

static void s3fifo_free(sluice_cache_policy *policy)
{
    s3fifo *self = (s3fifo *)policy;
    free(self->left);
    free(self->slots);
    free(self->links);
    free(self);
}

sluice_status sluice_cache_policy_s3fifo_new(const sluice_cache_sizes *sizes,
                                             sluice_cache_policy **out, sluice_error *err)
{
    s3fifo *self = calloc(1, sizeof *self);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    self->policy =
        (sluice_cache_policy){"s3fifo", NULL, s3fifo_insert, s3fifo_use, s3fifo_evict, s3fifo_free};
    self->small = self->main = SLUICE_INDEX_LIST_EMPTY;
    self->small_target = sizes->slots / SMALL_SHARE > 0 ? sizes->slots / SMALL_SHARE : 1;
    self->ghosts_max = sizes->slots;
    self->left = calloc((size_t)sizes->keys, sizeof *self->left);
    self->slots = calloc((size_t)sizes->slots, sizeof *self->slots);
    self->links = calloc((size_t)sizes->slots, sizeof *self->links);
    if (!self->left || !self->slots || !self->links) {
        s3fifo_free(&self->policy);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    }
    *out = &self->policy;
    return SLUICE_OK;
}
