/* Matrix times rows in f32, for every weight format: the body that each instruction set compiles.
 *
 * The including file defines, besides v16:
 *   part, PART_LANES         a vector of PART_LANES of the 16 rows; part_load, part_store,
 *                            part_fma, part_set1 on it
 *   TILE_TOKENS              activation rows a register tile holds: 4 * TILE_TOKENS accumulators
 *   FEW_SUMS                 v16f that registers hold besides the rest; left out, a few rows but
 *                            one are as many
 *   LINEAR_F32_INIT          the name of the function that enters this kernel into a table
 *
 * One row of activations, or a few: a panel is unpacked in registers and used at once. More: 128
 * columns of a panel are unpacked into a buffer in L1, and register tiles of rows run over it. All
 * add up each output in the same order (kernels.h), so the bits agree. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/linear_lines.h"

#define CHUNK_COLS 128  /* 8 KiB of unpacked weights */
#define BLOCK_TOKENS 60 /* 15 KiB of accumulators; a multiple of every TILE_TOKENS */

/* Weights of a panel as f32, one line of 16 rows a column. */
typedef float column_line[SLUICE_PANEL_ROWS];

V16_INLINE void store_sum(const v16f a[4], float *y, int lanes)
{
    v16f sum = v16_add(v16_add(a[0], a[1]), v16_add(a[2], a[3]));
    if (lanes == SLUICE_PANEL_ROWS)
        v16_store(y, sum);
    else
        v16_store_n(y, sum, lanes);
}

V16_INLINE v16f quad_column(v16i quad, int j)
{
    v16i code = j ? v16i_shr(quad, 8 * j) : quad;
    return v16_from_i(j == 3 ? code : v16i_and(code, v16i_set1(255)));
}

/* One unit: for each column in order, the weights go to take(column, weights). */
#define FOR_UNIT_COLUMNS(unit, bits, scale, bias, column, weights, take)                           \
    LINEAR_UNROLL for (int k_ = 0; k_ < 8; k_++)                                                   \
    {                                                                                              \
        v16i quad_ = linear_unit_quad(unit, bits, k_);                                             \
        LINEAR_UNROLL for (int j_ = 0; j_ < 4; j_++)                                               \
        {                                                                                          \
            int column = 4 * k_ + j_;                                                              \
            v16f weights = v16_fma(scale, quad_column(quad_, j_), bias);                           \
            take;                                                                                  \
        }                                                                                          \
    }

/* Column c of the chunk goes to out + c * ldo. */
V16_INLINE void affine_unpack(const sluice_weight *w, int bits, const uint8_t *panel, int32_t col,
                              int32_t cols, float *out, int64_t ldo)
{
    sluice_weight_format format = w->format;
    int units = format.group / SLUICE_UNIT_COLS, scale_bytes = linear_scale_bytes(format.scale);
    int group_bytes = units * linear_unit_bytes(bits) + 2 * scale_bytes;
    panel += (int64_t)(col / format.group) * group_bytes;
    for (int32_t end = col + cols; col < end; col += format.group) {
        const uint8_t *tail = panel + units * linear_unit_bytes(bits);
        v16f scale = linear_scales(tail, format.scale);
        v16f bias = linear_scales(tail + scale_bytes, format.scale);
        for (; panel < tail; panel += linear_unit_bytes(bits), out += SLUICE_UNIT_COLS * ldo)
            FOR_UNIT_COLUMNS(panel, bits, scale, bias, c, weights,
                             v16_store(out + c * ldo, weights))
        panel = tail + 2 * scale_bytes;
    }
}

/* Column c of a BF16 or F16 panel; both keep two columns in a line. */
V16_INLINE v16f half_column(uint8_t kind, const uint8_t *panel, int32_t c)
{
    const uint8_t *at = panel + (int64_t)(c / 2) * SLUICE_LINE_BYTES;
    if (kind == SLUICE_WEIGHT_F16)
        return v16_load_f16((const uint16_t *)(const void *)(at + c % 2 * 32));
    v16i pair = v16i_load(at);
    return v16_as_f(c % 2 ? v16i_and(pair, v16i_set1((int32_t)0xffff0000u)) : v16i_shl(pair, 16));
}

