/* Affine weights times int8 activations: the body that each instruction set compiles.
 *
 * The including file defines, besides v16 and the lines of linear_lines.h (LINE_LANES rows):
 *   sums                     LINE_LANES x i32
 *   dot_begin(bits, x, n)    the sums to begin n columns with: zero, or what dot leaves out
 *   dot(bits, s, w, x)       s + the dots of 16 columns: w[0..3] are quads of codes, x 16 bytes
 *   part                     LINE_LANES x f32: part_zero, part_set1, part_mul, part_fma,
 *                            part_store, part_of(v16f, lane), part_from(sums)
 *   TILE_TOKENS              the most rows of activations in a register tile: 8, 6, 4 or 1
 *   LINEAR_Q8_NAME, LINEAR_Q8_INIT   the kernel, and the function that enters it into a table
 *
 * A tile unpacks each quad of codes once for its rows of activations. Sums of integers are exact,
 * so only the order of folding (kernels.h) decides the bits, and it is by blocks of columns
 * whatever the tile. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/linear_lines.h"

/* Rows of activations that go through a panel before the next panel: they stay in the L2 cache. */
#define BLOCK_BYTES (384 * 1024)

/* The first tile of a panel streams its weights from memory, and asks for them ahead: one row into
 * L2 (into L1 costs a tenth of the bandwidth, leaving it to the processor a third), more rows into
 * L1 and further (five from memory: 33 products a cycle, and 23 whatever is asked for into L2; Zen
 * 4). */
#define PREFETCH_BYTES 1024
#define PREFETCH_BYTES_ROWS 4096

/* Rows of activations, from the first of a tile. */
typedef struct tile_rows {
    const int8_t *codes;
    const float *scales, *sums;
    int32_t stride, blocks, groups; /* of codes, scales, sums */
    bool first;                     /* whose weights are not in cache yet */
} tile_rows;

/* z[t] += the dots of one unit (32 columns), each block times its scale. */
V16_INLINE void unit_dots(int bits, int block, int tokens, const uint8_t *unit, const tile_rows *r,
                          const int8_t *x, const float *scales, part z[TILE_TOKENS])
{
    sums s[TILE_TOKENS];
    LINEAR_UNROLL for (int half = 0; half < 2; half++)
    {
        line w[4];
        LINEAR_UNROLL for (int k = 0; k < 4; k++) w[k] = linear_unit_quad(unit, bits, 4 * half + k);
        LINEAR_UNROLL for (int t = 0; t < tokens; t++)
        {
            const int8_t *columns = x + (int64_t)t * r->stride + 16 * half;
            if (block == 16 || half == 0) s[t] = dot_begin(bits, columns, block);
            s[t] = dot(bits, s[t], w, columns);
        }
        if (block == 32 && half == 0) continue;
        LINEAR_UNROLL for (int t = 0; t < tokens; t++)
        {
            const float *scale = scales + (int64_t)t * r->blocks + (block == 16 ? half : 0);
            z[t] = part_fma(part_set1(*scale), part_from(s[t]), z[t]);
        }
    }
}

V16_INLINE void prefetch_unit(const uint8_t *unit, int bits, int tokens)
{
    LINEAR_UNROLL for (int l = 0; l < bits; l++)
    {
        const uint8_t *at = unit + l * SLUICE_LINE_BYTES;
        if (tokens == 1)
            __builtin_prefetch(at + PREFETCH_BYTES, 0, 2);
        else
            __builtin_prefetch(at + PREFETCH_BYTES_ROWS, 0, 3);
    }
}

V16_INLINE void tile(const sluice_weight *w, int bits, int block, int tokens, const uint8_t *panel,
                     int lane, const tile_rows *r, part y[TILE_TOKENS])
{
    const int units = w->format.group / SLUICE_UNIT_COLS;
    const int scale_bytes = linear_scale_bytes(w->format.scale);
    const int8_t *x = r->codes;
    const float *scales = r->scales;
    LINEAR_UNROLL for (int t = 0; t < tokens; t++) y[t] = part_zero();
    for (int32_t g = 0; g < r->groups; g++) {
        const uint8_t *tail = panel + units * linear_unit_bytes(bits);
        part z[TILE_TOKENS];
        LINEAR_UNROLL for (int t = 0; t < tokens; t++) z[t] = part_zero();
        for (; panel < tail; panel += linear_unit_bytes(bits)) {
            if (r->first) prefetch_unit(panel, bits, tokens);
            unit_dots(bits, block, tokens, panel + 4 * lane, r, x, scales, z);
            x += SLUICE_UNIT_COLS;
            scales += SLUICE_UNIT_COLS / block;
        }
        part scale = part_of(linear_scales(tail, w->format.scale), lane);
        part bias = part_of(linear_scales(tail + scale_bytes, w->format.scale), lane);
        LINEAR_UNROLL for (int t = 0; t < tokens; t++)
        {
            y[t] = part_fma(scale, z[t], y[t]);
            y[t] = part_fma(bias, part_set1(r->sums[(int64_t)t * r->groups + g]), y[t]);
        }
        panel = tail + 2 * scale_bytes;
    }
}

