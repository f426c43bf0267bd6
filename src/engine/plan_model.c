/* See plan_model.h. */
#include "engine/plan_model.h"

#include <math.h>
#include <stddef.h>

/* A disk may be that much faster a second after its speed was measured. */
#define STREAM_MAX 1.25

double sluice_plan_hits_uniform(const sluice_plan_work *work)
{
    double share = work->cache_bytes / work->bank_bytes;
    return share < 1 ? share : 1;
}

/* Misses fall as a power of the share between the field's two points (1/8: 33%, 1/4: 19%), which is
 * carried on below them; above they fall in a line to none. Never worse than uniform choice. */
double sluice_plan_hits_recency(const sluice_plan_work *work)
{
    const double low = 0.125, low_misses = 0.33, high = 0.25, high_misses = 0.19;
    double share = sluice_plan_hits_uniform(work), misses;
    if (share <= 0) return 0;
    if (share < high)
        misses = low_misses * pow(share / low, log(high_misses / low_misses) / log(high / low));
    else
        misses = high_misses * (1 - share) / (1 - high);
    return misses < 1 - share ? 1 - misses : share;
}

/* No more guesses are begun than the disk can read before the next demand (experts/reads.c); gap is
 * that time, read that of one. */
static double guesses_read(const sluice_plan_work *work, double gap, double read)
{
    if (work->precision > 0 || read <= 0) return work->guesses;
    double most = 1 + gap / read;
    return work->guesses < most ? work->guesses : most;
}

/* The best guesses are right more often than the next ones: 0.77 of 4 among 10, 0.64 of 8 among 10,
 * 0.52 of 4 among 4 with random weights; 0.6 to 0.8 of 4 to 6 in the field. */
static double precision(const sluice_plan_work *work, double k, double guesses)
{
    if (work->precision > 0) return work->precision;
    double part = guesses > 0 ? 0.52 * pow(k / guesses, 0.42) : 0;
    return part < 0.9 ? part : 0.9;
}

/* Reading takes from computing: memory's bandwidth, and time of the processor where it is a virtual
 * one. misses: the part of experts that is read. */
static double slowdown(const sluice_plan_work *work, double misses)
{
    return work->slowdown > 1 ? 1 + (work->slowdown - 1) * misses : 1;
}

double sluice_plan_decode(const sluice_plan_work *work, double k, double hits, bool *disk_bound)
{
    double slow = slowdown(work, 1 - hits), expert = slow * work->points[0].expert_seconds;
    double trunk = slow * work->points[0].trunk_seconds / work->layers;
    double shared = trunk * work->shared_share, compute = k * expert;
    double record = (1 - hits) * work->record_bytes / work->stream_speed; /* hits cost nothing */
    double guesses = guesses_read(work, trunk - shared, work->record_bytes / work->stream_speed);
    double right = guesses * precision(work, k, guesses), wrong = guesses - right;
    if (right > k) right = k;
    double read = (k - right) * record, last = (k - right) * (1 - hits);
    double reading = (read > shared ? read - shared : 0) + (last < 1 ? last : 1) * expert;
    double layer = trunk + (reading > compute ? reading : compute), disk = (k + wrong) * record;
    if (disk_bound) *disk_bound = reading > compute || disk > layer;
    return slow * work->head_seconds + work->layers * (disk > layer ? disk : layer);
}

double sluice_plan_stream_speed(const sluice_plan_work *work, double hits, double seconds)
{
    sluice_plan_work trial = *work;
    double low = work->disk_speed / 4, high = work->disk_speed * STREAM_MAX;
    for (int i = 0; i < 40; i++) {
        trial.stream_speed = (low + high) / 2;
        if (sluice_plan_decode(&trial, work->top_k, hits, NULL) > seconds)
            low = trial.stream_speed;
        else
            high = trial.stream_speed;
    }
    return high;
}

/* Between the measured points, and beyond the last, in a line. */
static double interpolate(const sluice_plan_point *points, double at,
                          double (*x)(const sluice_plan_point *point),
                          double (*y)(const sluice_plan_point *point))
{
    int i = 1;
    while (i + 1 < SLUICE_PLAN_POINTS && at > x(&points[i]))
        i++;
    const sluice_plan_point *a = &points[i - 1], *b = &points[i];
    double slope = (y(b) - y(a)) / (x(b) - x(a)), value = y(a) + slope * (at - x(a));
    return value > 0 ? value : 0;
}

static double rows(const sluice_plan_point *point)
{
    return point->rows;
}

static double trunk_seconds(const sluice_plan_point *point)
{
    return point->trunk_seconds;
}

static double expert_rows(const sluice_plan_point *point)
{
    return point->expert_rows;
}

static double expert_seconds(const sluice_plan_point *point)
{
    return point->expert_seconds;
}

/* One batch of n rows with a share of the chosen experts in memory. */
static double batch(const sluice_plan_work *work, double n, double hits)
{
    double distinct = work->experts * (1 - pow(1 - work->top_k / work->experts, n));
    double each = n * work->top_k / distinct;
    double slow = slowdown(work, 1 - hits);
    double compute = slow * distinct * interpolate(work->points, each, expert_rows, expert_seconds);
    double read = distinct * (1 - hits) * work->record_bytes / work->disk_speed;
    double trunk = slow * interpolate(work->points, n, rows, trunk_seconds);
    double layer = trunk / work->layers, ahead = layer * work->shared_share;
    if (2 * distinct >= work->experts) {
        double sweep = work->sweep_records * (1 - hits) * work->record_bytes / work->disk_speed;
        ahead += sweep < layer - ahead ? sweep : layer - ahead;
    }
    read = read > ahead ? read - ahead : 0;
    return trunk + work->layers * (read > compute ? read : compute);
}

/* A sweep over more experts than fit finds little: what is there goes before its layer comes. */
double sluice_plan_prefill(const sluice_plan_work *work, int32_t prompt, int32_t chunk)
{
    double share = sluice_plan_hits_uniform(work), seconds = work->head_seconds;
    for (int32_t left = prompt; left > 0; left -= chunk)
        seconds += batch(work, left < chunk ? left : chunk, share * share);
    return seconds;
}
