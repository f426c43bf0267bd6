/* Histograms of durations, as Prometheus has them. Any thread may add and write. */
#ifndef SLUICE_PROGRAMS_SERVER_HISTOGRAM_H
#define SLUICE_PROGRAMS_SERVER_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/buffer.h"

enum { SERVER_HISTOGRAM_BUCKETS = 14 };

typedef struct server_histogram {
    atomic_ullong counts[SERVER_HISTOGRAM_BUCKETS + 1]; /* the last: longer than all bounds */
    atomic_ullong sum_us;
} server_histogram;

void server_histogram_add(server_histogram *histogram, uint64_t us);
void server_histogram_write(server_histogram *histogram, const char *name, const char *help,
                            server_buffer *out);

#endif
