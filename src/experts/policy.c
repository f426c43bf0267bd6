/* The table of replacement policies, the default first: doc/measurements/cache.md. */
#include "experts/policy.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    sluice_status (*make)(const sluice_cache_sizes *sizes, sluice_cache_policy **out,
                          sluice_error *err);
} policies[] = {
    {"reuse", sluice_cache_policy_reuse_new},
    {"lfru", sluice_cache_policy_lfru_new},
    {"lru", sluice_cache_policy_lru_new},
    {"s3fifo", sluice_cache_policy_s3fifo_new},
};

#define N_POLICIES (sizeof policies / sizeof *policies)

sluice_status sluice_cache_policy_new(const char *name, const sluice_cache_sizes *sizes,
                                      sluice_cache_policy **out, sluice_error *err)
{
    if (!name) name = policies[0].name;
    for (size_t i = 0; i < N_POLICIES; i++)
        if (!strcmp(policies[i].name, name)) return policies[i].make(sizes, out, err);
    return sluice_fail(err, SLUICE_USAGE, "cache policy \"%s\": must be reuse, lfru, lru or s3fifo",
                       name);
}

const char *const *sluice_cache_policy_names(void)
{
    static const char *const names[] = {"reuse", "lfru", "lru", "s3fifo", NULL};
    return names;
}
