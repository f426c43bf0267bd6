/* Writing the tensor files of a random container (the work behind synth.c). */
#ifndef SLUICE_FORMAT_SYNTH_WRITE_H
#define SLUICE_FORMAT_SYNTH_WRITE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "format/blueprint.h"
#include "format/random_weights.h"
#include "sluice/synth.h"

#define SLUICE_SYNTH_SOURCES_MAX 8

typedef struct sluice_synth_job {
    const sluice_blueprint *plan;
    const sluice_synth_options *options;
    const char *dir; /* where the files go */
    char fingerprint[SLUICE_FINGERPRINT_BYTES];
    sluice_pool *pool;
    int threads;
    unsigned char **buffers; /* [threads], of buffer_bytes, 2 MiB aligned */
    size_t buffer_bytes;
    sluice_random_weights sources[SLUICE_SYNTH_SOURCES_MAX]; /* one per format and variance */
    int n_sources;
    uint64_t start_us, shown_us;
    atomic_ullong bytes_done;
    /* The first thing that went wrong; tasks that find it set return at once. */
    atomic_bool failed;
    pthread_mutex_t lock;
    sluice_status status;
    sluice_error err;
} sluice_synth_job;

/* buffers and threads must not be set; the plan, options, dir and fingerprint must. */
sluice_status sluice_synth_job_start(sluice_synth_job *job, sluice_error *err);
void sluice_synth_job_end(sluice_synth_job *job);

sluice_status sluice_synth_write_trunk(sluice_synth_job *job, sluice_error *err);
sluice_status sluice_synth_write_layer(sluice_synth_job *job, int32_t layer, sluice_error *err);

/* Tells the caller how far it is, at most ten times a second unless last; false: stop. */
bool sluice_synth_report(sluice_synth_job *job, bool last);

#endif
