/* How much memory this process may use, from the machine and from its control groups. */
#ifndef SLUICE_OS_MEMORY_LIMIT_H
#define SLUICE_OS_MEMORY_LIMIT_H

#include <stdint.h>

#include "base/status.h"

typedef struct sluice_memory_limit {
    uint64_t total_bytes;     /* of the machine */
    uint64_t available_bytes; /* MemAvailable: what can be taken without swapping */
    uint64_t group_bytes;     /* the lowest cgroup limit, 0 if there is none */
    uint64_t usable_bytes; /* what can still be taken: the least of available_bytes and, for every
                                 group, limit - used + page cache that is given back on demand */
} sluice_memory_limit;

/* root: "" for this machine, or a folder that holds a copy of /proc and /sys (tests). */
sluice_status sluice_memory_limit_get(const char *root, sluice_memory_limit *limit,
                                      sluice_error *err);

#endif
