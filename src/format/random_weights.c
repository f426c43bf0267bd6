/* See random_weights.h. */
#include "format/random_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

#define PIECES 4096 /* 2.4 MB of 4-bit groups: stays in the cache of a core */

static void put(uint8_t kind, void *array, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        sluice_plain_store(kind, array, i, value);
}

static void random_bytes(sluice_rng *rng, unsigned char *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = sluice_rng_next(rng);
        memcpy(out + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

/* The variance of codes 0 .. n-1, equally likely, is (n*n - 1) / 12. */
static sluice_status make_affine(sluice_random_weights *weights, sluice_rng *rng, int32_t cols)
{
    sluice_weight_format format = weights->format;
    double codes = ldexp(1.0, format.bits);
    float scale = sqrtf(weights->variance * 12.0f / (float)(codes * codes - 1));
    size_t code_bytes = (size_t)SLUICE_PANEL_ROWS * (size_t)cols * format.bits / 8;
    size_t groups = (size_t)SLUICE_PANEL_ROWS * (size_t)(cols / format.group);
    size_t line = groups * sluice_plain_bytes(format.scale);
    unsigned char *source = malloc(code_bytes + 2 * line);
    if (!source) return SLUICE_NO_MEMORY;
    random_bytes(rng, source, code_bytes);
    put(format.scale, source + code_bytes, groups, scale);
    put(format.scale, source + code_bytes + line, groups, -scale * (float)(codes - 1) / 2);
    sluice_weight_pack_affine(format, SLUICE_PANEL_ROWS, cols, source, source + code_bytes,
                              source + code_bytes + line, weights->pieces);
    free(source);
    return SLUICE_OK;
}

/* Uniform in [-a, a] has the variance a * a / 3. */
static sluice_status make_plain(sluice_random_weights *weights, sluice_rng *rng, int32_t cols)
{
    uint8_t kind = weights->format.kind;
    float a = sqrtf(3 * weights->variance);
    size_t count = (size_t)SLUICE_PANEL_ROWS * (size_t)cols;
    void *source = malloc(count * sluice_plain_bytes(kind));
    if (!source) return SLUICE_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        sluice_plain_store(kind, source, i, a * (float)(2 * sluice_rng_unit(rng) - 1));
    sluice_weight_pack_plain(weights->format, SLUICE_PANEL_ROWS, cols, source, weights->pieces);
    free(source);
    return SLUICE_OK;
}

sluice_status sluice_random_weights_new(sluice_weight_format format, float variance, uint64_t seed,
                                        sluice_random_weights *out, sluice_error *err)
{
    bool affine = format.kind == SLUICE_WEIGHT_AFFINE;
    sluice_random_weights weights = {.format = format,
                                     .variance = variance,
                                     .piece_cols = affine ? format.group : SLUICE_UNIT_COLS};
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    weights.piece_bytes = sluice_weight_panel_bytes(format, weights.piece_cols);
    weights.pieces = aligned_alloc(SLUICE_LINE_BYTES, PIECES * weights.piece_bytes);
    sluice_status status = weights.pieces ? SLUICE_OK : SLUICE_NO_MEMORY;
    int32_t cols = PIECES * weights.piece_cols;
    if (status == SLUICE_OK)
        status = affine ? make_affine(&weights, &rng, cols) : make_plain(&weights, &rng, cols);
    if (status != SLUICE_OK) {
        sluice_random_weights_free(&weights);
        return sluice_fail(err, status, "no memory for random weights");
    }
    *out = weights;
    return SLUICE_OK;
}

void sluice_random_weights_free(sluice_random_weights *weights)
{
    free(weights->pieces);
    *weights = (sluice_random_weights){0};
}

/* A panel runs along the columns, so a matrix whose columns end inside a piece takes the front of
 * one. */
static void fill_panel(const sluice_random_weights *weights, sluice_rng *rng, size_t bytes,
                       unsigned char *out)
{
    for (size_t at = 0; at < bytes; at += weights->piece_bytes) {
        size_t piece = (size_t)(sluice_rng_next(rng) % PIECES), left = bytes - at;
        memcpy(out + at, weights->pieces + piece * weights->piece_bytes,
               left < weights->piece_bytes ? left : weights->piece_bytes);
    }
}

/* Packs the first rows of a filled panel anew, so that the others become zero. */
static sluice_status cut_panel(sluice_weight_format format, int32_t rows, int32_t cols, void *panel,
                               sluice_error *err)
{
    bool affine = format.kind == SLUICE_WEIGHT_AFFINE;
    size_t unit = sluice_plain_bytes(affine ? format.scale : format.kind);
    size_t row_bytes = affine ? (size_t)cols * format.bits / 8 : (size_t)cols * unit;
    size_t line = affine ? (size_t)(cols / format.group) * unit : 0, height = (size_t)rows;
    unsigned char *source = malloc(height * (row_bytes + 2 * line));
    float *row = malloc((size_t)cols * sizeof *row);
    sluice_status status = SLUICE_OK;
    if (!source || !row)
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory for random weights");
    unsigned char *scales = source + height * row_bytes, *biases = scales + height * line;
    sluice_weight weight = {.format = format, .rows = rows, .cols = cols, .data = panel};
    for (int32_t i = 0; i < rows && status == SLUICE_OK; i++) {
        size_t at = (size_t)i;
        sluice_weight_unpack_row(&weight, i, row);
        if (affine)
            status = sluice_weight_quantize_row(format, cols, row, source + at * row_bytes,
                                                scales + at * line, biases + at * line, err);
        else
            for (int32_t c = 0; c < cols; c++)
                sluice_plain_store(format.kind, source + at * row_bytes, (size_t)c, row[c]);
    }
    if (status == SLUICE_OK) {
        if (affine)
            sluice_weight_pack_affine(format, rows, cols, source, scales, biases, panel);
        else
            sluice_weight_pack_plain(format, rows, cols, source, panel);
    }
    free(source);
    free(row);
    return status;
}

sluice_status sluice_random_weights_fill(const sluice_random_weights *weights, sluice_rng *rng,
                                         int32_t rows, int32_t cols, int32_t panel, int32_t panels,
                                         void *out, sluice_error *err)
{
    size_t bytes = sluice_weight_panel_bytes(weights->format, cols);
    unsigned char *to = out;
    for (int32_t i = panel; i < panel + panels; i++, to += bytes) {
        int32_t height = rows - i * SLUICE_PANEL_ROWS;
        fill_panel(weights, rng, bytes, to);
        bool odd = weights->format.kind != SLUICE_WEIGHT_AFFINE && cols % 2;
        if (height >= SLUICE_PANEL_ROWS && !odd) continue;
        if (height > SLUICE_PANEL_ROWS) height = SLUICE_PANEL_ROWS;
        SLUICE_TRY(cut_panel(weights->format, height, cols, to, err));
    }
    return SLUICE_OK;
}
