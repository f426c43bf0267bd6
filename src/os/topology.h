/* Which processors this process may use, and which of them are cores of their own. */
#ifndef SLUICE_OS_TOPOLOGY_H
#define SLUICE_OS_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#define SLUICE_PROCESSORS_MAX 1024

typedef struct sluice_topology {
    int processors; /* allowed by the affinity mask */
    int cores;      /* of them, with one hardware thread a core counted */
    int threads;    /* what compute should use by default: cores, less if a cgroup quota is below */
    bool uneven;    /* cores have several hardware threads, or differ in speed */
    uint64_t cache_bytes; /* of all last-level (L3) caches of those processors; 0: none known */
    /* One processor per core, the fastest cores first (big before little), then by number. */
    int core_processors[SLUICE_PROCESSORS_MAX];
} sluice_topology;

/* Never fails: at worst one processor. root: "" for this machine, or a folder that holds a copy of
 * /proc and /sys (tests). */
void sluice_topology_get(const char *root, sluice_topology *topology);

/* The processors that so many computing threads are better tied to, one each: where they are to
 * have all cores, and the scheduler could give two of them the same one. NULL: it may choose; fewer
 * threads leave room for others, wherever that is. */
const int *sluice_topology_ties(const sluice_topology *topology, int threads);

#endif
