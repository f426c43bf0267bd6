/* A file of predictions: windows of tokens, and a distribution over the vocabulary after each.
 *
 * Layout, little-endian, every part at a multiple of 8 bytes:
 *
 *     header    128 bytes (predictions.c), its own CRC32C last
 *     windows   16 bytes each: text, first row, CRC32C of the window's rows, 0 (while the file is
 *               being written, and its header without a checksum: 1 once its rows are there)
 *     tokens    window x 4 bytes for each window; then zeros up to a multiple of 8
 *     rows      of one window after the other: top, step, log-probability of the token that came
 *               (f32 each), the likeliest token (i32), then 16 bits for each token of the
 *               vocabulary; then zeros up to a multiple of 8
 *
 * A token's log-probability is top - step * code. With a step of a few 1e-4 nats, and renormalised
 * when read, that blurs a mean divergence by less than 1e-6; half-precision floats would blur
 * likely tokens less and all others more.
 *
 * What it does not do: know how two models are compared. */
#ifndef SLUICE_EVAL_PREDICTIONS_H
#define SLUICE_EVAL_PREDICTIONS_H

#include "eval/scores.h"

typedef struct sluice_predictions sluice_predictions;

/* Who made them. */
typedef struct sluice_predictions_origin {
    char model[64];
    uint32_t fingerprint, levers; /* levers: the CRC32C of their description */
    int32_t vocab, k;
    bool exact, decode; /* decode: tokens went in one at a time */
} sluice_predictions_origin;

/* ---- writing: create, every row of every window (those of one window in order), commit ---- */

/* Until commit the file has a temporary name and holds every window that was done; what a run that
 * was interrupted left there is gone on from, if it was to make the same file. scores [windows]
 * gets the windows that it holds, and by put all others; it and windows are kept by the caller
 * until commit or close. */
sluice_status sluice_predictions_create(const char *path, const sluice_predictions_origin *origin,
                                        const sluice_windows *windows, sluice_scores *scores,
                                        sluice_predictions **out, sluice_error *err);
/* best and norm as sluice_logits_norm has them. */
sluice_status sluice_predictions_put(sluice_predictions *file, const sluice_window_row *row,
                                     int32_t best, double norm, sluice_error *err);
/* Makes it durable and gives it its name; closes in any case. */
sluice_status sluice_predictions_commit(sluice_predictions *file, sluice_error *err);

/* ---- reading ---- */

/* SLUICE_CORRUPT: damaged. The windows belong to the file. */
sluice_status sluice_predictions_open(const char *path, sluice_predictions **out,
                                      sluice_error *err);
const sluice_predictions_origin *sluice_predictions_made_by(const sluice_predictions *file);
const sluice_windows *sluice_predictions_windows(const sluice_predictions *file);
/* Other values in the file, other id. */
uint32_t sluice_predictions_id(const sluice_predictions *file);

typedef struct sluice_prediction {
    const double *log_p; /* [vocab], valid until the next get */
    double log_next;     /* of the token that came, unblurred */
    int32_t best;
} sluice_prediction;

/* A window's checksum is compared when its last row is read, so rows of a window are read in order.
 */
sluice_status sluice_predictions_get(sluice_predictions *file, int32_t window, int32_t row,
                                     sluice_prediction *out, sluice_error *err);

/* Closes; what was being written stays for another run if it holds a window. NULL is allowed. */
void sluice_predictions_close(sluice_predictions *file);

#endif
