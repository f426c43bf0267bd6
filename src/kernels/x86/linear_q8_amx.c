/* linear_q8 with AMX, for 16 rows of activations at a time: a block of 64 (or 32) columns is one
 * tdpbsud. Rows that do not fill a tile go to VNNI, which gives the same bits.
 *
 * The product itself is nearly free (16 cycles for 16 x 16 x 64); what costs is folding its 16 x 16
 * integers into f32, so a few blocks are multiplied before the sums of each row of activations are
 * loaded, folded and stored once. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/x86/v16_avx512.h"

#include "kernels/linear_lines.h"

#define TILE 16          /* rows of activations, and of weights */
#define CHUNK_BLOCKS 8   /* blocks whose codes are unpacked at a time: 8 KiB */
#define BATCH_BLOCKS 4   /* blocks that are multiplied before they are folded: one tile each */
#define BLOCK_TOKENS 128 /* rows of activations with sums on the stack: 8 KiB */

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles 0..3 are products, 4 activations, 5 codes. */
static void configure(int32_t block)
{
    tile_config config = {.palette = 1};
    for (int i = 0; i < 6; i++) {
        config.rows[i] = TILE;
        config.row_bytes[i] = 64;
    }
    config.row_bytes[4] = (uint16_t)block;
    config.rows[5] = (uint8_t)(block / 4);
    _tile_loadconfig(&config);
}

/* Unpacked blocks of one panel: lines of codes (the second operand of tdpbsud), scales, biases. */
typedef struct chunk {
    _Alignas(64) uint8_t codes[CHUNK_BLOCKS][16 * SLUICE_LINE_BYTES];
    __m512 scale[CHUNK_BLOCKS], bias[CHUNK_BLOCKS];
} chunk;

V16_INLINE void unpack_block(int bits, const uint8_t *unit, int32_t block, uint8_t *out)
{
    for (int32_t col = 0; col < block; col += SLUICE_UNIT_COLS, unit += linear_unit_bytes(bits))
        LINEAR_UNROLL for (int k = 0; k < 8; k++, out += SLUICE_LINE_BYTES)
            _mm512_store_si512(out, linear_unit_quad(unit, bits, k));
}

/* Blocks [first, first + count) of the panel. */
static void unpack(const sluice_weight *w, int32_t block, const uint8_t *panel, int32_t first,
                   int32_t count, chunk *out)
{
    const sluice_weight_format f = w->format;
    const int32_t per_group = f.group / block, scale_bytes = linear_scale_bytes(f.scale);
    const int32_t block_bytes = block / SLUICE_UNIT_COLS * linear_unit_bytes(f.bits);
    const int32_t group_bytes = per_group * block_bytes + 2 * scale_bytes;
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *group = panel + (int64_t)((first + i) / per_group) * group_bytes;
        const uint8_t *unit = group + (first + i) % per_group * block_bytes;
        const uint8_t *tail = group + per_group * block_bytes;
        out->scale[i] = linear_scales(tail, f.scale);
        out->bias[i] = linear_scales(tail + scale_bytes, f.scale);
#define UNPACK(bits) unpack_block(bits, unit, block, out->codes[i])
        LINEAR_SWITCH_BITS(f.bits, UNPACK)
#undef UNPACK
    }
}

/* Products of up to four blocks: c[i] = x [16, block] times codes of block first + i. */
static void multiply(const chunk *w, int32_t first, int32_t count, const int8_t *x, int32_t stride,
                     int32_t block, int32_t (*c)[TILE][TILE])
{
#define ONE(i)                                                                                     \
    if (i < count) {                                                                               \
        _tile_zero(i);                                                                             \
        _tile_loadd(4, x + i * block, stride);                                                     \
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

/* A chunk of one panel into the sums of 16 rows of activations. q_row is the first of them. */
static void fold_chunk(const chunk *w, int32_t first, int32_t count, const sluice_q8 *q,
                       int64_t q_row, __m512 sums[TILE])
{
    const int32_t blocks = q->cols / q->block;
    _Alignas(64) int32_t c[BATCH_BLOCKS][TILE][TILE];
    for (int32_t at = 0; at < count; at += BATCH_BLOCKS) {
        int32_t batch = count - at < BATCH_BLOCKS ? count - at : BATCH_BLOCKS;
        int32_t begin = first + at;
        multiply(w, at, batch, q->codes + q_row * q->stride + (int64_t)begin * q->block, q->stride,
                 q->block, c);
        for (int t = 0; t < TILE; t++) {
            const float *scales = q->scales + (q_row + t) * blocks + begin;
            const float *tails = q->sums + (q_row + t) * blocks + begin;
            __m512 y = sums[t];
            for (int32_t i = 0; i < batch; i++) {
                __m512 scale = _mm512_mul_ps(w->scale[at + i], _mm512_set1_ps(scales[i]));
                __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(c[i][t]));
                y = _mm512_fmadd_ps(scale, dot, y);
                y = _mm512_fmadd_ps(w->bias[at + i], _mm512_set1_ps(tails[i]), y);
            }
            sums[t] = y;
        }
    }
}

/* One panel and n rows of activations, a multiple of 16, at most BLOCK_TOKENS. */
static void panel_rows(const sluice_weight *w, const uint8_t *panel, const sluice_q8 *q,
                       int64_t q_row, int32_t n, float *y, int64_t ldy, int lanes)
{
    __m512 sums[BLOCK_TOKENS];
    chunk codes;
    const int32_t blocks = q->cols / q->block;
    for (int32_t t = 0; t < n; t++)
        sums[t] = _mm512_setzero_ps();
    for (int32_t first = 0; first < blocks; first += CHUNK_BLOCKS) {
        int32_t count = blocks - first < CHUNK_BLOCKS ? blocks - first : CHUNK_BLOCKS;
        unpack(w, q->block, panel, first, count, &codes);
        for (int32_t t = 0; t < n; t += TILE)
            fold_chunk(&codes, first, count, q, q_row + t, sums + t);
    }
    for (int32_t t = 0; t < n; t++)
        v16_store_n(y + t * ldy, sums[t], lanes);
}

void sluice_linear_q8_amx(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                          const sluice_q8 *q, int32_t row_begin, int32_t n, float *y, int64_t ldy)
{
    const size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    const int32_t whole = n / TILE * TILE;
    if (whole) configure(q->block);
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
