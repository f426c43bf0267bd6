/* What a bench tells: rows of medians and spreads, as a table, as JSON and as CSV. */
#ifndef SLUICE_PROGRAMS_BENCH_REPORT_H
#define SLUICE_PROGRAMS_BENCH_REPORT_H

#include <stdio.h>

#include "bench_run.h"

/* A point over its repetitions. Times are milliseconds a token, bytes are a token's. */
typedef struct bench_row {
    bool prefill;
    int32_t context, tokens;
    bench_spread tokens_per_second;
    double total_ms, trunk_ms, experts_ms, waiting_ms, head_ms, other_ms;
    double experts_per_token; /* of all layers */
    double bytes_read, missed_bytes, touched_bytes;
    double hit_rate;
    double lookahead_recall;    /* of the experts wanted, those that were guessed; -1: none were */
    double lookahead_precision; /* of the experts guessed, those that were wanted; -1: none */
    double read_bytes_per_second;
    double floor_ms;
    bool floor_is_disk;
    bench_spread floor_fraction; /* floor over time */
} bench_row;

/* rows has room for n_points; the bounds of the whole run are the medians of its probes. */
void bench_rows(const bench_result *result, bench_row *rows);

void bench_print_table(const bench_result *result, const bench_row *rows);
json_t *bench_json(const bench_result *result, const bench_row *rows);
/* A header and a line a row. */
void bench_print_csv(FILE *out, const bench_result *result, const bench_row *rows);

#endif
