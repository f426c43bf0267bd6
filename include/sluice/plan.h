/* What a model would do on this machine, before anything is downloaded.
 *
 * What: real measurements of some seconds (the disk, memory, and the kernels on a small model of
 * the same geometry), and from them what fits, how often an expert would be found in memory, and
 * tokens per second for several numbers of experts and bits. bench/plan-vs-bench.sh compares what
 * it says with what bench measures.
 *
 * What it does not say: how good the answers are. Fewer experts or bits change them. */
#ifndef SLUICE_PLAN_H
#define SLUICE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/machine.h"
#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SLUICE_PLAN_RATES_MAX = 16 };

typedef struct sluice_plan_options {
    const char *model;     /* a folder, converted or not; or NULL, and then */
    const char *geometry;  /* as in synth.h */
    int32_t layers, vocab; /* of the geometry; 0: its own */
    const char *experts;   /* format; NULL: the model's, or "q4" */
    const char *trunk;     /* format; NULL: the model's, or "q8" */
    const char *disk;      /* a folder on the disk to measure; NULL: the model's parent, or "." */
    uint64_t memory_bytes; /* as in sluice_engine_options, like the next five */
    int threads;
    const char *cpu, *io;
    bool exact;
    const char *kv; /* as in sluice_levers */
    int32_t context, chunk;
    int32_t prompt; /* tokens of the prompt whose time is told; 0 is 512 */
    /* Asked now and then; true ends it with SLUICE_CANCELLED. May be NULL. */
    bool (*interrupted)(void *context);
    void *callback_context;
} sluice_plan_options;

/* All defaults; change what differs. */
sluice_plan_options sluice_plan_options_default(void);

/* Decoding one sequence with k experts a layer of so many bits. hits are the share of experts found
 * in memory, in two cases: uniform (every expert as likely as any other, the worst case: the share
 * that fits), and recency (what the field has measured with an LRU cache and 512 experts: 67% with
 * an eighth of them in memory, 81% with a quarter; other shares are put between these). */
typedef struct sluice_plan_rate {
    char format[24]; /* of the experts: "q4/64/bf16" */
    int32_t bits, k;
    uint64_t record_bytes, disk_bytes,
        cache_bytes;       /* one expert; the container; memory for experts */
    double expert_seconds; /* one expert on one row */
    double hits_uniform, hits_recency;
    double rate_uniform, rate_recency; /* tokens per second; 0: does not fit */
    bool disk_bound;                   /* reading takes longest, with uniform choice */
} sluice_plan_rate;

typedef enum sluice_plan_help {
    SLUICE_PLAN_HELP_DISK,   /* twice as fast */
    SLUICE_PLAN_HELP_MEMORY, /* twice as much for experts */
    SLUICE_PLAN_HELP_CORES,  /* computing twice as fast */
    SLUICE_PLAN_HELPS
} sluice_plan_help;

typedef struct sluice_plan {
    /* Measured. */
    sluice_disk_speed disk;
    double stream_speed;  /* bytes/s: what decoding gets of the disk, with its pauses */
    double slowdown;      /* computing takes so many times as long while the disk is read */
    double memory_speed;  /* bytes/s */
    double trunk_seconds; /* of a decoded token, without routed experts and head */
    double head_seconds;
    int threads;
    double seconds; /* that measuring took */

    /* What it is about. */
    int32_t layers, attention_layers, hidden, vocab, experts, top_k;
    char expert_format[24], trunk_format[24];
    uint64_t weights;

    /* Memory and disk, with the model's own formats. */
    bool fits;             /* memory_bytes is at least floor_bytes */
    uint64_t memory_bytes; /* the budget */
    uint64_t floor_bytes;  /* the least budget that works */
    uint64_t trunk_bytes, state_bytes, scratch_bytes, cache_bytes, bank_bytes;
    int32_t context, chunk;
    uint64_t disk_bytes, disk_free_bytes;
    bool on_disk; /* the model is there already, converted */

    /* Speed. rates[0] is the model as it is; then fewer experts, then fewer bits. */
    sluice_plan_rate rates[SLUICE_PLAN_RATES_MAX];
    int32_t n_rates;
    int32_t prompt;
    double prompt_seconds;          /* uniform choice */
    double help[SLUICE_PLAN_HELPS]; /* factor on rate_uniform of rates[0] */
} sluice_plan;

/* Takes about ten seconds, up to 1.5 GB of disk space (given back) and as much memory. Neither the
 * model nor anything else is changed. */
sluice_status sluice_plan_make(const sluice_plan_options *options, sluice_plan *plan,
                               sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
