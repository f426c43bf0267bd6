/* Reading experts before they are asked for: the next layer's router on this layer's rows.
 *
 * What: a hidden state changes little from one layer to the next, so the next layer's router, run
 * on the present state, names most of the experts that it will want once the state is right. Its
 * best guesses are queued behind demand reads and keep the disk busy while the next mixer computes.
 * What was guessed is compared with what was wanted, so that the recall can be told.
 *
 * A chunk of a prompt that wants most experts of a layer will want most of the next one's too; then
 * they are read in order, without asking a router.
 *
 * A guess never changes a result: it only decides which bytes are in memory when they are asked
 * for.
 *
 * What it does not do: read (experts/experts.h), or guess more than one layer ahead. */
#ifndef SLUICE_MODEL_LOOKAHEAD_H
#define SLUICE_MODEL_LOOKAHEAD_H

#include "experts/experts.h"
#include "model/model.h"

/* Steps of more rows than this are not looked ahead for: together they want too many experts. */
#define SLUICE_LOOKAHEAD_ROWS 8

typedef struct sluice_lookahead sluice_lookahead;

/* Counted in experts: of the layers that were guessed for, how many were guessed, how many were
 * wanted, and how many were both. Recall is right / wanted. */
typedef struct sluice_lookahead_stats {
    uint64_t guessed, wanted, right;
} sluice_lookahead_stats;

/* What a layer of experts is about to add to n rows. */
typedef struct sluice_lookahead_sum {
    int32_t top_k, missing;
    const int32_t *ids;   /* [n, top_k] */
    const float *weights; /* [n, top_k] */
    const sluice_buffer *y, *shared;
} sluice_lookahead_sum;

/* guesses: of a row, at least 1, cut to the experts of a layer. Everything must outlive it. Scratch
 * is charged to the model's budget. */
sluice_status sluice_lookahead_new(const sluice_model *model, sluice_backend *backend,
                                   sluice_experts *experts, int32_t guesses, sluice_lookahead **out,
                                   sluice_error *err);
void sluice_lookahead_free(sluice_lookahead *lookahead);

/* Bytes that new charges. */
uint64_t sluice_lookahead_scratch_bytes(const sluice_config *config, int32_t guesses);

/* Guesses what the first n rows of h will want in a layer that runs at most k experts of a row, and
 * queues it; nothing while the layer misses nothing. n is at most SLUICE_LOOKAHEAD_ROWS. */
void sluice_lookahead_guess(sluice_lookahead *lookahead, int32_t layer, int32_t n, int32_t k,
                            const sluice_buffer *h);

/* The same while one expert of the layer before has not been added yet, so that the disk need not
 * pause: h is the state before that layer's experts, the other arguments are those of its sum
 * (backend.h, combine), of which entries of expert missing are left out. h is not changed. */
void sluice_lookahead_guess_early(sluice_lookahead *lookahead, int32_t layer, int32_t n, int32_t k,
                                  const sluice_lookahead_sum *sum, const sluice_buffer *h);

/* After a layer of a prompt that wanted so many distinct experts: begins with the next layer's if
 * that is at least half of all. */
void sluice_lookahead_sweep(sluice_lookahead *lookahead, int32_t layer, int32_t distinct);

/* What a layer really wanted, n distinct experts; counts if it was the layer guessed for. */
void sluice_lookahead_compare(sluice_lookahead *lookahead, int32_t layer, const int32_t *ids,
                              int32_t n);

sluice_lookahead_stats sluice_lookahead_stats_get(const sluice_lookahead *lookahead);

#endif
