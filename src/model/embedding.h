/* The first operation of a step: rows of the embedding table for the step's tokens.
 *
 * What: hands the table to the backend where it is in memory; else reads the panels of 16 rows that
 * hold the step's tokens from the trunk file, a block of tokens at a time, and hands those over as
 * a small table. A decode step of the 397B reads one panel of 36 KB instead of keeping 0.6 GB.
 *
 * What it does not do: cache rows; the page cache does. */
#ifndef SLUICE_MODEL_EMBEDDING_H
#define SLUICE_MODEL_EMBEDDING_H

#include "model/model.h"

typedef struct sluice_embedding sluice_embedding;

/* model and backend must outlive it. Charges nothing if the table is in memory. */
sluice_status sluice_embedding_new(const sluice_model *model, sluice_backend *backend,
                                   sluice_embedding **out, sluice_error *err);
void sluice_embedding_free(sluice_embedding *embedding);

/* Bytes that new charges. */
uint64_t sluice_embedding_scratch_bytes(const sluice_config *config, sluice_weight_format format,
                                        bool on_disk);

/* h[i] = row tokens[i], i < n. Tokens must be in the vocabulary. */
sluice_status sluice_embedding_run(sluice_embedding *embedding, const int32_t *tokens, int32_t n,
                                   sluice_buffer *h, sluice_error *err);

#endif
