/* An array of floats on disk, for what does not fit into memory between two uses.
 *
 * What: a file that has no name from the moment that it is open, so nothing is left behind however
 * the program ends. Its space is taken at once, and it begins as zeros. Reads and writes go past
 * the page cache where the file system can. */
#ifndef SLUICE_TRAIN_SPILL_H
#define SLUICE_TRAIN_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SLUICE_SPILL_BLOCK 1024 /* floats: places are multiples of it */

typedef struct sluice_spill {
    int file; /* -1: none */
    const char *name;
} sluice_spill;

/* Room for floats in dir (SLUICE_NO_SPACE). name, for errors ("the file of layer inputs"), must be
 * a static string. */
sluice_status sluice_spill_new(const char *dir, const char *name, uint64_t floats,
                               sluice_spill *out, sluice_error *err);
void sluice_spill_free(sluice_spill *spill);

/* floats up to whole blocks: what a place takes in the file, and a buffer must have room for. */
size_t sluice_spill_floats(size_t floats);

/* at: a multiple of the block. The buffer's address is a multiple of 4096. */
sluice_status sluice_spill_read(const sluice_spill *spill, uint64_t at, size_t floats, float *to,
                                sluice_error *err);
sluice_status sluice_spill_write(const sluice_spill *spill, uint64_t at, size_t floats,
                                 const float *from, sluice_error *err);

#endif
