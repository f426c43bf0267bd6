/* What a calibration has measured, and its file.
 *
 * What: sums over tokens, a layer at a time, of what each way to run the layer with fewer experts
 * changes (sluice/calibrate.h says what they mean). They are kept as sums so that a run that was
 * cut off goes on from its file and ends with the same bits. The file is JSON that anybody can look
 * at or plot; it is read as outside input: every number is checked.
 *
 * What it does not do: measure (eval/calibrate.c), or decide (tiers.h, allocation.h). */
#ifndef SLUICE_LEVERS_CALIBRATION_H
#define SLUICE_LEVERS_CALIBRATION_H

#include <stdint.h>

#include "base/status.h"
#include "format/config.h"
#include "model/policy.h"
#include "sluice/calibrate.h"

/* The shares of the gates that are measured: 0.05, 0.10 ... 0.95. */
#define SLUICE_CALIBRATION_MASSES 19
float sluice_calibration_mass(int32_t i);

/* One way to run a layer, summed over tokens. Cosines and error are those of renormalised weights,
 * from what all k experts give. */
typedef struct sluice_calibration_choice {
    double loads;         /* experts that ran */
    double cosine;        /* between both outputs of the layer, shared expert included */
    double cosine_stream; /* between both residual streams after it */
    double error_squared; /* squared distance of the outputs */
    double part_squared;  /* squared length of what those experts add, by their weights among all */
    double dot;           /* its inner product with what all of them add */
    double effect;        /* KL divergence of the model's predictions, nats, over effect tokens, if
                             this layer runs so, with its gain; negative: not measured */
} sluice_calibration_choice;

typedef struct sluice_calibration_layer {
    double output_squared, stream_squared; /* squared lengths of output and stream after it */
    double entropy;                        /* of the router's distribution, nats */
    double overlap;                        /* share of experts that the token before had wanted */
    sluice_calibration_choice *by_k;       /* [top_k + 1]: 0 experts, 1, ..., all */
    sluice_calibration_choice *by_mass;    /* [SLUICE_CALIBRATION_MASSES] */
    double *gate;                          /* [top_k]: the gate of each rank, of 1 over all */
    int64_t *uses;                         /* [experts] */
} sluice_calibration_layer;

struct sluice_calibration {
    char model[64];
    uint32_t fingerprint; /* of its weights */
    uint32_t text_crc;    /* of the tokens */
    int32_t layers, experts, top_k;
    int32_t window, windows, windows_done;               /* texts are cut into cold windows */
    int32_t effect_window, effect_windows, effects_done; /* those that `effect` is measured on */
    sluice_calibration_layer layer[];                    /* [layers] */
};

/* All sums zero, effects not measured. Sizes are within the limits of format/config.h. */
sluice_status sluice_calibration_new(int32_t layers, int32_t experts, int32_t top_k,
                                     sluice_calibration **out, sluice_error *err);

/* What a choice's weights are best multiplied with (policy.h), least squares over all tokens; 0 for
 * no experts. And the squared error that is left. */
double sluice_calibration_gain(const sluice_calibration_choice *choice);
double sluice_calibration_gain_error(const sluice_calibration_layer *layer,
                                     const sluice_calibration_choice *choice);

/* Tokens behind the sums, behind `overlap`, and behind `effect`. */
double sluice_calibration_tokens(const sluice_calibration *calibration);
double sluice_calibration_pairs(const sluice_calibration *calibration);
double sluice_calibration_effect_tokens(const sluice_calibration *calibration);

/* name is used in messages. SLUICE_CORRUPT names the field that is wrong. */
sluice_status sluice_calibration_parse(const char *json, size_t bytes, const char *name,
                                       sluice_calibration **out, sluice_error *err);
/* All or nothing. What is read back is equal, bit for bit. */
sluice_status sluice_calibration_write(const sluice_calibration *calibration, const char *path,
                                       sluice_error *err);

#endif
