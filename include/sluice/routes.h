/* Recorded routing: which experts a model asked for, and how often a cache would have had them.
 *
 * A trace is text, one line a step and layer: the layer, then the experts wanted at once. sluice
 * trace writes it (sluice_engine_options.routes is where it comes from). */
#ifndef SLUICE_ROUTES_H
#define SLUICE_ROUTES_H

#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_routes sluice_routes;

/* SLUICE_BAD_INPUT names the line that is none. */
sluice_status sluice_routes_load(const char *path, sluice_routes **out, sluice_error *err);
void sluice_routes_free(sluice_routes *routes);

typedef struct sluice_routes_info {
    int32_t steps;           /* lines */
    int32_t layers, experts; /* that occur, at least */
    int64_t requests;
} sluice_routes_info;
sluice_routes_info sluice_routes_describe(const sluice_routes *routes);

/* How many of the requests from line first on a cache of so many slots has, by a policy of
 * sluice_cache_policies or by "oracle", which knows the future: no policy hits more often. */
sluice_status sluice_routes_replay(const sluice_routes *routes, const char *policy, int32_t slots,
                                   int32_t first, int64_t *requests, int64_t *hits,
                                   sluice_error *err);

/* The names of the cache policies, the default first, ending with NULL. */
const char *const *sluice_cache_policies(void);

#ifdef __cplusplus
}
#endif
#endif
