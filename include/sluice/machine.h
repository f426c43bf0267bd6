/* What this machine can do at best: the limits that a measured speed is compared with, and that a
 * plan is reckoned from. And running a program under a memory limit, to see what less memory would
 * mean.
 *
 * Everything here is a real measurement of a second or so; nothing is kept between calls. */
#ifndef SLUICE_MACHINE_H
#define SLUICE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- disk ---- */

typedef struct sluice_disk_options {
    const char *io;      /* as in sluice_engine_options; NULL is "auto" */
    uint64_t read_bytes; /* of each read, rounded up to 4096; 0: a record of the model, or 8 MB */
    double seconds;      /* that reading may take; 0 is 1 */
} sluice_disk_options;

typedef struct sluice_disk_speed {
    double bytes_per_second; /* of random reads */
    uint64_t read_bytes;
    int32_t depth; /* reads in flight, as many as the engine has */
    char io[16];   /* the engine that read: "uring", ... */
} sluice_disk_speed;

/* Reads as the engine reads experts: whole records at random places, directly, into huge pages.
 * path is a container, whose own files are read, or another folder, where a file of 1 GB is written
 * for it and deleted again. options may be NULL. */
sluice_status sluice_measure_disk(const char *path, const sluice_disk_options *options,
                                  sluice_disk_speed *speed, sluice_error *err);

/* ---- memory ---- */

/* All threads read through 256 MB again and again, or through four times what the last-level cache
 * holds if that is more and memory has room. threads 0: as many as an engine would use. */
sluice_status sluice_measure_memory(int threads, double seconds, double *bytes_per_second,
                                    sluice_error *err);

/* ---- a limit ---- */

/* Runs argv[0] (a path) with argv in a new control group of at most bytes of memory, version 1 or
 * 2, waits for it and removes the group. *exit_status is what a shell would see (128 + signal for a
 * killed program). SLUICE_UNSUPPORTED in one sentence where groups cannot be made (no root, no
 * memory controller); nothing has run then. */
sluice_status sluice_run_limited(uint64_t bytes, char *const argv[], int *exit_status,
                                 sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
