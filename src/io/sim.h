/* A simulated disk: an I/O engine with seeds and faults, for tests.
 *
 * The same seed and the same calls give the same completions in the same order; time is a counter,
 * so nothing sleeps and thousands of runs take seconds. Until a read is complete its buffer holds
 * rubbish, so that whoever looks early is caught. */
#ifndef SLUICE_IO_SIM_H
#define SLUICE_IO_SIM_H

#include "io/io.h"

typedef struct sluice_io_sim_file {
    const char *path;
    const void *data; /* not copied */
    uint64_t bytes;
} sluice_io_sim_file;

/* Shares are per thousand. */
typedef struct sluice_io_sim_options {
    uint64_t seed;
    int depth;
    const sluice_io_sim_file *files; /* in memory; a path that is not among them is a real file */
    int n_files;
    uint32_t latency_max;    /* ticks; a read takes 1 to this many, so reads overtake each other */
    uint32_t short_permille; /* transfers that stop early (the engine continues them) */
    uint32_t error_permille; /* reads that fail with EIO, this time */
    uint32_t corrupt_permille; /* reads that deliver a wrong byte and no error, this time */
    uint32_t bad_permille;     /* offsets that fail with EIO every time */
    uint32_t refuse_permille;  /* submits that take fewer reads than they could */
    uint64_t unplug_after;     /* reads after which all fail; 0 for never */
} sluice_io_sim_options;

typedef struct sluice_io_sim_counts {
    uint64_t reads, shorts, errors, corruptions;
} sluice_io_sim_counts;

sluice_status sluice_io_sim_new(const sluice_io_sim_options *options, sluice_io **out,
                                sluice_error *err);
void sluice_io_sim_counts_get(const sluice_io *io, sluice_io_sim_counts *counts);

/* From now on the disk has no faults; what is damaged already stays so. */
void sluice_io_sim_heal(sluice_io *io);

/* Whether reads that start there always fail. */
bool sluice_io_sim_is_bad(const sluice_io *io, int32_t file, uint64_t offset);

#endif