/* One tile into y, lanes of the 16 rows that exist. */
V16_INLINE void tile_out(const sluice_weight *w, int bits, int block, int tokens,
                         const uint8_t *panel, const tile_rows *r, float *y, int64_t ldy, int lanes)
{
    float out[TILE_TOKENS][SLUICE_PANEL_ROWS];
    for (int lane = 0; lane < SLUICE_PANEL_ROWS; lane += LINE_LANES) {
        part p[TILE_TOKENS];
        tile(w, bits, block, tokens, panel, lane, r, p);
        LINEAR_UNROLL for (int t = 0; t < tokens; t++) part_store(out[t] + lane, p[t]);
    }
    for (int t = 0; t < tokens; t++) {
        if (lanes == SLUICE_PANEL_ROWS) /* all but the last panel: a store, not a call */
            memcpy(y + t * ldy, out[t], sizeof out[t]);
        else
            memcpy(y + t * ldy, out[t], (size_t)lanes * sizeof(float));
    }
}

/* How many of the rows that are left the next tile takes: sizes that exist, and no small rest. */
static int tile_tokens(int32_t left)
{
#if TILE_TOKENS == 8
    static const uint8_t take[] = {0, 1, 2, 3, 4, 5, 6, 4, 8, 5, 5, 6, 6, 8};
    return left < 14 ? take[left] : 8;
#elif TILE_TOKENS == 6
    static const uint8_t take[] = {0, 1, 2, 3, 4, 5, 6, 4, 4, 5, 5};
    return left < 11 ? take[left] : 6;
#elif TILE_TOKENS == 4
    static const uint8_t take[] = {0, 1, 2, 3, 4, 3};
    return left < 6 ? take[left] : 4;
#else
    (void)left;
    return 1;
#endif
}

#define TILE_CASE(tokens)                                                                          \
    case tokens: tile_out(w, bits, block, tokens, panel, r, y, ldy, lanes); break

/* One function a number of bits and a block: all tile sizes inside. */
#define DEFINE_TILE(bits, block)                                                                   \
    static void tile_q##bits##_##block(const sluice_weight *w, int tokens, const uint8_t *panel,   \
                                       const tile_rows *r, float *y, int64_t ldy, int lanes)       \
    {                                                                                              \
        tile_any(w, bits, block, tokens, panel, r, y, ldy, lanes);                                 \
    }

V16_INLINE void tile_any(const sluice_weight *w, int bits, int block, int tokens,
                         const uint8_t *panel, const tile_rows *r, float *y, int64_t ldy, int lanes)
{
    switch (tokens) {
        TILE_CASE(1);
#if TILE_TOKENS >= 4
        TILE_CASE(2);
        TILE_CASE(3);
        TILE_CASE(4);
#endif
#if TILE_TOKENS >= 6
        TILE_CASE(5);
        TILE_CASE(6);
#endif
#if TILE_TOKENS >= 8
        TILE_CASE(8);
#endif
    }
}

DEFINE_TILE(2, 16)
DEFINE_TILE(3, 16)
DEFINE_TILE(4, 16)
DEFINE_TILE(5, 16)
DEFINE_TILE(6, 16)
DEFINE_TILE(8, 16)
DEFINE_TILE(2, 32)
DEFINE_TILE(3, 32)
DEFINE_TILE(4, 32)
DEFINE_TILE(5, 32)
DEFINE_TILE(6, 32)
DEFINE_TILE(8, 32)

typedef void (*tile_fn)(const sluice_weight *w, int tokens, const uint8_t *panel,
                        const tile_rows *r, float *y, int64_t ldy, int lanes);

static tile_fn tile_of(int bits, int32_t block)
{
#define TILE_OF(bits) return block == 16 ? tile_q##bits##_16 : tile_q##bits##_32
    LINEAR_SWITCH_BITS(bits, TILE_OF)
#undef TILE_OF
}

void LINEAR_Q8_NAME(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,
                    const sluice_q8 *q, int32_t row_begin, int32_t n, float *y, int64_t ldy)
{
    const size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    const int32_t blocks = q->cols / q->block, groups = q->cols / w->format.group;
    const float *sums_of_groups = q->sums[w->format.group / 64]; /* 32, 64, 128: 0, 1, 2 */
    const tile_fn tile_rows_fn = tile_of(w->format.bits, q->block);
    int32_t step = BLOCK_BYTES / w->cols / TILE_TOKENS * TILE_TOKENS;
    if (step < TILE_TOKENS) step = TILE_TOKENS;
    for (int32_t begin = 0, end; begin < n; begin = end) {
        end = n - begin < step + TILE_TOKENS ? n : begin + step;
        for (int32_t p = panel_begin; p < panel_end; p++) {
            const uint8_t *panel = (const uint8_t *)w->data + (size_t)p * bytes;
            int32_t first = p * SLUICE_PANEL_ROWS, left = w->rows - first;
            int lanes = left < SLUICE_PANEL_ROWS ? left : SLUICE_PANEL_ROWS;
            for (int32_t t = begin, tokens; t < end; t += tokens) {
                int64_t row = row_begin + t;
                tile_rows r = {.codes = q->codes + row * q->stride,
                               .scales = q->scales + row * blocks,
                               .sums = sums_of_groups + row * groups,
                               .stride = q->stride,
                               .blocks = blocks,
                               .groups = groups,
                               .first = t == begin};
                tokens = tile_tokens(end - t);
                tile_rows_fn(w, tokens, panel, &r, y + t * ldy + first, ldy, lanes);
            }
        }
    }
}

void LINEAR_Q8_INIT(sluice_kernels *table)
{
    table->linear_q8 = LINEAR_Q8_NAME;
}
