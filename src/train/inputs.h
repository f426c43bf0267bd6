/* The inputs of layers, kept from the forward pass for the backward.
 *
 * What: one slot of rows a layer. As many slots as a budget allows are memory, the layers that are
 * wanted first by the backward (the last ones) among them; the others are on disk (spill.h).
 *
 * What it does not do: overlap. A slot is read once a step, in one long read. */
#ifndef SLUICE_TRAIN_INPUTS_H
#define SLUICE_TRAIN_INPUTS_H

#include "base/memory.h"

typedef struct sluice_inputs sluice_inputs;

/* slots of at most floats each, memory_bytes of them in memory at most (charged as "inputs"); the
 * rest goes to an unnamed file in dir, whose space is taken at once (SLUICE_NO_SPACE). */
sluice_status sluice_inputs_new(int32_t slots, size_t floats, uint64_t memory_bytes,
                                const char *dir, sluice_budget *budget, sluice_inputs **out,
                                sluice_error *err);
void sluice_inputs_free(sluice_inputs *inputs);

/* Bytes that new charges, one buffer for the disk included. */
uint64_t sluice_inputs_bytes(int32_t slots, size_t floats, uint64_t memory_bytes);

/* How many slots are on disk. */
int32_t sluice_inputs_spilled(const sluice_inputs *inputs);

/* Where a slot's rows are written to, and then kept by put; and read from. Both pointers are valid
 * until the next call of any of these. */
float *sluice_inputs_room(sluice_inputs *inputs, int32_t slot);
sluice_status sluice_inputs_put(sluice_inputs *inputs, int32_t slot, size_t floats,
                                sluice_error *err);
sluice_status sluice_inputs_get(sluice_inputs *inputs, int32_t slot, size_t floats,
                                const float **rows, sluice_error *err);

#endif
