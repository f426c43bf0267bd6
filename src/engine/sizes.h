/* How a memory budget is shared out, before anything is loaded.
 *
 * What: trunk, sequence states and scratch are counted from the model's headers; what is left is
 * the expert cache's. Context and chunk shrink to fit when the caller left them open; below the
 * floor it refuses with all the numbers. Pure arithmetic: no memory is taken here.
 *
 * What it does not do: ask the machine (machine_budget does), or enforce (base/memory.h does). */
#ifndef SLUICE_ENGINE_SIZES_H
#define SLUICE_ENGINE_SIZES_H

#include "format/container.h"
#include "model/state.h"
#include "sluice/sluice.h"

/* Records that must fit beside those of one row's experts, so that reads overlap with use. */
#define SLUICE_CACHE_SLOTS_SPARE 4

typedef struct sluice_sizes {
    uint64_t memory_bytes; /* the budget */
    uint64_t trunk_bytes;
    uint64_t state_bytes; /* of one session */
    int32_t sessions;
    uint64_t scratch_bytes;
    uint64_t cache_bytes;       /* of the expert cache */
    uint64_t cache_floor_bytes; /* what it needs at least */
    uint64_t bank_bytes;        /* all records of all layers */
    sluice_kv_type kv;
    int32_t context, chunk;
    int32_t logits_rows; /* rows of logits in memory at a time */
    int32_t lookahead;   /* guesses of a row; 0: none */
    bool embedding_on_disk;
} sluice_sizes;

/* What of a model takes memory: read off a container, or worked out for one that does not exist. */
typedef struct sluice_sizes_model {
    const sluice_config *config;
    sluice_weight_format embedding; /* of the table */
    bool embedding_on_disk;
    uint64_t trunk_bytes;  /* that stay in memory, adapters among them */
    int32_t low_rank;      /* of adapters: sluice_geometry.low_rank */
    uint64_t record_bytes; /* of the largest expert */
    uint64_t bank_bytes;
} sluice_sizes_model;

sluice_status sluice_sizes_measure(const sluice_container *container, sluice_sizes_model *model,
                                   sluice_error *err);
/* Whether a table of so many bytes is read from disk a row at a time. */
bool sluice_sizes_embedding_on_disk(const sluice_config *config, uint64_t bytes);

/* memory_bytes: the budget. options: context, chunk, sessions and cache_bytes are honoured where
 * they are set; threads must be set. SLUICE_USAGE: one of them is impossible; SLUICE_NO_MEMORY: the
 * budget is below the floor (sizes then says which: sluice_sizes_floor). */
sluice_status sluice_sizes_plan(const sluice_sizes_model *model,
                                const sluice_engine_options *options, uint64_t memory_bytes,
                                sluice_sizes *sizes, sluice_error *err);

/* The least budget with these sizes. */
uint64_t sluice_sizes_floor(const sluice_sizes *sizes);

/* What the engine may take on this machine when the caller does not say: what is free now, within
 * cgroup limits, less some slack. */
sluice_status sluice_sizes_machine(uint64_t *memory_bytes, sluice_error *err);

#endif
