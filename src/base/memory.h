/* The memory budget and the allocations that are charged to it.
 *
 * Every large byte (weights, expert slots, KV, scratch) is taken here with a tag, so that the
 * engine can refuse before it starts, report who holds what, and stay under --memory. Small
 * bookkeeping (a few KiB of structs) uses malloc. Thread-safe. */
#ifndef SLUICE_BASE_MEMORY_H
#define SLUICE_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_MEMORY_HUGE_PAGE ((size_t)2 << 20)

typedef struct sluice_budget sluice_budget;

/* limit 0 means none (only counting). */
sluice_status sluice_budget_new(uint64_t limit_bytes, sluice_budget **out, sluice_error *err);
void sluice_budget_free(sluice_budget *budget);

typedef struct sluice_budget_use {
    const char *tag;
    uint64_t bytes, peak_bytes;
} sluice_budget_use;

uint64_t sluice_budget_limit(const sluice_budget *budget);
uint64_t sluice_budget_used(const sluice_budget *budget);
uint64_t sluice_budget_peak(const sluice_budget *budget);
/* Fills at most max entries, returns how many tags exist. */
int sluice_budget_uses(const sluice_budget *budget, sluice_budget_use *uses, int max);

/* Zeroed memory. Alignment is 64 bytes, and 4096 from 4096 bytes up (what direct reads need); from
 * 2 MiB up it is a mapping of its own, 2 MiB aligned and advised to use huge pages (direct reads
 * into huge pages are 2-3x as fast as into 4 KiB pages). tag must be a static string. budget may be
 * NULL. Untouched pages of a mapping cost no memory but are charged. SLUICE_NO_MEMORY names the
 * tag, the bytes wanted and the bytes left. */
sluice_status sluice_memory_new(sluice_budget *budget, size_t bytes, const char *tag, void **out,
                                sluice_error *err);
/* Keeps memory from being swapped out. SLUICE_NO_MEMORY says what the system's limit is. */
sluice_status sluice_memory_lock(const void *memory, size_t bytes, const char *what,
                                 sluice_error *err);
/* Makes the pages of a range, which otherwise come as it is first written to; what it holds stays,
 * but nobody else may write to it meanwhile. */
void sluice_memory_touch(void *memory, size_t bytes);
/* Gives the pages of a range back to the system; it holds anything, or zeros, from then on and
 * takes pages again when it is written to. Only whole pages within the range go. */
void sluice_memory_discard(void *memory, size_t bytes);

void sluice_memory_free(sluice_budget *budget, void *memory, size_t bytes, const char *tag);

#endif
