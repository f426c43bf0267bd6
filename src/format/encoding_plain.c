/* Matrices and vectors of BF16, F16 or F32 elements. */
#include "format/encoding.h"

static bool probe(const sluice_encoded *from)
{
    return sluice_encoding_kind(from->weight.tensor->dtype) < SLUICE_WEIGHT_KINDS;
}

static sluice_status bind(const sluice_encoded *from, const char *file,
                          sluice_source_matrix *matrices, sluice_error *err)
{
    const sluice_safetensor *tensor = from->weight.tensor;
    SLUICE_TRY(sluice_encoding_shape(from, tensor, from->cols, file, err));
    uint64_t element = sluice_dtype_bytes(tensor->dtype);
    sluice_weight_format format = {.kind = sluice_encoding_kind(tensor->dtype),
                                   .bits = (uint8_t)(8 * element)};
    uint64_t row_bytes = element * (uint64_t)from->cols;
    for (int32_t i = 0; i < (from->count ? from->count : 1); i++) {
        uint64_t row = (uint64_t)i * (uint64_t)from->file_rows + (uint64_t)from->first_row;
        matrices[i] = (sluice_source_matrix){.format = format,
                                             .rows = from->rows,
                                             .cols = from->cols,
                                             .encoding = &sluice_encoding_plain,
                                             .part = {{.shard = from->weight.shard,
                                                       .offset = tensor->offset + row * row_bytes,
                                                       .row_bytes = row_bytes}}};
    }
    return SLUICE_OK;
}

static sluice_status check(const sluice_source_matrix *matrix, int32_t rows,
                           const void *const *parts, const char *name, int32_t row,
                           sluice_error *err)
{
    int64_t bad = sluice_encoding_not_finite(matrix->format.kind, parts[0],
                                             (size_t)rows * (size_t)matrix->cols);
    if (bad < 0) return SLUICE_OK;
    return sluice_fail(err, SLUICE_CORRUPT, "%s: NaN or infinity in row %lld, column %lld", name,
                       (long long)(row + bad / matrix->cols), (long long)(bad % matrix->cols));
}

static void pack(const sluice_source_matrix *matrix, int32_t rows, const void *const *parts,
                 void *out)
{
    sluice_weight_pack_plain(matrix->format, rows, matrix->cols, parts[0], out);
}

const sluice_encoding sluice_encoding_plain = {.name = "plain",
                                               .block = 1,
                                               .parts = 1,
                                               .probe = probe,
                                               .bind = bind,
                                               .check = check,
                                               .pack = pack};
