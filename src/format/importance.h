/* The file of importances: how much the inputs of each matrix weigh, as text showed it.
 *
 * What: a safetensors file that eval/importance.c writes and conversion reads. For each point of a
 * model where rows enter matrices it holds second moments, the means of x xT over the tokens of
 * some text, in blocks along the diagonal: row i of [cols, block] holds the columns of the block
 * that i is in, [i / block * block, + block), zero beyond cols. Each routed expert has moments of
 * the rows that went to it and of its inner rows, in blocks of their own sizes; a row counts by its
 * share in the layer's sum, squared. A large model has too many experts for moments of what goes
 * in: with blocks of one column they have mean squares alone, and share the rest of their layer's.
 *
 *   layers.N.mixer.in, mixer.out, moe.in, shared.inner   [cols, block] f32
 *   layers.N.experts.rows                                [experts] f32, rows that it was run on
 *   layers.N.experts.in                                  [experts * hidden, expert in block] f32
 *   layers.N.experts.inner                               [experts * width, expert block] f32
 *   head.in                                              [hidden, block] f32
 *
 * What it does not do: fill moments, or know what is done with them. */
#ifndef SLUICE_FORMAT_IMPORTANCE_H
#define SLUICE_FORMAT_IMPORTANCE_H

#include "format/config.h"
#include "format/safetensors.h"

#define SLUICE_IMPORTANCE_VERSION "1"

typedef enum sluice_importance_place {
    SLUICE_IMPORTANCE_MIXER_IN,
    SLUICE_IMPORTANCE_MIXER_OUT,
    SLUICE_IMPORTANCE_MOE_IN,
    SLUICE_IMPORTANCE_SHARED_INNER,
    SLUICE_IMPORTANCE_EXPERT_ROWS,
    SLUICE_IMPORTANCE_EXPERT_IN,
    SLUICE_IMPORTANCE_EXPERT_INNER,
    SLUICE_IMPORTANCE_PLACES, /* of a layer */
    SLUICE_IMPORTANCE_HEAD_IN = SLUICE_IMPORTANCE_PLACES
} sluice_importance_place;

/* Columns of a block: a positive multiple of 128, so that no group of a quantised row is cut; for
 * what enters experts also 1. */
typedef struct sluice_importance_blocks {
    int32_t block, expert_block, expert_in;
} sluice_importance_blocks;

/* SLUICE_USAGE if they are none. */
sluice_status sluice_importance_blocks_check(const sluice_importance_blocks *blocks,
                                             sluice_error *err);

/* The shape of a tensor, and its name ("layers.3.moe.in"; layer is ignored for the head). The
 * block of a moment is never wider than its cols. */
void sluice_importance_shape(const sluice_config *config, const sluice_importance_blocks *blocks,
                             int32_t layer, sluice_importance_place place, int64_t shape[2]);
void sluice_importance_name(int32_t layer, sluice_importance_place place, char *name, size_t bytes);

/* Floats of all tensors together. */
uint64_t sluice_importance_floats(const sluice_config *config,
                                  const sluice_importance_blocks *blocks);

typedef struct sluice_importance {
    char *path;
    int fd;
    sluice_safetensors table;
    sluice_importance_blocks blocks;
    int32_t hidden, width; /* of an expert */
    char id[17];           /* of what it holds: other values, other id */
} sluice_importance;

/* Opens and checks: everything that config asks for must be there with its shape. SLUICE_CORRUPT,
 * SLUICE_NOT_FOUND; SLUICE_USAGE if it was made for a model of other sizes. */
sluice_status sluice_importance_open(const char *path, const sluice_config *config,
                                     sluice_importance **out, sluice_error *err);
void sluice_importance_close(sluice_importance *importance);

/* Reads `count` rows of a tensor from row `first` into out; a value that is no number, or a mean
 * square below zero, is SLUICE_CORRUPT. Thread-safe. */
sluice_status sluice_importance_read(const sluice_importance *importance, int32_t layer,
                                     sluice_importance_place place, int64_t first, int64_t count,
                                     float *out, sluice_error *err);

#endif
