/* Giving memory back when the machine needs it.
 *
 * What: now and then, between steps, asks the system what is still free (MemAvailable, and what is
 * left below the limits of our control groups). When it is little, the expert cache shrinks until
 * twice the reserve is free; when there is plenty again and the cache is full, it grows, to the
 * size that it was opened with at most. So sluice never makes a machine swap, and results do not
 * depend on any of it.
 *
 * What it does not do: ask faster than a machine can fill (a burst within the interval is the
 * kernel's to handle), or touch trunk and sessions. */
#ifndef SLUICE_ENGINE_PRESSURE_H
#define SLUICE_ENGINE_PRESSURE_H

#include "experts/experts.h"
#include "os/memory_limit.h"

#define SLUICE_PRESSURE_INTERVAL_US 500000

typedef struct sluice_pressure {
    const char *root;      /* "" for this machine, else a copy of /proc and /sys (tests) */
    uint64_t interval_us;  /* between two questions */
    uint64_t next_us;      /* when to ask again */
    int32_t slots_min;     /* the cache keeps so many */
    uint64_t record_bytes; /* of a slot */
} sluice_pressure;

/* Bytes that the cache should give back (positive) or may take (negative). */
int64_t sluice_pressure_wish(const sluice_memory_limit *limit);

/* Asks if it is time to, and resizes the cache. What cannot be read changes nothing. */
void sluice_pressure_check(sluice_pressure *pressure, sluice_experts *experts);

#endif
