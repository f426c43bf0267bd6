/* Models of random weights with the geometry of real ones, for measuring what nobody has
 * downloaded.
 *
 * What: a container (doc/format.md) whose every byte is written and checksummed as if it had been
 * converted, at the speed of the disk. Activations stay finite and experts are chosen about
 * uniformly, which is the worst case for a cache. The text that it generates means nothing. */
#ifndef SLUICE_SYNTH_H
#define SLUICE_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_synth_plan {
    uint64_t output_bytes; /* of the finished container */
    uint64_t free_bytes;   /* on the target's file system */
    uint64_t weights;
    int32_t layers, vocab;
} sluice_synth_plan;

typedef struct sluice_synth_progress {
    uint64_t bytes_done, bytes_total;
    double bytes_per_second;
    double seconds, seconds_left; /* seconds_left < 0: not known yet */
} sluice_synth_progress;

typedef struct sluice_synth_options {
    const char *geometry; /* "qwen3.5-397b", "qwen3.5-122b", "qwen3.5-35b", or a config.json */
    int32_t layers;       /* 0: the geometry's */
    int32_t vocab;        /* 0: the geometry's; at least SLUICE_SYNTH_VOCAB_MIN */
    const char *experts;  /* "q2" "q3" "q4" "q5" "q6" "q8" "bf16"; NULL is "q4" */
    const char *trunk;    /* the same for everything else; NULL is "q8" */
    uint64_t seed;        /* the same seed and options give the same bytes */
    int threads;          /* writes in flight; 0: chosen */
    /* Both may be NULL; they are called in the thread that called synth, and returning false stops
     * it with SLUICE_CANCELLED, leaving nothing behind. starting comes once, before anything is
     * written; progress at most ten times a second and at the end. */
    bool (*starting)(void *context, const sluice_synth_plan *plan);
    bool (*progress)(void *context, const sluice_synth_progress *progress);
    void *context;
} sluice_synth_options;

#define SLUICE_SYNTH_VOCAB_MIN 261 /* the bytes and the family's special tokens */

/* What writing it would take. out says on which file system. */
sluice_status sluice_synth_measure(const char *out, const sluice_synth_options *options,
                                   sluice_synth_plan *plan, sluice_error *err);

/* Writes the folder out, which must not exist. Works in "OUT.synth" beside it and renames at the
 * very end, so out is whole or absent. The tokenizer that it gets knows single bytes only. Errors:
 * SLUICE_NO_SPACE (with the numbers) before anything is written; SLUICE_USAGE if out exists or is
 * being written, or an option is impossible; SLUICE_NOT_FOUND for an unknown geometry. */
sluice_status sluice_synth(const char *out, const sluice_synth_options *options, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
