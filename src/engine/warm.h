/* A warm start: the experts that earlier runs asked for most often are read before the first token.
 *
 * What: counts demands, keeps the counts of all runs in a small file in the user's cache folder
 * (older runs count half), and at the next start fills the cache with the most wanted. The file is
 * named after the model's fingerprint, so that it never serves another model.
 *
 * It changes what is in memory and never a result. A file that is missing, damaged or cannot be
 * written is no error: then the start is a cold one.
 *
 * What it does not do: choose what stays later; that is the cache policy's. */
#ifndef SLUICE_ENGINE_WARM_H
#define SLUICE_ENGINE_WARM_H

#include "experts/experts.h"

typedef struct sluice_warm sluice_warm;

sluice_status sluice_warm_new(int32_t layers, int32_t experts, uint32_t fingerprint,
                              sluice_warm **out, sluice_error *err);
/* Also writes the file. */
void sluice_warm_free(sluice_warm *warm);

/* Reads the most wanted into the cache and waits for them. */
void sluice_warm_start(sluice_warm *warm, sluice_experts *experts);

void sluice_warm_count(sluice_warm *warm, int32_t layer, const int32_t *ids, int32_t n);

#endif
