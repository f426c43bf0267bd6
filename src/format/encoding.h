/* How one matrix is stored in a checkpoint: which tensors make it up, and how their rows become
 * packed panels. One file an encoding, one line each in the table of encoding.c. */
#ifndef SLUICE_FORMAT_ENCODING_H
#define SLUICE_FORMAT_ENCODING_H

#include "format/source.h"

/* The tensors of a matrix as found by name: its weight and what stands beside it. A NULL is absent.
 */
typedef struct sluice_encoded {
    const char *name; /* as in the file, for messages */
    struct {
        const sluice_safetensor *tensor;
        int32_t shard;
    } weight, scales, biases;
    int32_t rows, cols; /* of one matrix, from the config */
    int32_t count;      /* matrices stacked in the first dimension; 0: not stacked, no dimension */
    /* Rows of one matrix in the file and the first that is ours: gate and up share a tensor. */
    int32_t file_rows, first_row;
} sluice_encoded;

struct sluice_encoding {
    const char *name;
    int parts;
    int32_t block; /* rows that are stored together, in files of whole blocks; 1: each by itself */
    /* Does it look like this encoding? Then bind says what is wrong with it, if anything. */
    bool (*probe)(const sluice_encoded *from);
    /* Fills matrices[i] for i < max(count, 1). */
    sluice_status (*bind)(const sluice_encoded *from, const char *file,
                          sluice_source_matrix *matrices, sluice_error *err);
    /* Rows of all parts are in memory: refuses NaN and infinities, then packs. row is the number of
     * the first of them, for messages. */
    sluice_status (*check)(const sluice_source_matrix *matrix, int32_t rows,
                           const void *const *parts, const char *name, int32_t row,
                           sluice_error *err);
    void (*pack)(const sluice_source_matrix *matrix, int32_t rows, const void *const *parts,
                 void *out);
};

extern const sluice_encoding sluice_encoding_plain;
extern const sluice_encoding sluice_encoding_affine;
extern const sluice_encoding sluice_encoding_panels; /* of a container */

/* Bytes of so many rows, from the first of a block on. */
static inline size_t sluice_encoding_bytes(const sluice_source_matrix *matrix, int part,
                                           int32_t rows)
{
    const size_t block = (size_t)matrix->encoding->block;
    return (size_t)matrix->part[part].row_bytes * (((size_t)rows + block - 1) / block * block);
}

/* Finds the encoding and binds; file names the shard of the weight. */
sluice_status sluice_encoding_bind(const sluice_encoded *from, const char *file,
                                   sluice_source_matrix *matrices, sluice_error *err);

/* Checks that a tensor is [count,] rows, cols of its dtype. */
sluice_status sluice_encoding_shape(const sluice_encoded *from, const sluice_safetensor *tensor,
                                    int64_t cols, const char *file, sluice_error *err);

/* First index of elements that are NaN or infinite, or -1. kind is F32, F16 or BF16. */
int64_t sluice_encoding_not_finite(uint8_t kind, const void *data, size_t count);

/* The plain weight kind of a dtype, or SLUICE_WEIGHT_KINDS. */
uint8_t sluice_encoding_kind(sluice_dtype dtype);

#endif
