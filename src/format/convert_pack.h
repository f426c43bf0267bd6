/* Rows of a source matrix into packed panels, in the source's format or another.
 *
 * The one place where conversion touches weights. It reads each row once, refuses NaN and infinity,
 * and packs; where the target format differs, or values change, they go through the scalar unpack
 * of quant/ and are rounded again. Thread-safe: all memory is the caller's. Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_PACK_H
#define SLUICE_FORMAT_CONVERT_PACK_H

#include "format/convert_change.h"
#include "format/source.h"
#include "quant/fit.h"

/* Scratch that packing `rows` rows takes, changed or not; 64-byte aligned memory of at least that
 * size. */
size_t sluice_pack_scratch(const sluice_source_matrix *from, sluice_weight_format to, int32_t rows);

/* Packs rows [row, row + rows) into out, sluice_weight_bytes(to, rows, cols) bytes, 64-byte
 * aligned. row is a multiple of 16, and so is rows except at the end of the matrix. weights: how
 * columns weigh where values are rounded; NULL for plain rounding. change: what is done to the
 * values on the way; NULL: nothing. name is for messages. */
sluice_status sluice_pack_rows(sluice_checkpoint *files, const sluice_source_matrix *from,
                               sluice_weight_format to, const sluice_fit_weights *weights,
                               const sluice_row_change *change, int32_t row, int32_t rows,
                               const char *name, void *scratch, void *out, sluice_error *err);

/* The same for vectors and convolutions: elements as they are. */
sluice_status sluice_pack_plain(sluice_checkpoint *files, const sluice_source_matrix *from,
                                const char *name, void *out, sluice_error *err);

#endif
