/* Measuring a model: the same work again and again, and what each repetition cost.
 *
 * A repetition walks through the frontiers: up to each of them it fills the context, then measures
 * the prefill of some tokens there, and then, once the cache has turned over, decoding. Memory is
 * measured at the beginning of each repetition, the disk before and after each of its measurements,
 * so that what else runs on the machine burdens both sides. Tokens are drawn at random. */
#ifndef SLUICE_PROGRAMS_BENCH_RUN_H
#define SLUICE_PROGRAMS_BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "output.h"
#include "sluice/machine.h"
#include "sluice/sluice.h"

enum { BENCH_FRONTIERS_MAX = 16, BENCH_REPETITIONS_MAX = 64 };

typedef struct bench_plan {
    int32_t frontiers[BENCH_FRONTIERS_MAX], n_frontiers; /* ascending */
    int32_t prefill, decode;                             /* tokens measured; 0: leave out */
    int32_t warmup;                                      /* decoded before; -1: until warm */
    int32_t repetitions;
    uint64_t seed;
    const char *io; /* NULL: auto */
} bench_plan;

/* One measurement. */
typedef struct bench_sample {
    int32_t context; /* tokens before it */
    int32_t tokens;
    double seconds, trunk, experts, waiting, head;   /* seconds is all, others parts of it */
    double requests, hits, missed_bytes, bytes_read; /* of experts */
    double uses;                                     /* of experts, by each token */
    double touched_bytes;                            /* weights that had to pass the processor */
    double disk_speed;             /* bytes/s, the mean of just before and just after */
    double guessed, wanted, right; /* experts of layers that were looked ahead for */
} bench_sample;

typedef struct bench_point {
    bool prefill;
    int32_t frontier;
    bench_sample samples[BENCH_REPETITIONS_MAX]; /* [repetitions done] */
} bench_point;

typedef struct bench_result {
    bench_plan plan;
    sluice_model_info info;
    sluice_disk_speed disk; /* of the last repetition, for what it says besides the speed */
    double disk_speeds[BENCH_REPETITIONS_MAX]; /* bytes/s, the mean of each repetition */
    double memory_speeds[BENCH_REPETITIONS_MAX];
    bench_point points[2 * BENCH_FRONTIERS_MAX];
    int32_t n_points, repetitions; /* done */
    uint64_t memory_peak_bytes, rss_peak_bytes;
} bench_result;

/* Tokens of context that a plan needs with this many warm-up tokens at most. */
enum { BENCH_WARMUP_MAX = 512 };
int32_t bench_context(const bench_plan *plan);

/* An interrupted run keeps the whole repetitions that it has, if any. Tells what went wrong; an
 * exit status. path: the container's folder. */
int bench_run(sluice_engine *engine, const char *path, const bench_plan *plan,
              cli_progress *progress, bench_result *result);

/* Median, smallest and largest of n numbers. */
typedef struct bench_spread {
    double median, low, high;
} bench_spread;
bench_spread bench_spread_of(const double *values, int32_t n);

#endif
