/* Histograms; see histogram.h. */
#include "server/histogram.h"

/* Seconds: from a token of a small model to the prompt of a large one on a slow disk. */
static const double bounds[SERVER_HISTOGRAM_BUCKETS] = {0.003, 0.01, 0.03, 0.1, 0.3, 1,    3,
                                                        10,    30,   60,   180, 600, 1800, 3600};

void server_histogram_add(server_histogram *histogram, uint64_t us)
{
    int bucket = 0;
    while (bucket < SERVER_HISTOGRAM_BUCKETS && (double)us / 1e6 > bounds[bucket])
        bucket++;
    atomic_fetch_add(&histogram->counts[bucket], 1);
    atomic_fetch_add(&histogram->sum_us, us);
}

void server_histogram_write(server_histogram *histogram, const char *name, const char *help,
                            server_buffer *out)
{
    unsigned long long count = 0;
    server_buffer_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s histogram\n", name, help,
                         name);
    for (int i = 0; i < SERVER_HISTOGRAM_BUCKETS; i++) {
        count += atomic_load(&histogram->counts[i]);
        server_buffer_printf(out, "sluice_%s_bucket{le=\"%g\"} %llu\n", name, bounds[i], count);
    }
    count += atomic_load(&histogram->counts[SERVER_HISTOGRAM_BUCKETS]);
    server_buffer_printf(out,
                         "sluice_%s_bucket{le=\"+Inf\"} %llu\nsluice_%s_sum %.6f\n"
                         "sluice_%s_count %llu\n",
                         name, count, name, (double)atomic_load(&histogram->sum_us) / 1e6, name,
                         count);
}
