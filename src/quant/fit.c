/* See fit.h. Everything happens in scaled columns, v = w D, where the error is e C eT. */
#include "quant/fit.h"

#include <math.h>
#include <string.h>

#include "quant/fit_group.h"
#include "quant/quant.h"

#define ROUNDS 4 /* of descent, at most */

typedef struct fit {
    sluice_weight_format format;
    sluice_fit_weights weights;
    int32_t cols, block;
    float codes_max;
    float *target;         /* [cols], w D */
    float *carried;        /* [cols], target with the errors of columns before */
    float *error, *pull;   /* [cols], e = target - rounded, and C e */
    uint8_t *codes;        /* [cols] */
    sluice_fit_grid *grid; /* [cols / group] */
    void *own;             /* codes, scales and biases, packed */
    float *check;          /* [2 * cols] */
} fit;

static size_t align(size_t bytes)
{
    return (bytes + SLUICE_LINE_BYTES - 1) & ~(size_t)(SLUICE_LINE_BYTES - 1);
}

static size_t packed_bytes(sluice_weight_format format, int32_t cols)
{
    return align((size_t)cols * format.bits / 8) + 2 * align((size_t)cols / format.group * 4);
}

size_t sluice_fit_scratch(sluice_weight_format format, int32_t cols)
{
    return 6 * align((size_t)cols * sizeof(float)) + align((size_t)cols) +
           align((size_t)cols / format.group * sizeof(sluice_fit_grid)) +
           packed_bytes(format, cols);
}

static fit lay_out(sluice_weight_format format, int32_t cols, const sluice_fit_weights *weights,
                   void *scratch)
{
    unsigned char *at = scratch;
    size_t floats = align((size_t)cols * sizeof(float));
    fit f = {.format = format,
             .weights = *weights,
             .cols = cols,
             .block = weights->correlation ? weights->block : format.group,
             .codes_max = (float)((1 << format.bits) - 1)};
    f.target = (float *)(void *)at;
    f.carried = (float *)(void *)(at + floats);
    f.error = (float *)(void *)(at + 2 * floats);
    f.pull = (float *)(void *)(at + 3 * floats);
    f.check = (float *)(void *)(at + 4 * floats);
    f.grid = (sluice_fit_grid *)(void *)(at + 6 * floats);
    at += 6 * floats + align((size_t)cols / format.group * sizeof(sluice_fit_grid));
    f.codes = at;
    f.own = at + align((size_t)cols);
    return f;
}

static inline float scale_of(const sluice_fit_weights *weights, int32_t col)
{
    return weights->scale ? weights->scale[col] : 1.0f;
}

