/* How the columns of the matrices under conversion weigh: importances on their way from the file
 * (importance.h) to the rounding of rows (quant/fit.h).
 *
 * What: for a matrix of the trunk the moment of its input, prepared once and kept while pieces of a
 * batch need it; for an expert its own moments, of what enters it where that was measured, else its
 * own scales on its layer's moment. An expert that few rows saw is drawn to its layer's mean.
 *
 * Threads: ready and trunk in the thread that converts; expert in any, each with its own room.
 * Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_WEIGH_H
#define SLUICE_FORMAT_CONVERT_WEIGH_H

#include "format/importance.h"
#include "quant/fit.h"

typedef struct sluice_weigh sluice_weigh;

/* kept: moments that a batch may need at once. The importance must outlive it. */
sluice_status sluice_weigh_new(const sluice_importance *importance, const sluice_config *config,
                               int32_t kept, sluice_weigh **out, sluice_error *err);
void sluice_weigh_free(sluice_weigh *weigh);

/* Weights of the trunk matrix of this name (as in the catalog). Valid until `kept` other inputs
 * have been asked for. */
sluice_status sluice_weigh_trunk(sluice_weigh *weigh, const char *name, sluice_fit_weights *weights,
                                 sluice_error *err);

/* The same for what all experts of a layer share; to be asked for before sluice_weigh_expert. */
sluice_status sluice_weigh_layer(sluice_weigh *weigh, int32_t layer, sluice_fit_weights *weights,
                                 sluice_error *err);

/* A worker's room for one expert. */
typedef struct sluice_weigh_room {
    float *scale;         /* [hidden] */
    float *products;      /* [width, block] or [hidden, in block], the larger */
    sluice_moment *in;    /* [hidden]; NULL where experts have squares alone */
    sluice_moment *inner; /* [width] */
} sluice_weigh_room;
sluice_status sluice_weigh_room_new(const sluice_weigh *weigh, sluice_weigh_room *out,
                                    sluice_error *err);
void sluice_weigh_room_free(sluice_weigh_room *room);

/* Weights of gate and up, and of down. layer: what sluice_weigh_layer gave. Layers beyond the
 * model's own (the MTP head) were never measured: their columns weigh the same. */
sluice_status sluice_weigh_expert(const sluice_weigh *weigh, int32_t index, int32_t expert,
                                  const sluice_fit_weights *layer, sluice_weigh_room *room,
                                  sluice_fit_weights *in, sluice_fit_weights *inner,
                                  sluice_error *err);

#endif
