/* Merges on their way from a file into the table, some at a time.
 *
 * A merge of 250,000 names three tokens anywhere in a vocabulary of megabytes. One after the other,
 * most of the time of loading goes into waiting for memory; in batches the waits overlap. */
#ifndef SLUICE_TOKENIZER_MERGE_BATCH_H
#define SLUICE_TOKENIZER_MERGE_BATCH_H

#include "tokenizer/bpe.h"
#include "tokenizer/text_buffer.h"
#include "tokenizer/vocab.h"

#define SLUICE_MERGE_BATCH 32

typedef struct sluice_merge_side {
    size_t offset, length; /* in bytes */
    uint64_t key;
    bool literal;
} sluice_merge_side;

/* Give the first three, zero the rest. */
typedef struct sluice_merge_batch {
    const char *name; /* of the file, for errors */
    const sluice_vocab *vocab;
    sluice_bpe *bpe;
    uint32_t rank; /* of the merge at hand */
    int32_t guess; /* the token of the next merge: ids mostly follow the order of merges */
    size_t count;
    sluice_merge_side sides[SLUICE_MERGE_BATCH][2];
    sluice_text_buffer bytes; /* of the sides, one behind the other */
} sluice_merge_batch;

/* Takes the left (0), then the right (1) side of the merge at hand by its spelling. */
void sluice_merge_batch_side(sluice_merge_batch *batch, int side, const char *spelling,
                             size_t length);

/* Both sides of the merge are there. SLUICE_CORRUPT: a side is empty, or a side or the result of a
 * merge is no token; this may be said of an earlier merge. */
sluice_status sluice_merge_batch_next(sluice_merge_batch *batch, sluice_error *err);

/* Adds what is left. */
sluice_status sluice_merge_batch_flush(sluice_merge_batch *batch, sluice_error *err);
void sluice_merge_batch_free(sluice_merge_batch *batch);

#endif
