/* See plan_model.h. */
#include "engine/plan_model.h"

#include <math.h>
#include <stddef.h>

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

/* The best guesses are right more often than the next ones: 0.77 of 4 among 10, 0.64 of 8 among 10,
 * 0.52 of 4 among 4 with random weights; 0.6 to 0.8 of 4 to 6 in the field. */
static double precision(const sluice_plan_work *work, double k)
{
    if (work->precision > 0) return work->precision;
    double part = work->guesses > 0 ? 0.52 * pow(k / work->guesses, 0.42) : 0;
    return part < 0.9 ? part : 0.9;
}

double sluice_plan_decode(const sluice_plan_work *work, double k, double hits, bool *disk_bound)
{
    const sluice_plan_point *one = &work->points[0];
    double trunk = one->trunk_seconds / work->layers, shared = trunk * work->shared_share;
    double compute = k * one->expert_seconds;
    double record = (1 - hits) * work->record_bytes / work->stream_speed; /* hits cost nothing */
    double right = work->guesses * precision(work, k), wrong = work->guesses - right;
    if (right > k) right = k;
    double read = (k - right) * record, last = (k - right) * (1 - hits);
    double reading =
        (read > shared ? read - shared : 0) + (last < 1 ? last : 1) * one->expert_seconds;
    double layer = trunk + (reading > compute ? reading : compute), disk = (k + wrong) * record;
    if (disk_bound) *disk_bound = reading > compute || disk > layer;
    return work->head_seconds + work->layers * (disk > layer ? disk : layer);
}

double sluice_plan_stream_speed(const sluice_plan_work *work, double hits, double seconds)
{
    sluice_plan_work trial = *work;
    double low = work->disk_speed / 4, high = work->disk_speed;
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
    double compute = distinct * interpolate(work->points, each, expert_rows, expert_seconds);
    double read = distinct * (1 - hits) * work->record_bytes / work->disk_speed;
    double trunk = interpolate(work->points, n, rows, trunk_seconds);
    double shared = trunk * work->shared_share / work->layers;
    read = read > shared ? read - shared : 0;
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
