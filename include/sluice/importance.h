/* What text shows of a model for quantising it: how much each input of each matrix weighs.
 *
 * The text should be like what the model will be used for, and is no text that it is judged by.
 * What comes out is a file that conversion takes (sluice_convert_options.importance) to lose less
 * at 2, 3 and 4 bits than by plain rounding; doc/quantisation.md says how, and what that is worth.
 */
#ifndef SLUICE_IMPORTANCE_H
#define SLUICE_IMPORTANCE_H

#include "sluice/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_importance_options {
    sluice_eval_text_options text; /* windows of it; stride does not matter */
    /* Columns whose products are measured together, multiples of 128; 0: 512 and 128. Memory and
     * file grow with it: 4 bytes for each column of an input and each column of a block. */
    int32_t block, expert_block;
    /* The same for what enters each expert; 1: only squares. 0: 512 if that takes not more than
     * 1 GiB for all experts, else 1. */
    int32_t expert_in;
    /* 0: as much as it takes. Else SLUICE_LIMIT before anything runs if the sums need more. */
    uint64_t bytes_max;
} sluice_importance_options;

typedef struct sluice_importance_report {
    int32_t windows;
    int64_t tokens;
    uint64_t bytes;             /* of the sums, in memory and in the file */
    int32_t experts, unseen;    /* of all layers; of them, those that no token was routed to */
    double rows_min, rows_mean; /* tokens that an expert saw */
} sluice_importance_report;

/* Bytes that the sums take for this engine's model. */
uint64_t sluice_importance_bytes(const sluice_engine *engine,
                                 const sluice_importance_options *options);

/* Runs the texts (paths: n files of UTF-8) through the engine and writes file, all or nothing. The
 * engine must run all experts of a token and the exact mode for what it is meant to show.
 * report may be NULL. Deterministic: threads, caches and batches change no bit. */
sluice_status sluice_importance_measure(sluice_engine *engine, const char *const *paths, int32_t n,
                                        const sluice_importance_options *options, const char *file,
                                        sluice_importance_report *report, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
