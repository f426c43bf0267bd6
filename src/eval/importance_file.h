/* The sums of a measurement in memory, and writing them (format/importance.h is the file). */
#ifndef SLUICE_EVAL_IMPORTANCE_FILE_H
#define SLUICE_EVAL_IMPORTANCE_FILE_H

#include "format/importance.h"

typedef struct sluice_importance_sums {
    const sluice_config *config; /* not owned */
    sluice_importance_blocks blocks;
    float *values; /* all tensors in the order of the file */
    uint64_t floats;
    uint64_t *offsets; /* [layers * PLACES + 1] */
} sluice_importance_sums;

sluice_status sluice_importance_sums_new(const sluice_config *config,
                                         const sluice_importance_blocks *blocks,
                                         sluice_importance_sums *out, sluice_error *err);
void sluice_importance_sums_free(sluice_importance_sums *sums);

/* Where a tensor lies; layer is ignored for the head's. */
float *sluice_importance_sum(const sluice_importance_sums *sums, int32_t layer,
                             sluice_importance_place place);

/* All or nothing. */
sluice_status sluice_importance_save(const sluice_importance_sums *sums, const char *model,
                                     int64_t tokens, const char *path, sluice_error *err);

#endif
