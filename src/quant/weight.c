/* The table of weight formats, and what is common to all: sizes, checks, names. */
#include "quant/weight.h"

#include <stdio.h>
#include <string.h>

#include "quant/quant.h"

/* No real matrix comes near; every size computed from these fits 64 bits with room to spare. */
#define ROWS_MAX (INT64_C(1) << 30)
#define COLS_MAX (INT64_C(1) << 24)

static const sluice_weight_family *const families[SLUICE_WEIGHT_KINDS] = {
    [SLUICE_WEIGHT_F32] = &sluice_weight_family_f32,
    [SLUICE_WEIGHT_F16] = &sluice_weight_family_f16,
    [SLUICE_WEIGHT_BF16] = &sluice_weight_family_bf16,
    [SLUICE_WEIGHT_AFFINE] = &sluice_weight_family_affine,
};

sluice_status sluice_weight_check(sluice_weight_format format, int64_t rows, int64_t cols,
                                  const char *name, sluice_error *err)
{
    if (format.kind >= SLUICE_WEIGHT_KINDS)
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: unknown weight format %u", name,
                           format.kind);
    if (rows < 1 || cols < 1 || rows > ROWS_MAX || cols > COLS_MAX)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: %lld x %lld is no shape of a matrix", name,
                           (long long)rows, (long long)cols);
    const char *wrong = families[format.kind]->check(format, cols);
    if (wrong)
        return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s (%u bits, groups of %u, %lld columns)",
                           name, wrong, format.bits, format.group, (long long)cols);
    return SLUICE_OK;
}

size_t sluice_weight_panel_bytes(sluice_weight_format format, int32_t cols)
{
    return families[format.kind]->panel_bytes(format, cols);
}

size_t sluice_weight_bytes(sluice_weight_format format, int32_t rows, int32_t cols)
{
    size_t panels = ((size_t)rows + SLUICE_PANEL_ROWS - 1) / SLUICE_PANEL_ROWS;
    return panels * sluice_weight_panel_bytes(format, cols);
}

void sluice_weight_unpack_row(const sluice_weight *weight, int32_t row, float *out)
{
    families[weight->format.kind]->unpack_row(weight, row, out);
}

void sluice_weight_format_name(sluice_weight_format format, char *text)
{
    if (format.kind == SLUICE_WEIGHT_AFFINE)
        snprintf(text, 24, "q%u/%u/%s", format.bits, format.group, families[format.scale]->name);
    else
        snprintf(text, 24, "%s", families[format.kind]->name);
}

static bool plain_parse(const char *text, uint8_t *kind)
{
    for (uint8_t k = 0; k < SLUICE_WEIGHT_AFFINE; k++) {
        if (strcmp(text, families[k]->name) != 0) continue;
        *kind = k;
        return true;
    }
    return false;
}

sluice_status sluice_weight_format_parse(const char *text, sluice_weight_format *format,
                                         sluice_error *err)
{
    sluice_weight_format parsed = {0};
    unsigned bits, group;
    int end = 0;
    if (plain_parse(text, &parsed.kind)) {
        parsed.bits = (uint8_t)(8 * sluice_plain_bytes(parsed.kind));
    } else if (sscanf(text, "q%1u/%3u/%n", &bits, &group, &end) == 2 && end > 0 && group <= 128 &&
               plain_parse(text + end, &parsed.scale)) {
        parsed.kind = SLUICE_WEIGHT_AFFINE;
        parsed.bits = (uint8_t)bits;
        parsed.group = (uint8_t)group;
        if (families[parsed.kind]->check(parsed, parsed.group))
            return sluice_fail(err, SLUICE_UNSUPPORTED, "'%s' is a weight format without a layout",
                               text);
    } else {
        return sluice_fail(err, SLUICE_CORRUPT,
                           "'%.40s' is not a weight format (as q4/64/bf16, or f32, f16, bf16)",
                           text);
    }
    *format = parsed;
    return SLUICE_OK;
}
