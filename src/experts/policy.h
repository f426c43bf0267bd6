/* Which resident record to give up: the replacement policies of the expert cache.
 *
 * What: a policy sees records become resident, sees them used, and names the next to go. It knows
 * slots and keys as numbers and nothing of disks, so the same code runs in the cache and in a
 * replay of a recorded trace.
 *
 * Rules: one thread. Nothing allocates after the start. A slot is between insert and evict exactly
 * while its record is resident. */
#ifndef SLUICE_EXPERTS_POLICY_H
#define SLUICE_EXPERTS_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sluice_cache_policy sluice_cache_policy;

struct sluice_cache_policy {
    const char *name;
    /* A layer is asked for records, of which key is one: before insert and use of them. May be
     * NULL. */
    void (*turn)(sluice_cache_policy *policy, int32_t key);
    /* The record of key has become resident in slot: because it was wanted, or on a guess. */
    void (*insert)(sluice_cache_policy *policy, int32_t slot, int32_t key, bool wanted);
    /* A resident record was wanted. */
    void (*use)(sluice_cache_policy *policy, int32_t slot);
    /* Chooses a slot for which busy is false and forgets it; -1 if all are busy. */
    int32_t (*evict)(sluice_cache_policy *policy, bool (*busy)(const void *context, int32_t slot),
                     const void *context);
    void (*free)(sluice_cache_policy *policy);
};

/* Keys are 0 to keys-1, slots 0 to slots-1. A layer has layer_keys keys that follow each other (the
 * last one may have fewer); keys: layers are not told apart. */
typedef struct sluice_cache_sizes {
    int32_t slots, keys, layer_keys;
} sluice_cache_sizes;

/* SLUICE_USAGE for an unknown name; NULL is the default. */
sluice_status sluice_cache_policy_new(const char *name, const sluice_cache_sizes *sizes,
                                      sluice_cache_policy **out, sluice_error *err);

/* The known names, the default first, ending with NULL. */
const char *const *sluice_cache_policy_names(void);

sluice_status sluice_cache_policy_lru_new(const sluice_cache_sizes *sizes,
                                          sluice_cache_policy **out, sluice_error *err);
sluice_status sluice_cache_policy_lfru_new(const sluice_cache_sizes *sizes,
                                           sluice_cache_policy **out, sluice_error *err);
sluice_status sluice_cache_policy_reuse_new(const sluice_cache_sizes *sizes,
                                            sluice_cache_policy **out, sluice_error *err);
sluice_status sluice_cache_policy_s3fifo_new(const sluice_cache_sizes *sizes,
                                             sluice_cache_policy **out, sluice_error *err);

#endif
