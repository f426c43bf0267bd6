/* The expert cache: where the bytes of the routed experts come from.
 *
 * What: slots in memory under one byte budget for all layers, filled by direct reads, pinned while in
 * use, replaced by a policy. Demand, lookahead and warm start are the same request with another
 * priority; a lookahead read that becomes a demand is promoted, never read twice.
 *
 * Rules: one thread drives it (the engine's). Reads overlap whatever the caller does between request
 * and next. Caches, slots and order of arrival never change a result: next says which expert came,
 * and the caller puts it where it belongs. Nothing allocates after opening.
 *
 * What it does not do: know tensors; a record is bytes. */
#ifndef SLUICE_EXPERTS_EXPERTS_H
#define SLUICE_EXPERTS_EXPERTS_H

#include "base/memory.h"
#include "base/status.h"
#include "io/io.h"

typedef struct sluice_experts sluice_experts;

/* Where the records of one layer are: record e is [offset + e*stride, + bytes) of path. */
typedef struct sluice_experts_layer {
    const char *path;      /* copied */
    uint64_t offset;       /* multiple of 4096 */
    uint64_t stride;       /* multiple of 4096 */
    uint64_t bytes;        /* multiple of 4096, <= stride */
    int32_t count;         /* experts in the layer */
    const uint32_t *crc32c; /* [count] or NULL; copied; checked on each read if verify is set */
} sluice_experts_layer;

typedef struct sluice_experts_options {
    const sluice_experts_layer *layers;
    int32_t n_layers;
    uint64_t cache_bytes; /* slots; at least slots_min of the largest record, else SLUICE_NO_MEMORY */
    int32_t slots_min;    /* what one step needs at least, e.g. top_k */
    const char *io;       /* engine name, see sluice_io_open; NULL is "auto" */
    sluice_io *io_engine; /* if not NULL: used instead, not owned (the simulated disk) */
    int32_t depth;        /* reads in flight; 0 for the default */
    bool verify;
    sluice_budget *budget;
} sluice_experts_options;

typedef struct sluice_experts_stats {
    uint64_t requests, hits, misses; /* demand only */
    uint64_t bytes_read, reads;
    uint64_t lookahead_reads, lookahead_used;
    uint64_t wait_us; /* time next waited for the disk */
    uint64_t evictions, retries;
} sluice_experts_stats;

typedef enum sluice_experts_priority {
    SLUICE_EXPERTS_DEMAND,
    SLUICE_EXPERTS_LOOKAHEAD,
    SLUICE_EXPERTS_WARM
} sluice_experts_priority;

sluice_status sluice_experts_open(const sluice_experts_options *options, sluice_experts **out,
                                  sluice_error *err);
void sluice_experts_close(sluice_experts *experts);

/* Asks for n distinct experts of one layer. DEMAND: starts a ticket; every id is then handed out
 * exactly once by next, resident ones first. n may exceed the slots: further reads start as the
 * caller releases. Only one demand ticket is open at a time. LOOKAHEAD and WARM: a hint, no ticket,
 * queued behind demand, dropped when there is no free slot. */
void sluice_experts_request(sluice_experts *experts, int32_t layer, const int32_t *ids, int32_t n,
                            sluice_experts_priority priority);

/* The next expert of the open ticket in order of arrival, pinned until release. *id is -1 when the
 * ticket is finished. A read that fails after retries is SLUICE_IO (or SLUICE_CORRUPT on a checksum),
 * naming layer, expert, file and offset; it ends the ticket and leaves the cache usable. */
sluice_status sluice_experts_next(sluice_experts *experts, int32_t *id, const void **record,
                                  sluice_error *err);
void sluice_experts_release(sluice_experts *experts, int32_t layer, int32_t id);
/* Gives up the open ticket, if any (reads under way finish into their slots). */
void sluice_experts_abandon(sluice_experts *experts);

bool sluice_experts_resident(const sluice_experts *experts, int32_t layer, int32_t id);
void sluice_experts_stats_get(const sluice_experts *experts, sluice_experts_stats *stats);
int32_t sluice_experts_slots(const sluice_experts *experts);

#endif
