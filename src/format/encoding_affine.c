/* MLX affine quantisation: weight (codes in U32), scales and biases, groups along the columns.
 *
 * Bits and group are taken from the shapes alone, since one model mixes several and its config does
 * not always say so. Source: mlx.core.quantize. */
#include <stdio.h>

#include "format/encoding.h"

static bool probe(const sluice_encoded *from)
{
    return from->weight.tensor->dtype == SLUICE_DTYPE_U32;
}

/* The last dimension, if there is one. */
static int64_t last(const sluice_safetensor *tensor)
{
    return tensor->dims ? tensor->shape[tensor->dims - 1] : 0;
}

static sluice_status derive_format(const sluice_encoded *from, const char *file,
                                   sluice_weight_format *format, sluice_error *err)
{
    const sluice_safetensor *codes = from->weight.tensor, *scales = from->scales.tensor;
    const sluice_safetensor *biases = from->biases.tensor;
    if (!scales || !biases)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is quantised, but its %s missing",
                           file, from->name,
                           scales   ? "biases are"
                           : biases ? "scales are"
                                    : "scales and biases are");
    int64_t words = last(codes), groups = last(scales);
    uint8_t scale = sluice_encoding_kind(scales->dtype);
    if (scale == SLUICE_WEIGHT_KINDS || biases->dtype != scales->dtype)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: tensor %s has scales in %s and biases in %s; sluice reads f32, f16 "
                           "or bf16 for both",
                           file, from->name, scales->dtype_name, biases->dtype_name);
    if (words < 1 || groups < 1 || words > from->cols || 32 * words % from->cols ||
        from->cols % groups || from->cols / groups > 255)
        return sluice_fail(
            err, SLUICE_CORRUPT,
            "%s: tensor %s has %lld words and %lld scales a row, which do not divide "
            "%d inputs",
            file, from->name, (long long)words, (long long)groups, from->cols);
    *format = (sluice_weight_format){.kind = SLUICE_WEIGHT_AFFINE,
                                     .bits = (uint8_t)(32 * words / from->cols),
                                     .group = (uint8_t)(from->cols / groups),
                                     .scale = scale};
    return SLUICE_OK;
}

static sluice_status bind(const sluice_encoded *from, const char *file,
                          sluice_source_matrix *matrices, sluice_error *err)
{
    sluice_weight_format format;
    SLUICE_TRY(derive_format(from, file, &format, err));
    char where[256];
    snprintf(where, sizeof where, "%.120s: tensor %.100s", file, from->name);
    SLUICE_TRY(sluice_weight_check(format, from->rows, from->cols, where, err));
    int64_t groups = from->cols / format.group;
    SLUICE_TRY(
        sluice_encoding_shape(from, from->weight.tensor, last(from->weight.tensor), file, err));
    SLUICE_TRY(sluice_encoding_shape(from, from->scales.tensor, groups, file, err));
    SLUICE_TRY(sluice_encoding_shape(from, from->biases.tensor, groups, file, err));

    uint64_t code_bytes = (uint64_t)from->cols * format.bits / 8;
    uint64_t scale_bytes = (uint64_t)groups * sluice_dtype_bytes(from->scales.tensor->dtype);
    for (int32_t i = 0; i < (from->count ? from->count : 1); i++) {
        uint64_t row = (uint64_t)i * (uint64_t)from->file_rows + (uint64_t)from->first_row;
        matrices[i] = (sluice_source_matrix){
            .format = format,
            .rows = from->rows,
            .cols = from->cols,
            .encoding = &sluice_encoding_affine,
            .part = {
                {from->weight.shard, from->weight.tensor->offset + row * code_bytes, code_bytes},
                {from->scales.shard, from->scales.tensor->offset + row * scale_bytes, scale_bytes},
                {from->biases.shard, from->biases.tensor->offset + row * scale_bytes, scale_bytes},
            }};
    }
    return SLUICE_OK;
}

static sluice_status check(const sluice_source_matrix *matrix, int32_t rows,
                           const void *const *parts, const char *name, int32_t row,
                           sluice_error *err)
{
    int64_t groups = matrix->cols / matrix->format.group;
    for (int i = 1; i <= 2; i++) {
        int64_t bad = sluice_encoding_not_finite(matrix->format.scale, parts[i],
                                                 (size_t)rows * (size_t)groups);
        if (bad < 0) continue;
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: NaN or infinity in the %s of row %lld, group %lld", name,
                           i == 1 ? "scales" : "biases", (long long)(row + bad / groups),
                           (long long)(bad % groups));
    }
    return SLUICE_OK;
}

static void pack(const sluice_source_matrix *matrix, int32_t rows, const void *const *parts,
                 void *out)
{
    sluice_weight_pack_affine(matrix->format, rows, matrix->cols, parts[0], parts[1], parts[2],
                              out);
}

const sluice_encoding sluice_encoding_affine = {.name = "affine",
                                                .block = 1,
                                                .parts = 3,
                                                .probe = probe,
                                                .bind = bind,
                                                .check = check,
                                                .pack = pack};
