/* Calibration: what each layer loses by running fewer experts, measured once on some text.
 *
 * Texts go through the full model once, in cold windows. In every layer and for every token the
 * output with the shared expert alone, with 1 ... k experts, and with the fewest experts that hold
 * a share of the gates is compared with the full output. Then, for a few windows, each layer in
 * turn runs with fewer experts while all others are full, and the divergence of the model's
 * predictions tells what that layer's error does to the end result.
 *
 * The result is a file, calibration.json, that tiers and budgets of loads are made from
 * (sluice/levers.h). It is written whole after every window: a run that was killed goes on there,
 * and ends with the same file. */
#ifndef SLUICE_CALIBRATE_H
#define SLUICE_CALIBRATE_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_calibrate_progress {
    int32_t windows_done, windows; /* of the texts */
    int32_t effects_done, effects; /* of the windows that layers run lossy on */
    bool resumed;                  /* some of them were in the file already */
} sluice_calibrate_progress;

typedef struct sluice_calibrate_options {
    const char *file;      /* to write, and to go on with if it exists */
    int32_t window;        /* tokens; 0: 1024 */
    int32_t tokens_max;    /* of all texts, from their beginning; 0: 16384 */
    int32_t effect_tokens; /* of them, in windows of a quarter; 0: 1024; negative: none. Each window
                              costs as many passes as there are layers, five times */
    bool (*progress)(void *context, const sluice_calibrate_progress *progress); /* may be NULL */
    void *context;
} sluice_calibrate_options;

/* The engine must be without levers. SLUICE_BAD_INPUT: a text is no text, or too short;
 * SLUICE_USAGE: the file is another calibration's; SLUICE_CANCELLED: by progress or the engine's
 * `interrupted`. */
sluice_status sluice_calibrate(sluice_engine *engine, const char *const *paths, int32_t n,
                               const sluice_calibrate_options *options, sluice_error *err);

/* ---- looking at one ---- */

typedef struct sluice_calibration sluice_calibration;

sluice_status sluice_calibration_read(const char *path, sluice_calibration **out,
                                      sluice_error *err);
void sluice_calibration_free(sluice_calibration *calibration);

typedef struct sluice_calibration_info {
    const char *model;
    int32_t layers, experts, top_k;
    int32_t tokens, effect_tokens; /* that it was measured on */
    bool complete;
} sluice_calibration_info;
sluice_calibration_info sluice_calibration_describe(const sluice_calibration *calibration);

/* A layer with so many experts, means over tokens; unless it is said otherwise their weights are
 * renormalised. */
typedef struct sluice_calibration_point {
    double cosine;        /* with the full output of the layer, shared expert included */
    double cosine_stream; /* with the full residual stream after the layer */
    double error;         /* distance from the full output over its length (root mean square) */
    double error_stream;  /* the same over the length of the stream */
    /* The same experts with their weights among all top_k, which are not renormalised but
     * multiplied with what fits best over all tokens: what a budget of loads runs. */
    double gain, gain_error; /* the factor (0 for k = 0), and `error` with it */
    double effect; /* so: KL divergence of the predictions, nats a token; negative: unknown */
} sluice_calibration_point;
/* k: 0 to top_k. */
sluice_calibration_point sluice_calibration_at(const sluice_calibration *calibration, int32_t layer,
                                               int32_t k);

typedef struct sluice_calibration_routing {
    double entropy;   /* of the router's distribution, nats */
    double overlap;   /* share of a token's experts that the token before had wanted too */
    int32_t used;     /* experts that were wanted at all */
    double top_tenth; /* share of all uses that the most wanted tenth of the experts has */
    double mass;      /* of the gates of all experts, what the top k hold */
} sluice_calibration_routing;
sluice_calibration_routing sluice_calibration_routes(const sluice_calibration *calibration,
                                                     int32_t layer);
/* Of the gates of all experts, what the one of a rank (0 to top_k - 1) holds. */
double sluice_calibration_gate(const sluice_calibration *calibration, int32_t layer, int32_t rank);

/* What a budget of loads a token runs in a layer. */
typedef struct sluice_calibration_ruling {
    int32_t k;
    float share; /* of the gates of the top k, that the fewest experts hold which run; 1: all k */
    float gain;  /* of their weights; 0: renormalised (all experts) */
} sluice_calibration_ruling;
/* layers: [layers]. *loads: what they take together. */
sluice_status sluice_calibration_budget(const sluice_calibration *calibration, double budget,
                                        sluice_calibration_ruling *layers, double *loads,
                                        sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
