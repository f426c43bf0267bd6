/* The inside of the expert cache, shared by its files: open.c makes and frees it, reads.c moves
 * records from the disk into slots, experts.c serves tickets, resize.c gives memory back.
 *
 * A slot goes FREE → QUEUED → READING → READY → FREE. It is in one list at a time: the free list,
 * that of the given back, a queue, or the arrived list of the ticket; the policy keeps its own
 * order of the READY ones.
 *
 *   pins      who may still look at the bytes: the ticket (one, until handed out, then that one is
 *             the caller's) and callers of earlier tickets. A pinned slot is never given up.
 *   in_ticket the open ticket waits for it or has not handed it out yet
 *   loose     QUEUED or READING and not in_ticket: lookahead, warm start, and what an abandoned
 *             ticket left on its way. Their number is bounded so that a demand always finds
 *             slots_min slots that are not theirs. */
#ifndef SLUICE_EXPERTS_CACHE_H
#define SLUICE_EXPERTS_CACHE_H

#include "experts/experts.h"
#include "experts/homes.h"
#include "experts/index_list.h"
#include "experts/policy.h"

/* A failing read is tried this often in all. */
#define SLUICE_EXPERTS_ATTEMPTS 3

typedef enum sluice_slot_state {
    SLOT_FREE,
    SLOT_QUEUED,
    SLOT_READING,
    SLOT_READY
} sluice_slot_state;

typedef struct sluice_slot {
    int32_t layer, id; /* meaningless while FREE */
    int32_t pins;
    uint8_t state, origin;  /* sluice_slot_state, sluice_experts_priority */
    uint8_t attempts, copy; /* copy: which of the layer's sources it is read from */
    bool in_ticket;
    uint64_t started_us; /* READING, if there are several homes */
    bool touched;        /* its memory has pages: a record has been read into it */
} sluice_slot;

/* A file that has a layer's records. */
typedef struct sluice_cache_source {
    int32_t file;
    const char *path; /* own copy */
} sluice_cache_source;

typedef struct sluice_cache_layer {
    int32_t first_key, count;
    uint32_t calm; /* tickets in a row, up to the last, that no read served or had served */
    uint64_t offset, stride;
    size_t bytes;
    sluice_cache_source sources[SLUICE_EXPERTS_COPIES_MAX + 1];
    uint8_t homes[SLUICE_EXPERTS_COPIES_MAX + 1]; /* of each source */
    int32_t n_sources;
    const uint32_t *crc32c; /* own copy, [count], or NULL */
} sluice_cache_layer;

typedef struct sluice_ticket {
    bool open;
    int32_t layer;
    int32_t remaining;                  /* not handed out yet */
    int32_t *pending;                   /* [largest count]; ids that have no slot yet */
    int32_t pending_first, pending_end; /* of them */
    sluice_index_list arrived;          /* slots, pinned */
    uint64_t busy_us;                   /* that the disk was at work while somebody waited for it */
    int32_t brought;                    /* reads that arrived meanwhile, guesses too */
    sluice_error error;                 /* code is not SLUICE_OK after a read failed for good */
} sluice_ticket;

/* How much can be read between the tickets of two layers, of late: how long the disk has nothing
 * that is demanded, how long a read takes while there are others behind it, and how often what was
 * read on a guess is then demanded. */
typedef struct sluice_pace {
    int32_t layer;    /* of the last ticket */
    uint64_t last_us; /* when a demanded read last arrived */
    uint64_t busy_us; /* since when the disk has been at work on what is under way */
    double gap_us, read_us;
    double guessed, right; /* reads begun on a guess, and those of them that were demanded */
} sluice_pace;

struct sluice_experts {
    int32_t n_layers, n_keys, n_slots, slots_min;
    sluice_cache_layer *layers;
    char *memory; /* [n_slots][slot_bytes] */
    size_t slot_bytes, memory_bytes;
    sluice_budget *budget;
    bool verify, owns_io;
    sluice_io *io;
    sluice_homes homes;
    sluice_io_read *batch; /* [io->capacity], scratch of submitting */
    sluice_io_done *done;  /* [io->capacity], scratch of waiting */
    int32_t in_flight, loose, loose_in_flight;
    int32_t depth; /* reads in flight, without sweeps */
    sluice_pace pace;
    int32_t *slot_of; /* [n_keys], -1 if the key has no slot */
    sluice_slot *slots;
    sluice_index_link *links;
    sluice_index_list unused, queues[SLUICE_EXPERTS_PRIORITIES];
    sluice_index_list returned; /* slots whose memory was given back to the system */
    sluice_cache_policy *policy;
    sluice_ticket ticket;
    void (*trace)(void *context, int32_t layer, const int32_t *ids, int32_t n);
    void *trace_context;
    sluice_experts_stats stats;
};

/* Gives key's record a slot and queues its read; false if there is no slot for this priority. */
bool sluice_cache_queue(sluice_experts *experts, int32_t layer, int32_t id,
                        sluice_experts_priority priority);
/* A slot that is not free joins the ticket: a resident record is there to be handed out, a queued
 * or running guess becomes a demand. */
void sluice_cache_attach(sluice_experts *experts, int32_t slot);
/* Gives the ticket's pending ids slots as far as there are any, and submits what fits. */
void sluice_cache_pump(sluice_experts *experts);
/* Takes completions, waiting for at least min; the ticket's go to its arrived list. */
void sluice_cache_reap(sluice_experts *experts, int min);
/* Forgets the record of a slot, which the caller has taken off its list; the slot is free. */
void sluice_cache_forget(sluice_experts *experts, int32_t slot);
/* Evicts one record; false if all are busy. */
bool sluice_cache_evict(sluice_experts *experts);
/* Drops queued guesses about a layer. */
void sluice_cache_drop_guesses(sluice_experts *experts, int32_t layer);
/* A ticket opens or ends: measures the pace. */
void sluice_cache_pace_open(sluice_experts *experts, int32_t layer);
void sluice_cache_pace_close(sluice_experts *experts);
/* Closes the ticket: unpins what it holds, forgets its queued reads, lets running ones finish. */
void sluice_cache_end_ticket(sluice_experts *experts);

#endif
