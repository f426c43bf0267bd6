/* See convert_pack.h. */
#include "format/convert_pack.h"

#include <string.h>

#include "format/encoding.h"

#define FIT_BITS_MAX 6 /* more bits lose nothing that is worth the time */

static size_t align(size_t bytes)
{
    return (bytes + SLUICE_LINE_BYTES - 1) & ~(size_t)(SLUICE_LINE_BYTES - 1);
}

static bool same(sluice_weight_format a, sluice_weight_format b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Scratch of a change of format, one panel at a time: the panel as the source has it, one row as
 * floats, and the 16 rows row-major in the new format. */
typedef struct rounding {
    const sluice_fit_weights *weights; /* NULL: plain rounding */
    unsigned char *panel;
    float *row;
    unsigned char *codes, *scales, *biases, *fit;
    size_t code_bytes, scale_bytes; /* a row */
    size_t bytes;                   /* of all */
} rounding;

static rounding lay_out(const sluice_source_matrix *from, sluice_weight_format to,
                        unsigned char *memory)
{
    bool affine = to.kind == SLUICE_WEIGHT_AFFINE;
    size_t cols = (size_t)from->cols;
    rounding at = {.code_bytes = cols * to.bits / 8};
    if (affine) at.scale_bytes = cols / to.group * (to.scale == SLUICE_WEIGHT_F32 ? 4 : 2);
    size_t panel = align(sluice_weight_panel_bytes(from->format, from->cols));
    size_t row = align(cols * sizeof(float)), codes = align(SLUICE_PANEL_ROWS * at.code_bytes);
    size_t scales = align(SLUICE_PANEL_ROWS * at.scale_bytes);
    size_t fit = affine ? align(sluice_fit_scratch(to, from->cols)) : 0;
    at.bytes = panel + row + codes + 2 * scales + fit;
    if (memory) {
        at.panel = memory;
        at.row = (float *)(void *)(memory + panel);
        at.codes = memory + panel + row;
        at.scales = at.codes + codes;
        at.biases = at.scales + scales;
        at.fit = at.biases + scales;
    }
    return at;
}

size_t sluice_pack_scratch(const sluice_source_matrix *from, sluice_weight_format to, int32_t rows)
{
    size_t bytes = 0;
    for (int i = 0; i < from->encoding->parts; i++)
        bytes += align(sluice_encoding_bytes(from, i, rows));
    return bytes + lay_out(from, to, NULL).bytes;
}

/* One row of floats into the row-major form that the packers take. */
static sluice_status encode_row(sluice_weight_format to, int32_t cols, rounding *at, int32_t lane,
                                sluice_error *err)
{
    unsigned char *codes = at->codes + (size_t)lane * at->code_bytes;
    unsigned char *scales = at->scales + (size_t)lane * at->scale_bytes;
    unsigned char *biases = at->biases + (size_t)lane * at->scale_bytes;
    if (to.kind == SLUICE_WEIGHT_AFFINE && at->weights && to.bits <= FIT_BITS_MAX)
        return sluice_weight_fit_row(to, cols, at->row, at->weights, at->fit, codes, scales, biases,
                                     err);
    if (to.kind == SLUICE_WEIGHT_AFFINE)
        return sluice_weight_quantize_row(to, cols, at->row, codes, scales, biases, err);
    if (to.kind == SLUICE_WEIGHT_F32) memcpy(codes, at->row, at->code_bytes);
    for (int32_t c = 0; c < cols && to.kind != SLUICE_WEIGHT_F32; c++) {
        const uint16_t element = to.kind == SLUICE_WEIGHT_F16 ? sluice_float_to_half(at->row[c])
                                                              : sluice_float_to_bf16(at->row[c]);
        memcpy(codes + 2 * (size_t)c, &element, sizeof element);
    }
    return SLUICE_OK;
}

static sluice_status change_format(const sluice_source_matrix *from, sluice_weight_format to,
                                   const sluice_fit_weights *weights,
                                   const sluice_row_change *change, int32_t row, int32_t rows,
                                   const unsigned char *const *parts, const char *name,
                                   unsigned char *memory, unsigned char *out, sluice_error *err)
{
    rounding at = lay_out(from, to, memory);
    at.weights = weights;
    size_t out_bytes = sluice_weight_panel_bytes(to, from->cols);
    for (int32_t first = 0; first < rows; first += SLUICE_PANEL_ROWS) {
        int32_t n = rows - first < SLUICE_PANEL_ROWS ? rows - first : SLUICE_PANEL_ROWS;
        const void *here[SLUICE_SOURCE_PARTS_MAX];
        for (int i = 0; i < from->encoding->parts; i++)
            here[i] = parts[i] + (size_t)first * from->part[i].row_bytes;
        from->encoding->pack(from, n, here, at.panel);
        sluice_weight panel = {from->format, n, from->cols, at.panel, NULL};
        for (int32_t lane = 0; lane < n; lane++) {
            sluice_error inner = {0};
            sluice_weight_unpack_row(&panel, lane, at.row);
            if (change)
                change->change->row(change->change->context, &change->place, row + first + lane,
                                    at.row);
            sluice_status status = encode_row(to, from->cols, &at, lane, &inner);
            if (status != SLUICE_OK)
                return sluice_fail(err, status, "%s: row %d: %.300s", name, row + first + lane,
                                   inner.detail);
        }
        if (to.kind == SLUICE_WEIGHT_AFFINE)
            sluice_weight_pack_affine(to, n, from->cols, at.codes, at.scales, at.biases, out);
        else
            sluice_weight_pack_plain(to, n, from->cols, at.codes, out);
        out += out_bytes;
    }
    return SLUICE_OK;
}

sluice_status sluice_pack_rows(sluice_checkpoint *files, const sluice_source_matrix *from,
                               sluice_weight_format to, const sluice_fit_weights *weights,
                               const sluice_row_change *change, int32_t row, int32_t rows,
                               const char *name, void *scratch, void *out, sluice_error *err)
{
    const unsigned char *parts[SLUICE_SOURCE_PARTS_MAX] = {0};
    const void *plain[SLUICE_SOURCE_PARTS_MAX] = {0};
    unsigned char *at = scratch;
    for (int i = 0; i < from->encoding->parts; i++) {
        const sluice_source_part *part = &from->part[i];
        size_t bytes = sluice_encoding_bytes(from, i, rows);
        SLUICE_TRY(sluice_checkpoint_read(
            files, part->shard, part->offset + part->row_bytes * (uint64_t)row, at, bytes, err));
        plain[i] = parts[i] = at;
        at += align(bytes);
    }
    SLUICE_TRY(from->encoding->check(from, rows, plain, name, row, err));
    if (change || !same(from->format, to))
        return change_format(from, to, weights, change, row, rows, parts, name, at, out, err);
    from->encoding->pack(from, rows, plain, out);
    return SLUICE_OK;
}

sluice_status sluice_pack_plain(sluice_checkpoint *files, const sluice_source_matrix *from,
                                const char *name, void *out, sluice_error *err)
{
    const sluice_source_part *part = &from->part[0];
    const void *parts[1] = {out};
    SLUICE_TRY(sluice_checkpoint_read(files, part->shard, part->offset, out,
                                      (size_t)part->row_bytes * (size_t)from->rows, err));
    return from->encoding->check(from, from->rows, parts, name, 0, err);
}