/* y += a x */
static void add(float *restrict y, const float *restrict x, float a, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static inline int32_t clamp(float code, float codes_max)
{
    code = code > 0.0f ? code : 0.0f;
    return (int32_t)rintf(code < codes_max ? code : codes_max);
}

/* Rounds a group, carrying errors to the end of the block. */
static void round_group(fit *f, int32_t first, int32_t block_end)
{
    const sluice_fit_weights *weights = &f->weights;
    int32_t group = f->format.group, block = f->block, start = first / block * block;
    float x[SLUICE_GROUP_MAX], weight[SLUICE_GROUP_MAX];
    for (int32_t i = 0; i < group; i++) {
        int32_t col = first + i;
        float scale = scale_of(weights, col), root = 1.0f;
        if (weights->factor) root = weights->factor[(ptrdiff_t)col * block + (col - start)];
        x[i] = f->carried[col] / scale;
        weight[i] = scale * scale / (root * root);
    }
    sluice_fit_grid grid = sluice_fit_search(f->format, x, weight);
    f->grid[first / group] = grid;
    for (int32_t i = 0; i < group; i++) {
        int32_t col = first + i;
        float scale = scale_of(weights, col);
        int32_t code = clamp((f->carried[col] / scale - grid.bias) / grid.scale, f->codes_max);
        f->codes[col] = (uint8_t)code;
        if (!weights->factor) continue;
        const float *row = weights->factor + (ptrdiff_t)col * block + (col - start);
        float rounded = scale * (grid.scale * (float)code + grid.bias);
        float error = (f->carried[col] - rounded) / row[0];
        add(f->carried + col + 1, row + 1, -error, block_end - col - 1);
    }
}

/* error and pull of a block, from its codes and grids. */
static void measure_block(fit *f, int32_t first, int32_t end)
{
    for (int32_t i = first; i < end; i++) {
        sluice_fit_grid grid = f->grid[i / f->format.group];
        f->error[i] =
            f->target[i] - scale_of(&f->weights, i) * (grid.scale * (float)f->codes[i] + grid.bias);
        f->pull[i] = 0.0f;
    }
    for (int32_t i = first; i < end; i++)
        add(f->pull + first, f->weights.correlation + (ptrdiff_t)i * f->block, f->error[i],
            end - first);
}

/* Moves the error of the columns of a group by -change, [group]. */
static void move_group(fit *f, int32_t first, int32_t block_first, int32_t block_end,
                       const float *change)
{
    for (int32_t i = 0; i < f->format.group; i++) {
        const float *row = f->weights.correlation + (ptrdiff_t)(first + i) * f->block;
        f->error[first + i] -= change[i];
        add(f->pull + block_first, row, -change[i], block_end - block_first);
    }
}

/* The grid of least error for the codes of a group, all else as it is. */
static bool regrid(fit *f, int32_t first, int32_t block_first, int32_t block_end)
{
    int32_t group = f->format.group, at = first - block_first;
    float p[SLUICE_GROUP_MAX], o[SLUICE_GROUP_MAX], cp[SLUICE_GROUP_MAX] = {0};
    float co[SLUICE_GROUP_MAX] = {0};
    double pp = 0, po = 0, oo = 0, pg = 0, og = 0;
    for (int32_t i = 0; i < group; i++) {
        const float *row = f->weights.correlation + (ptrdiff_t)(first + i) * f->block + at;
        o[i] = scale_of(&f->weights, first + i);
        p[i] = o[i] * (float)f->codes[first + i];
        add(cp, row, p[i], group);
        add(co, row, o[i], group);
    }
    for (int32_t i = 0; i < group; i++) {
        pp += (double)p[i] * (double)cp[i];
        po += (double)o[i] * (double)cp[i];
        oo += (double)o[i] * (double)co[i];
        pg += (double)p[i] * (double)f->pull[first + i];
        og += (double)o[i] * (double)f->pull[first + i];
    }
    double determinant = pp * oo - po * po;
    if (!(determinant > 1e-6 * pp * oo)) return false;
    sluice_fit_grid *grid = &f->grid[first / group];
    float scale =
        sluice_fit_stored(f->format, grid->scale + (float)((pg * oo - og * po) / determinant));
    if (!(fabsf(scale) > 1e-7f)) return false;
    double ds = (double)(scale - grid->scale);
    float bias = sluice_fit_stored(f->format, grid->bias + (float)((og - ds * po) / oo));
    double db = (double)(bias - grid->bias);
    double gain = 2 * (ds * pg + db * og) - (ds * ds * pp + 2 * ds * db * po + db * db * oo);
    if (!(gain > 0) || !isfinite(scale) || !isfinite(bias)) return false;
    for (int32_t i = 0; i < group; i++)
        p[i] = (float)ds * p[i] + (float)db * o[i];
    *grid = (sluice_fit_grid){scale, bias};
    move_group(f, first, block_first, block_end, p);
    return true;
}

/* Each code to where the error is least given all others. */
static bool recode(fit *f, int32_t first, int32_t end)
{
    bool changed = false;
    for (int32_t i = first; i < end; i++) {
        const float *row = f->weights.correlation + (ptrdiff_t)i * f->block;
        float step = scale_of(&f->weights, i) * f->grid[i / f->format.group].scale;
        float wanted = (float)f->codes[i] + f->pull[i] / (row[i - first] * step);
        int32_t code = clamp(wanted, f->codes_max);
        if (code == f->codes[i]) continue;
        float change = (float)(code - f->codes[i]) * step;
        f->codes[i] = (uint8_t)code;
        f->error[i] -= change;
        add(f->pull + first, row, -change, end - first);
        changed = true;
    }
    return changed;
}

static void fit_block(fit *f, int32_t first, int32_t end)
{
    int32_t group = f->format.group;
    for (int32_t at = first; at < end; at += group)
        round_group(f, at, end);
    if (!f->weights.correlation) return;
    measure_block(f, first, end);
    for (int round = 0; round < ROUNDS; round++) {
        bool changed = false;
        for (int32_t at = first; at < end; at += group)
            changed |= regrid(f, at, first, end);
        changed |= recode(f, first, end);
        if (!changed) break;
    }
}

/* error H errorT of scaled columns; pull: [cols]. */
static double square(const sluice_fit_weights *weights, int32_t cols, const float *error,
                     float *pull)
{
    double sum = 0;
    int32_t block = weights->block;
    memcpy(pull, error, (size_t)cols * sizeof *pull);
    if (weights->correlation) memset(pull, 0, (size_t)cols * sizeof *pull);
    for (int32_t i = 0; i < cols && weights->correlation; i++) {
        int32_t first = i / block * block, end = first + block < cols ? first + block : cols;
        add(pull + first, weights->correlation + (ptrdiff_t)i * block, error[i], end - first);
    }
    for (int32_t i = 0; i < cols; i++)
        sum += (double)error[i] * (double)pull[i];
    return sum;
}

double sluice_fit_square(const sluice_fit_weights *weights, int32_t cols, const float *values,
                         float *scratch)
{
    for (int32_t i = 0; i < cols; i++)
        scratch[i] = scale_of(weights, i) * values[i];
    return square(weights, cols, scratch, scratch + cols);
}

double sluice_fit_error(sluice_weight_format format, int32_t cols, const float *row,
                        const sluice_fit_weights *weights, const void *codes, const void *scales,
                        const void *biases, float *scratch)
{
    for (int32_t i = 0; i < cols; i++) {
        size_t group = (size_t)(i / format.group);
        float value = sluice_plain_load(format.scale, scales, group) *
                          (float)sluice_affine_code(codes, format.bits, i) +
                      sluice_plain_load(format.scale, biases, group);
        scratch[i] = scale_of(weights, i) * (row[i] - value);
    }
    return square(weights, cols, scratch, scratch + cols);
}

/* Whether the format can hold the grids: f16 has an end. */
static bool storable(const fit *f)
{
    for (int32_t g = 0; g < f->cols / f->format.group; g++)
        if (!isfinite(f->grid[g].scale) || !isfinite(f->grid[g].bias)) return false;
    return true;
}

sluice_status sluice_weight_fit_row(sluice_weight_format format, int32_t cols, const float *row,
                                    const sluice_fit_weights *weights, void *scratch, void *codes,
                                    void *scales, void *biases, sluice_error *err)
{
    SLUICE_TRY(sluice_weight_quantize_row(format, cols, row, codes, scales, biases, err));
    fit f = lay_out(format, cols, weights, scratch);
    int32_t groups = cols / format.group;
    for (int32_t i = 0; i < cols; i++)
        f.carried[i] = f.target[i] = row[i] * scale_of(weights, i);
    for (int32_t first = 0; first < cols; first += f.block)
        fit_block(&f, first, first + f.block < cols ? first + f.block : cols);
    if (!storable(&f)) return SLUICE_OK;

    size_t code_bytes = (size_t)cols * format.bits / 8;
    unsigned char *own = f.own, *own_scales = own + align(code_bytes);
    unsigned char *own_biases = own_scales + align((size_t)groups * 4);
    sluice_affine_pack_codes(f.codes, format.bits, cols, own);
    for (int32_t g = 0; g < groups; g++) {
        sluice_plain_store(format.scale, own_scales, (size_t)g, f.grid[g].scale);
        sluice_plain_store(format.scale, own_biases, (size_t)g, f.grid[g].bias);
    }
    double plain = sluice_fit_error(format, cols, row, weights, codes, scales, biases, f.check);
    if (!(sluice_fit_error(format, cols, row, weights, own, own_scales, own_biases, f.check) <
          plain))
        return SLUICE_OK;
    size_t scale_bytes = (size_t)groups * sluice_plain_bytes(format.scale);
    memcpy(codes, own, code_bytes);
    memcpy(scales, own_scales, scale_bytes);
    memcpy(biases, own_biases, scale_bytes);
    return SLUICE_OK;
}
