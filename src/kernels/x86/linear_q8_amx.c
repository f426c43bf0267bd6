/* linear_q8 with AMX, for 16 rows of activations at a time: a unit of 32 columns is one tdpbsud.
 * Blocks of 16 columns, and rows that do not fill a tile, go to VNNI, which gives the same bits.
 *
 * The product itself is nearly free (16 cycles for 16 x 16 x 32); what costs is folding its 16 x 16
 * integers into f32, so a few units are multiplied before the sums of each row of activations are
 * loaded, folded and stored once. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/x86/v16_avx512.h"

#include "kernels/linear_lines.h"

#define TILE 16          /* rows of activations, and of weights */
#define CHUNK_UNITS 8    /* units whose codes are unpacked at a time: 4 KiB, two groups of 128 */
#define BATCH_UNITS 4    /* units that are multiplied before they are folded: one tile each */
#define BLOCK_TOKENS 128 /* rows of activations with sums on the stack: 8 KiB */

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles 0..3 are products, 4 activations, 5 codes. */
static void configure(void)
{
    tile_config config = {.palette = 1};
    for (int i = 0; i < 6; i++) {
        config.rows[i] = TILE;
        config.row_bytes[i] = 64;
    }
    config.row_bytes[4] = SLUICE_UNIT_COLS;
    config.rows[5] = SLUICE_UNIT_COLS / 4;
    _tile_loadconfig(&config);
}

/* Some units of one panel: lines of codes (the second operand of tdpbsud), and their groups. */
typedef struct chunk {
    _Alignas(64) uint8_t codes[CHUNK_UNITS][8 * SLUICE_LINE_BYTES];
    __m512 scale[CHUNK_UNITS], bias[CHUNK_UNITS];
    int32_t units, units_group;
} chunk;

V16_INLINE void unpack_group(int bits, const uint8_t *unit, int32_t units,
                             uint8_t (*out)[8 * SLUICE_LINE_BYTES])
{
    for (int32_t u = 0; u < units; u++, unit += linear_unit_bytes(bits))
        LINEAR_UNROLL for (int k = 0; k < 8; k++)
            _mm512_store_si512(out[u] + k * SLUICE_LINE_BYTES, linear_unit_quad(unit, bits, k));
}

/* Unpacks out->units units from the group at `at`. */
static void unpack(sluice_weight_format f, const uint8_t *at, chunk *out)
{
    const int32_t scale_bytes = linear_scale_bytes(f.scale), units = out->units_group;
    for (int32_t i = 0; i < out->units; i += units) {
        const uint8_t *tail = at + units * linear_unit_bytes(f.bits);
        out->scale[i / units] = linear_scales(tail, f.scale);
        out->bias[i / units] = linear_scales(tail + scale_bytes, f.scale);
#define UNPACK(bits) unpack_group(bits, at, units, out->codes + i)
        LINEAR_SWITCH_BITS(f.bits, UNPACK)
#undef UNPACK
        at = tail + 2 * scale_bytes;
    }
}

/* Products of up to four units: c[i] = x [16, 32] times the codes of unit first + i. */
static void multiply(const chunk *w, int32_t first, int32_t count, const int8_t *x, int32_t stride,
                     int32_t (*c)[TILE][TILE])
{
#define ONE(i)                                                                                     \
    if (i < count) {                                                                               \
        _tile_zero(i);                                                                             \
        _tile_loadd(4, x + i * SLUICE_UNIT_COLS, stride);                                          \
        _tile_loadd(5, w->codes[first + i], SLUICE_LINE_BYTES);                                    \
        _tile_dpbsud(i, 4, 5);                                                                     \
    }
    ONE(0)
    ONE(1)
    ONE(2)
    ONE(3)
#undef ONE
#define ONE(i)                                                                                     \
    if (i < count) _tile_stored(i, c[i], sizeof c[i][0])
    ONE(0);
    ONE(1);
    ONE(2);
    ONE(3);
#undef ONE
}

/* What row t of the activations adds: units [first, first + count) of the chunk, which are whole
 * groups; scales and sums are those of the row at these units and groups. */
