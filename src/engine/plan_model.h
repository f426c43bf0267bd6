/* The arithmetic of a plan: from what a machine does per byte and per row to tokens per second.
 * Pure functions of numbers; measuring is plan_probe.h.
 *
 * Decoding, a layer: the mixer and router; then the shared expert and the experts that are in
 * memory are computed while the others are read; each of these is computed when it has landed. So
 * routed experts take as long as computing all of them, or as reading what is missing and computing
 * the last of it, whichever is longer. What lookahead
 * guessed rightly has been read before, while the disk had nothing else to do; the disk's own time,
 * wrong guesses included, is a bound of its own. A prompt: the same with all experts that its rows
 * choose, and no guesses. */
#ifndef SLUICE_ENGINE_PLAN_MODEL_H
#define SLUICE_ENGINE_PLAN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { SLUICE_PLAN_POINTS = 3 };

/* What was measured with a number of rows at a time. */
typedef struct sluice_plan_point {
    double rows, trunk_seconds;         /* of all layers, for all rows */
    double expert_rows, expert_seconds; /* one expert, on so many rows on average */
} sluice_plan_point;

typedef struct sluice_plan_work {
    double layers, experts, top_k;
    double record_bytes, cache_bytes, bank_bytes;
    double disk_speed;   /* bytes/s, reading on and on: prompts */
    double stream_speed; /* what decoding gets of it, with its pauses between layers */
    sluice_plan_point points[SLUICE_PLAN_POINTS]; /* rows ascending, the first is 1 */
    double head_seconds;                          /* one row */
    double slowdown;           /* what the above is multiplied by while the disk is read; 0: 1 */
    double guesses, precision; /* of lookahead, a layer, that are read; the part that is right; 0:
                                  by k, and guesses are at most so many */
    double sweep_records;      /* of a prompt, read while the next layer's mixer runs */
    double shared_share; /* of the trunk's time, the shared experts' part: reads go on meanwhile */
} sluice_plan_work;

double sluice_plan_hits_uniform(const sluice_plan_work *work);
double sluice_plan_hits_recency(const sluice_plan_work *work);

/* Seconds of a token; *disk_bound, if not NULL: whether reading takes longer than computing
 * experts. */
double sluice_plan_decode(const sluice_plan_work *work, double k, double hits, bool *disk_bound);

/* The stream_speed with which a token would take so many seconds: what a measured token tells of
 * the disk. Between a quarter of disk_speed and a
 * quarter more than it. */
double sluice_plan_stream_speed(const sluice_plan_work *work, double hits, double seconds);

/* Seconds of a prompt of so many tokens in chunks, uniform choice, starting with a full cache of
 * anything. */
double sluice_plan_prefill(const sluice_plan_work *work, int32_t prompt, int32_t chunk);

#endif
