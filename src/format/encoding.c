/* The table of encodings and what they share; see encoding.h. */
#include "format/encoding.h"

#include <stdio.h>
#include <string.h>

static const sluice_encoding *const encodings[] = {
    &sluice_encoding_affine,
    &sluice_encoding_plain,
};

sluice_status sluice_encoding_bind(const sluice_encoded *from, const char *file,
                                   sluice_source_matrix *matrices, sluice_error *err)
{
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++)
        if (encodings[i]->probe(from)) return encodings[i]->bind(from, file, matrices, err);
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: tensor %s is stored as %s, which sluice cannot read yet (only bf16, "
                       "f16, f32 and MLX affine quantisation)",
                       file, from->name, from->weight.tensor->dtype_name);
}

sluice_status sluice_encoding_shape(const sluice_encoded *from, const sluice_safetensor *tensor,
                                    int64_t cols, const char *file, sluice_error *err)
{
    int32_t d = 0;
    bool good = tensor->dims == (from->count ? 3 : 2);
    if (good && from->count) good = tensor->shape[d++] == from->count;
    good = good && tensor->shape[d] == from->file_rows && tensor->shape[d + 1] == cols;
    if (good) return SLUICE_OK;
    char shape[160] = "", want[64];
    size_t at = 0;
    for (int32_t i = 0; i < tensor->dims; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%lld", i ? ", " : "",
                               (long long)tensor->shape[i]);
    if (from->count)
        snprintf(want, sizeof want, "%d, %d, %lld", from->count, from->file_rows, (long long)cols);
    else
        snprintf(want, sizeof want, "%d, %lld", from->file_rows, (long long)cols);
    return sluice_fail(err, SLUICE_CORRUPT,
                       "%s: tensor %s has shape [%s], config.json makes it [%s]", file,
                       tensor->name, shape, want);
}

/* All exponent bits set means NaN or infinity. The loop without exit vectorises; the one that finds
 * the place runs on damage only. */
int64_t sluice_encoding_not_finite(uint8_t kind, const void *data, size_t count)
{
    unsigned bad = 0;
    if (kind == SLUICE_WEIGHT_F32) {
        const unsigned char *bytes = data;
        for (size_t i = 0; i < count; i++) {
            uint32_t word;
            memcpy(&word, bytes + 4 * i, 4);
            bad |= (word & 0x7f800000u) == 0x7f800000u;
        }
        for (size_t i = 0; bad && i < count; i++) {
            uint32_t word;
            memcpy(&word, bytes + 4 * i, 4);
            if ((word & 0x7f800000u) == 0x7f800000u) return (int64_t)i;
        }
        return -1;
    }
    uint16_t mask = kind == SLUICE_WEIGHT_BF16 ? 0x7f80 : 0x7c00;
    const unsigned char *bytes = data;
    for (size_t i = 0; i < count; i++) {
        uint16_t word;
        memcpy(&word, bytes + 2 * i, 2);
        bad |= (word & mask) == mask;
    }
    for (size_t i = 0; bad && i < count; i++) {
        uint16_t word;
        memcpy(&word, bytes + 2 * i, 2);
        if ((word & mask) == mask) return (int64_t)i;
    }
    return -1;
}

uint8_t sluice_encoding_kind(sluice_dtype dtype)
{
    switch (dtype) {
    case SLUICE_DTYPE_F32: return SLUICE_WEIGHT_F32;
    case SLUICE_DTYPE_F16: return SLUICE_WEIGHT_F16;
    case SLUICE_DTYPE_BF16: return SLUICE_WEIGHT_BF16;
    default: return SLUICE_WEIGHT_KINDS;
    }
}
