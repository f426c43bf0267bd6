/* Matrices of a container: panels as quant/weight.h lays them out, whole ones only. */
#include <string.h>

#include "format/encoding.h"

/* A container says itself what it holds; it is never found by name. */
static bool probe(const sluice_encoded *from)
{
    (void)from;
    return false;
}

static sluice_status bind(const sluice_encoded *from, const char *file,
                          sluice_source_matrix *matrices, sluice_error *err)
{
    (void)matrices;
    return sluice_fail(err, SLUICE_INTERNAL, "%s: tensor %s is not of a container", file,
                       from->name);
}

static size_t panels_bytes(const sluice_source_matrix *matrix, int32_t rows)
{
    return sluice_weight_bytes(matrix->format, rows, matrix->cols);
}

static sluice_status bad_row(const char *name, int32_t panel, int32_t row, sluice_error *err)
{
    return sluice_fail(err, SLUICE_CORRUPT, "%s: NaN or infinity in rows %d to %d", name,
                       row + panel * SLUICE_PANEL_ROWS,
                       row + panel * SLUICE_PANEL_ROWS + SLUICE_PANEL_ROWS - 1);
}

/* All elements, or of affine formats the scales and biases, which end each group of a panel. */
static sluice_status check(const sluice_source_matrix *matrix, int32_t rows,
                           const void *const *parts, const char *name, int32_t row,
                           sluice_error *err)
{
    const sluice_weight_format format = matrix->format;
    const bool affine = format.kind == SLUICE_WEIGHT_AFFINE;
    const uint8_t kind = affine ? format.scale : format.kind;
    const size_t element = kind == SLUICE_WEIGHT_F32 ? 4 : 2;
    const size_t panel = sluice_weight_panel_bytes(format, matrix->cols);
    const size_t groups = affine ? (size_t)matrix->cols / format.group : 1;
    const size_t group = panel / groups;
    const size_t count = affine ? 2 * SLUICE_PANEL_ROWS : group / element;
    const unsigned char *at = parts[0];
    for (size_t i = 0; i < panels_bytes(matrix, rows) / panel; i++)
        for (size_t g = 0; g < groups; g++, at += group)
            if (sluice_encoding_not_finite(kind, at + group - count * element, count) >= 0)
                return bad_row(name, (int32_t)i, row, err);
    return SLUICE_OK;
}

static void pack(const sluice_source_matrix *matrix, int32_t rows, const void *const *parts,
                 void *out)
{
    memcpy(out, parts[0], panels_bytes(matrix, rows));
}

const sluice_encoding sluice_encoding_panels = {.name = "panels",
                                                .parts = 1,
                                                .block = SLUICE_PANEL_ROWS,
                                                .probe = probe,
                                                .bind = bind,
                                                .check = check,
                                                .pack = pack};