V16_INLINE __m512 fold(const chunk *w, int32_t first, int32_t count, int32_t (*c)[TILE][TILE],
                       int t, const float *scales, const float *sums, __m512 y)
{
    for (int32_t i = 0; i < count; i += w->units_group) {
        const int32_t group = (first + i) / w->units_group;
        __m512 z = _mm512_setzero_ps();
        for (int32_t j = i; j < i + w->units_group; j++)
            z = _mm512_fmadd_ps(_mm512_set1_ps(scales[j]),
                                _mm512_cvtepi32_ps(_mm512_load_si512(c[j][t])), z);
        y = _mm512_fmadd_ps(w->scale[group], z, y);
        y = _mm512_fmadd_ps(w->bias[group], _mm512_set1_ps(sums[i / w->units_group]), y);
    }
    return y;
}

/* A chunk of one panel, from unit `begin` on, into the sums of 16 rows of activations. */
static void fold_chunk(const chunk *w, int32_t begin, const sluice_q8 *q, const float *q_sums,
                       int64_t row, __m512 sums[TILE])
{
    const int32_t units = q->cols / SLUICE_UNIT_COLS, groups = units / w->units_group;
    _Alignas(64) int32_t c[BATCH_UNITS][TILE][TILE];
    for (int32_t at = 0; at < w->units; at += BATCH_UNITS) {
        const int32_t count = w->units - at < BATCH_UNITS ? w->units - at : BATCH_UNITS;
        const int32_t unit = begin + at, group = unit / w->units_group;
        multiply(w, at, count, q->codes + row * q->stride + (int64_t)unit * SLUICE_UNIT_COLS,
                 q->stride, c);
        for (int t = 0; t < TILE; t++)
            sums[t] = fold(w, at, count, c, t, q->scales + (row + t) * units + unit,
                           q_sums + (row + t) * groups + group, sums[t]);
    }
}

/* One panel and n rows of activations, a multiple of 16, at most BLOCK_TOKENS. */
static void panel_rows(const sluice_weight *w, const uint8_t *panel, const sluice_q8 *q,
                       int64_t row, int32_t n, float *y, int64_t ldy, int lanes)
{
    __m512 sums[BLOCK_TOKENS];
    chunk codes = {.units_group = w->format.group / SLUICE_UNIT_COLS};
    const int32_t units = q->cols / SLUICE_UNIT_COLS;
    const size_t group_bytes = sluice_weight_panel_bytes(w->format, w->format.group);
    for (int32_t t = 0; t < n; t++)
        sums[t] = _mm512_setzero_ps();
    for (int32_t u = 0; u < units; u += CHUNK_UNITS) {
        codes.units = units - u < CHUNK_UNITS ? units - u : CHUNK_UNITS;
        unpack(w->format, panel + (size_t)(u / codes.units_group) * group_bytes, &codes);
        for (int32_t t = 0; t < n; t += TILE)
            fold_chunk(&codes, u, q, q->sums[w->format.group / 64], row + t, sums + t);
    }
    for (int32_t t = 0; t < n; t++)
        v16_store_n(y + t * ldy, sums[t], lanes);
}

void sluice_linear_q8_amx(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                          const sluice_q8 *q, int32_t row_begin, int32_t n, float *y, int64_t ldy)
{
    const size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    const int32_t whole = q->block == SLUICE_UNIT_COLS ? n / TILE * TILE : 0;
    if (whole) configure();
    for (int32_t t = 0; t < whole; t += BLOCK_TOKENS) {
        int32_t tokens = whole - t < BLOCK_TOKENS ? whole - t : BLOCK_TOKENS;
        for (int32_t p = panel_begin; p < panel_end; p++) {
            int32_t first = p * SLUICE_PANEL_ROWS, left = w->rows - first;
            panel_rows(w, (const uint8_t *)w->data + (size_t)p * bytes, q, row_begin + t, tokens,
                       y + t * ldy + first, ldy, left < TILE ? left : TILE);
        }
    }
    if (whole) _tile_release();
    if (whole < n)
        sluice_linear_q8_avx512vnni(w, panel_begin, panel_end, q, row_begin + whole, n - whole,
                                    y + whole * ldy, ldy);
}

void sluice_linear_q8_init_amx(sluice_kernels *table)
{
    table->linear_q8 = sluice_linear_q8_amx;
}
