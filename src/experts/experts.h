/* The expert cache: where the bytes of the routed experts come from.
 *
 * What: slots in memory under one byte budget for all layers, filled by direct reads, pinned while
 * in use, replaced by a policy. Demand, lookahead and warm start are the same request with another
 * priority; a lookahead read that becomes a demand is promoted, never read twice.
 *
 * Rules: one thread drives it (the engine's). Reads overlap whatever the caller does between
 * request and next. Caches, slots and order of arrival never change a result: next says which
 * expert came, and the caller puts it where it belongs. Nothing allocates after opening.
 *
 * What it does not do: know tensors; a record is bytes. */
#ifndef SLUICE_EXPERTS_EXPERTS_H
#define SLUICE_EXPERTS_EXPERTS_H

#include "base/memory.h"
#include "base/pool.h"
#include "base/status.h"
#include "io/io.h"

typedef struct sluice_experts sluice_experts;

/* The default depth keeps this many bytes under way, within these bounds. */
#define SLUICE_EXPERTS_BYTES_IN_FLIGHT ((uint64_t)32 << 20)
#define SLUICE_EXPERTS_DEPTH_MIN 4
#define SLUICE_EXPERTS_DEPTH_MAX 64
/* And so much between tickets, in so many reads, of what is nearly sure to be wanted: what a disk
 * of 2.5 GB/s brings while the mixer of a layer of the 397B runs over 256 rows on two cores. */
#define SLUICE_EXPERTS_SWEEP_BYTES ((uint64_t)1 << 30)
#define SLUICE_EXPERTS_SWEEP_MAX 192

#define SLUICE_EXPERTS_COPIES_MAX 7

/* Where the records of one layer are: record e is [offset + e*stride, + bytes) of path. */
typedef struct sluice_experts_layer {
    const char *path;          /* copied */
    uint64_t offset;           /* multiple of 4096 */
    uint64_t stride;           /* multiple of 4096 */
    uint64_t bytes;            /* multiple of 4096, <= stride */
    int32_t count;             /* experts in the layer */
    const uint32_t *crc32c;    /* [count] or NULL; copied; checked on each read if verify is set */
    const char *const *copies; /* [n_copies] other paths with the same bytes, copied: reads are
                                  spread over all of them by their speed */
    int32_t n_copies;          /* at most SLUICE_EXPERTS_COPIES_MAX */
} sluice_experts_layer;

typedef struct sluice_experts_options {
    const sluice_experts_layer *layers;
    int32_t n_layers;
    uint64_t
        cache_bytes;   /* slots; at least slots_min of the largest record, else SLUICE_NO_MEMORY */
    int32_t slots_min; /* what one step needs at least, e.g. top_k */
    const char *io;    /* engine name, see sluice_io_open; NULL is "auto" */
    sluice_io *io_engine; /* if not NULL: used instead, not owned (the simulated disk) */
    int32_t depth;        /* reads in flight; 0 for the default, by the size of a record */
    const char *policy;   /* see policy.h; NULL for the default */
    bool verify;
    sluice_budget *budget;
    /* If not NULL: called with every demand request, before it is served (recording of routing). */
    void (*trace)(void *context, int32_t layer, const int32_t *ids, int32_t n);
    void *trace_context;
} sluice_experts_options;

typedef struct sluice_experts_stats {
    /* Demand only: requests = hits + misses. A hit was resident when it was asked for; of the
     * misses, promoted ones were already being read on a guess. */
    uint64_t requests, hits, misses, promoted;
    uint64_t bytes_read, reads;               /* that arrived well, guesses included */
    uint64_t lookahead_reads, lookahead_used; /* started on a guess, and of them wanted later */
    uint64_t wait_us;                         /* time next waited for the disk */
    uint64_t evictions, retries;
} sluice_experts_stats;