V16_INLINE v16f plain_column(uint8_t kind, const uint8_t *panel, int32_t c)
{
    if (kind != SLUICE_WEIGHT_F32) return half_column(kind, panel, c);
    return v16_load((const float *)(const void *)(panel + (int64_t)c * SLUICE_LINE_BYTES));
}

/* Expands to one call per format, so that kind and bits are constants inside. */
#define SWITCH_FORMAT(format, affine, plain)                                                       \
    switch ((format).kind == SLUICE_WEIGHT_AFFINE ? (format).bits : -(format).kind) {              \
    case 2: affine(2); break;                                                                      \
    case 3: affine(3); break;                                                                      \
    case 4: affine(4); break;                                                                      \
    case 5: affine(5); break;                                                                      \
    case 6: affine(6); break;                                                                      \
    case 8: affine(8); break;                                                                      \
    case -SLUICE_WEIGHT_F16: plain(SLUICE_WEIGHT_F16); break;                                      \
    case -SLUICE_WEIGHT_BF16: plain(SLUICE_WEIGHT_BF16); break;                                    \
    default: plain(SLUICE_WEIGHT_F32); break;                                                      \
    }

static int panel_lanes(const sluice_weight *w, int32_t panel)
{
    int32_t left = w->rows - panel * SLUICE_PANEL_ROWS;
    return left < SLUICE_PANEL_ROWS ? left : SLUICE_PANEL_ROWS;
}

/* Columns [col, col+cols) of a panel as f32 lines; F32 panels are that already. */
static const column_line *unpack_chunk(const sluice_weight *w, const uint8_t *panel, int32_t col,
                                       int32_t cols, column_line *buffer)
{
    if (w->format.kind == SLUICE_WEIGHT_F32)
        return (const column_line *)(const void *)(panel + (int64_t)col * SLUICE_LINE_BYTES);
#define AFFINE(bits) affine_unpack(w, bits, panel, col, cols, buffer[0], SLUICE_PANEL_ROWS)
#define PLAIN(kind)                                                                                \
    for (int32_t c = 0; c < cols; c++)                                                             \
    v16_store(buffer[c], half_column(kind, panel, col + c))
    SWITCH_FORMAT(w->format, AFFINE, PLAIN)
#undef AFFINE
#undef PLAIN
    return (const column_line *)buffer;
}

/* sums[t][j] += the products of columns j, j+4, ... for tokens t < tokens (a constant). */
V16_INLINE void tile(int tokens, const column_line *w, int32_t cols, const float *x, int64_t ldx,
                     float (*sums)[4][SLUICE_PANEL_ROWS])
{
    for (int lane = 0; lane < SLUICE_PANEL_ROWS; lane += PART_LANES) {
        part a[TILE_TOKENS][4];
        LINEAR_UNROLL for (int t = 0; t < tokens; t++) LINEAR_UNROLL for (int j = 0; j < 4; j++)
            a[t][j] = part_load(sums[t][j] + lane);
        int32_t c = 0;
        for (; c + 4 <= cols; c += 4)
            LINEAR_UNROLL for (int j = 0; j < 4; j++)
            {
                part weights = part_load(w[c + j] + lane);
                LINEAR_UNROLL for (int t = 0; t < tokens; t++) a[t][j] =
                    part_fma(weights, part_set1(x[t * ldx + c + j]), a[t][j]);
            }
        LINEAR_UNROLL for (int j = 0; j < 3; j++)
        {
            if (c + j >= cols) continue;
            part weights = part_load(w[c + j] + lane);
            LINEAR_UNROLL for (int t = 0; t < tokens; t++) a[t][j] =
                part_fma(weights, part_set1(x[t * ldx + c + j]), a[t][j]);
        }
        LINEAR_UNROLL for (int t = 0; t < tokens; t++) LINEAR_UNROLL for (int j = 0; j < 4; j++)
            part_store(sums[t][j] + lane, a[t][j]);
    }
}

