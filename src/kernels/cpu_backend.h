/* The CPU backend: the room's one header for others.
 *
 * Implements backend/backend.h on row kernels chosen by CPU flags, over a thread pool. Buffers are
 * ordinary memory. All scratch is taken at creation.
 *
 * Integer mode (exact = false) quantises the activations that enter affine matrices to int8; norms,
 * attention, the delta rule and routing stay f32. */
#ifndef SLUICE_KERNELS_CPU_BACKEND_H
#define SLUICE_KERNELS_CPU_BACKEND_H

#include <stdbool.h>

#include "backend/backend.h"
#include "base/memory.h"
#include "base/pool.h"

typedef struct sluice_cpu_options {
    int32_t rows_max;      /* rows of a step, >= 1 */
    sluice_pool *pool;     /* not owned; the backend's thread is its caller */
    uint32_t cpu_flags;    /* os/cpu.h; a subset of what the machine has */
    bool exact;            /* f32 activations everywhere */
    sluice_budget *budget; /* not owned; may be NULL */
} sluice_cpu_options;

/* Geometry sizes must be positive except those of a mixer or expert kind that the model lacks,
 * which are zero; SLUICE_UNSUPPORTED otherwise. The geometry is copied. Scratch is charged as
 * "scratch". */
sluice_status sluice_cpu_backend_new(const sluice_geometry *geometry,
                                     const sluice_cpu_options *options, sluice_backend **out,
                                     sluice_error *err);

/* Bytes of scratch that new takes for rows_max rows and a pool of threads. */
uint64_t sluice_cpu_backend_bytes(const sluice_geometry *geometry, int32_t rows_max, int threads,
                                  bool exact);

#endif