typedef enum sluice_experts_priority {
    SLUICE_EXPERTS_DEMAND,
    SLUICE_EXPERTS_LOOKAHEAD,
    SLUICE_EXPERTS_SWEEP,
    SLUICE_EXPERTS_WARM,
    SLUICE_EXPERTS_PRIORITIES /* how many */
} sluice_experts_priority;

sluice_status sluice_experts_open(const sluice_experts_options *options, sluice_experts **out,
                                  sluice_error *err);
void sluice_experts_close(sluice_experts *experts);

/* Asks for n distinct experts of one layer. DEMAND: starts a ticket; every id is then handed out
 * exactly once by next, resident ones first. n may exceed the slots: further reads start as the
 * caller releases. Only one demand ticket is open at a time; an open one is abandoned. The caller
 * may hold at most slots_min records at once. It drops guesses about its layer that were wrong and
 * have not started.
 *
 * LOOKAHEAD, SWEEP and WARM: a hint, no ticket, queued behind demand, dropped when there is no
 * slot. A lookahead may evict. A sweep is nearly sure to be wanted next: it may evict three
 * quarters of the cache, and between tickets far more of it is under way at once, so that the disk
 * has enough to do until the next request. A warm start only takes free slots. n = 0 with LOOKAHEAD
 * only moves queued reads along. */
void sluice_experts_request(sluice_experts *experts, int32_t layer, const int32_t *ids, int32_t n,
                            sluice_experts_priority priority);

/* The next expert of the open ticket in order of arrival, pinned until release. *id is -1 when the
 * ticket is finished. A read that fails after retries is SLUICE_IO (or SLUICE_CORRUPT on a
 * checksum), naming layer, expert, file and offset; it ends the ticket and leaves the cache usable.
 */
sluice_status sluice_experts_next(sluice_experts *experts, int32_t *id, const void **record,
                                  sluice_error *err);
/* Whether next would hand one out without waiting for the disk, as far as is known. */
bool sluice_experts_ready(const sluice_experts *experts);
void sluice_experts_release(sluice_experts *experts, int32_t layer, int32_t id);
/* Gives up the open ticket, if any (reads under way finish into their slots). */
void sluice_experts_abandon(sluice_experts *experts);

/* Waits until no read is queued or under way: the end of a warm start. Only without a ticket, or
 * with slots for all of it. */
void sluice_experts_settle(sluice_experts *experts);

bool sluice_experts_resident(const sluice_experts *experts, int32_t layer, int32_t id);
/* The layer's last tickets found all that they wanted, and not because it had been guessed: working
 * out guesses costs more than they would bring. */
bool sluice_experts_calm(const sluice_experts *experts, int32_t layer);
void sluice_experts_stats_get(const sluice_experts *experts, sluice_experts_stats *stats);
int32_t sluice_experts_slots(const sluice_experts *experts);

/* Makes the pages of all slots now, on all threads of the pool, instead of as records first come:
 * reads into memory without pages are slow, the more so in a virtual machine whose host has to find
 * them too (doc/measurements/streaming.md). Right after opening. */
void sluice_experts_touch(sluice_experts *experts, sluice_pool *pool);

/* Makes the cache smaller, giving the pages of what it evicts back to the system, or larger again,
 * up to what it was opened with. Records that are pinned or on their way stay, and slots_min slots
 * always do: returns how many are left. Between steps. */
int32_t sluice_experts_resize(sluice_experts *experts, int32_t slots);
int32_t sluice_experts_slots_now(const sluice_experts *experts);
/* Whether every slot that there is now has been given to a record. */
bool sluice_experts_full(const sluice_experts *experts);
/* Folders that records are read from, and how many bytes have come from one. */
int32_t sluice_experts_folders(const sluice_experts *experts);
uint64_t sluice_experts_folder_bytes(const sluice_experts *experts, int32_t folder);
/* The engine that reads: "uring", "pread", ... */
const char *sluice_experts_io_name(const sluice_experts *experts);

#endif