static void tiles(const column_line *w, int32_t cols, const float *x, int64_t ldx, int32_t n,
                  float (*sums)[4][SLUICE_PANEL_ROWS])
{
    for (int32_t t = 0; t < n; t += TILE_TOKENS, x += TILE_TOKENS * ldx, sums += TILE_TOKENS) {
        switch (n - t) {
        case 1: tile(1, w, cols, x, ldx, sums); break;
#if TILE_TOKENS > 2
        case 2: tile(2, w, cols, x, ldx, sums); break;
#endif
#if TILE_TOKENS > 3
        case 3: tile(3, w, cols, x, ldx, sums); break;
        case 4: tile(4, w, cols, x, ldx, sums); break;
        case 5: tile(5, w, cols, x, ldx, sums); break;
#endif
        default: tile(TILE_TOKENS, w, cols, x, ldx, sums); break;
        }
    }
}

static void linear_block(const sluice_weight *w, int32_t begin, int32_t end, const float *x,
                         int64_t ldx, int32_t n, float *y, int64_t ldy)
{
    _Alignas(SLUICE_LINE_BYTES) column_line buffer[CHUNK_COLS];
    _Alignas(SLUICE_LINE_BYTES) float sums[BLOCK_TOKENS][4][SLUICE_PANEL_ROWS];
    size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    for (int32_t panel = begin; panel < end; panel++) {
        const uint8_t *data = (const uint8_t *)w->data + (size_t)panel * bytes;
        memset(sums, 0, (size_t)n * sizeof sums[0]);
        for (int32_t col = 0; col < w->cols; col += CHUNK_COLS) {
            int32_t cols = w->cols - col < CHUNK_COLS ? w->cols - col : CHUNK_COLS;
            const column_line *weights = unpack_chunk(w, data, col, cols, buffer);
            tiles(weights, cols, x + col, ldx, n, sums);
        }
        for (int32_t t = 0; t < n; t++) {
            v16f a[4];
            for (int j = 0; j < 4; j++)
                a[j] = v16_load(sums[t][j]);
            store_sum(a, y + t * ldy + (int64_t)panel * SLUICE_PANEL_ROWS, panel_lanes(w, panel));
        }
    }
}

#include "kernels/linear_f32_few_body.h"

static void linear_f32(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                       const float *x, int64_t ldx, int32_t n, float *y, int64_t ldy)
{
    if (n == 1) {
        few_rows(w, panel_begin, panel_end, x, ldx, 1, y, ldy);
        return;
    }
#if FEW_SUMS
    if (n <= 2 * FEW_ROWS && w->format.kind != SLUICE_WEIGHT_F32) {
        int32_t half = n > FEW_ROWS ? n / 2 : 0;
        if (half) linear_few(w, panel_begin, panel_end, x, ldx, half, y, ldy);
        linear_few(w, panel_begin, panel_end, x + half * ldx, ldx, n - half, y + half * ldy, ldy);
        return;
    }
#endif
    for (int32_t t = 0; t < n; t += BLOCK_TOKENS) {
        int32_t block = n - t < BLOCK_TOKENS ? n - t : BLOCK_TOKENS;
        linear_block(w, panel_begin, panel_end, x + t * ldx, ldx, block, y + t * ldy, ldy);
    }
}

static void unpack_f32(const sluice_weight *w, int32_t panel, int32_t col, int32_t cols, float *out,
                       int64_t ldo)
{
    const size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    const uint8_t *data = (const uint8_t *)w->data + (size_t)panel * bytes;
#define AFFINE(bits) affine_unpack(w, bits, data, col, cols, out, ldo)
#define PLAIN(kind)                                                                                \
    for (int32_t c = 0; c < cols; c++)                                                             \
    v16_store(out + c * ldo, plain_column(kind, data, col + c))
    SWITCH_FORMAT(w->format, AFFINE, PLAIN)
#undef AFFINE
#undef PLAIN
}

void LINEAR_F32_INIT(sluice_kernels *table)
{
    table->linear_f32 = linear_f32;
    table->unpack_f32 = unpack_f32;
}
