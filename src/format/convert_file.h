/* Writing one file of a container by pieces, in parallel. Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_FILE_H
#define SLUICE_FORMAT_CONVERT_FILE_H

#include "base/pool.h"
#include "format/convert_plan.h"

typedef struct sluice_convert_run {
    sluice_plan *plan;
    const char *dir;
    const sluice_convert_options *options; /* may be NULL */
    sluice_pool *pool;
    uint64_t started_ns, reported_ns;
    uint64_t skipped_bytes; /* done by an earlier run */
    sluice_convert_progress progress;
} sluice_convert_run;

/* At most `wanted`, and few enough that all buffers together stay under 1 GiB. */
int sluice_convert_threads(const sluice_plan *plan, int wanted);

/* Writes file; it has its name only if this succeeds. */
sluice_status sluice_convert_file(sluice_convert_run *run, const sluice_plan_file *file,
                                  sluice_error *err);

/* Calls the progress callback, unless it was called less than 100 ms ago and this is not the last
 * time. SLUICE_CANCELLED if it says so. */
sluice_status sluice_convert_report(sluice_convert_run *run, bool last, sluice_error *err);

#endif
