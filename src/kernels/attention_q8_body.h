/* Attention over one chunk of a cache in int8: products in integers, the softmax in f32.
 *
 * A key or a value is a code an element and one scale (backend.h draws the blocks). A query is
 * quantised in the same way, so a score is an exact integer times two scales. The weights of a
 * block of 64 positions, times the scales of their values, become codes of 0..255 with one scale,
 * so what a block adds to an output is an exact integer times that scale. Positions that a row does
 * not see have the code zero: they add nothing, whatever their bytes are.
 *
 * The including file defines, besides v16, and line, sums and part as linear_q8_body.h has them:
 *   part_load                  LINE_LANES floats
 *   bytes_store(to, v16i)      the low byte of each lane
 *   begin_keys(sum), begin_values(sum)   the sums to begin with; sum: of the vector's codes
 *   SUMS_OF_VALUES             whether begin_values reads its argument
 *   dot_keys(s, w, x)          s + the dots of quads of u8 (codes + 128) with 4 signed bytes at x
 *   dot_values(s, w, x)        s + the dots of quads of s8 with 4 unsigned bytes at x
 *   TILE_ROWS, TILE_LINES      the register tile: vectors, and lines of LINE_LANES
 *   ATTENTION_Q8_INIT
 *
 * Sums of integers are exact, so tiles never show; scale by scale the order is stated once. */
#include "kernels/attention_softmax_body.h"
#include "kernels/families.h"
#include "kernels/kernels.h"

#define TINY 1e-30f /* 255 / max stays finite, and nothing that small matters */
#define QUAD_BYTES 64
#define QUADS_BYTES (4 * QUAD_BYTES)

/* What is read next is asked for into L2, five lines a step: its codes take four and a bit. */
#define AHEAD_BYTES (5 * 64)

/* Vectors of codes times lines of codes. Keys: 16 positions are the lanes, sums run along the head;
 * values: 16 elements of the head are the lanes, sums run along positions. Line u of the 16 lanes
 * and step s (16 elements of the sum) begin at u * b_line + s * b_step. */
typedef struct q8_product {
    int32_t count, lanes, steps; /* vectors; results of a vector; 16ths of a sum */
    const uint8_t *a;            /* [count, a_row] */
    int32_t a_row;
    const float *a_scales; /* [count] */
    const int32_t *a_sums; /* [count] */
    const uint8_t *b;
    int64_t b_line, b_step;
    float *out; /* [count, out_row] */
    int32_t out_row;
    const char *ahead; /* what is read next: asked for meanwhile */
    int64_t ahead_bytes;
} q8_product;

/* The keys' scales lie behind the last step of their line. */
V16_INLINE void fold_keys(const q8_product *g, int32_t i, int32_t lane, const uint8_t *scales,
                          sums s)
{
    float each[LINE_LANES];
    memcpy(each, scales, sizeof each);
    const part product = part_mul(part_from(s), part_set1(g->a_scales[i]));
    part_store(g->out + (int64_t)i * g->out_row + lane, part_mul(product, part_load(each)));
}

V16_INLINE void fold_values(const q8_product *g, int32_t i, int32_t lane, sums s)
{
    float *out = g->out + (int64_t)i * g->out_row + lane;
    part_store(out, part_fma(part_set1(g->a_scales[i]), part_from(s), part_load(out)));
}

/* Where not all lanes exist. */
V16_INLINE void fold_some_values(const q8_product *g, int32_t i, int32_t lane, sums s)
{
    float *out = g->out + (int64_t)i * g->out_row + lane, each[LINE_LANES] = {0};
    const int32_t left = g->lanes - lane < LINE_LANES ? g->lanes - lane : LINE_LANES;
    if (left <= 0) return;
    memcpy(each, out, (size_t)left * sizeof *out);
    part_store(each, part_fma(part_set1(g->a_scales[i]), part_from(s), part_load(each)));
    memcpy(out, each, (size_t)left * sizeof *out);
}

/* A tile's sums into its results; b: behind the last step of each line. */
V16_INLINE void q8_fold(const q8_product *g, int32_t i, int32_t lane, const int rows,
                        const int lines, const bool keys, const uint8_t *const b[TILE_LINES],
                        sums s[TILE_ROWS][TILE_LINES])
{
    if (keys) {
        LINEAR_UNROLL for (int r = 0; r < rows; r++) LINEAR_UNROLL for (int j = 0; j < lines; j++)
            fold_keys(g, i + r, lane + j * LINE_LANES, b[j], s[r][j]);
    } else if (lane + lines * LINE_LANES <= g->lanes) {
        LINEAR_UNROLL for (int r = 0; r < rows; r++) LINEAR_UNROLL for (int j = 0; j < lines; j++)
            fold_values(g, i + r, lane + j * LINE_LANES, s[r][j]);
    } else {
        LINEAR_UNROLL for (int r = 0; r < rows; r++) LINEAR_UNROLL for (int j = 0; j < lines; j++)
            fold_some_values(g, i + r, lane + j * LINE_LANES, s[r][j]);
    }
}

V16_INLINE void q8_tile(const q8_product *g, int32_t i, int32_t lane, const int rows,
                        const int lines, const bool keys, const char *ahead)
{
    const uint8_t *a = g->a + (int64_t)i * g->a_row, *b[TILE_LINES];
    sums s[TILE_ROWS][TILE_LINES];
    LINEAR_UNROLL for (int j = 0; j < lines; j++)
    {
        const int32_t at = lane + j * LINE_LANES;
        b[j] = g->b + at / 16 * g->b_line + at % 16 * 4;
        LINEAR_UNROLL for (int r = 0; r < rows; r++)
        {
            s[r][j] = keys ? begin_keys(g->a_sums[i + r]) : begin_values(g->a_sums[i + r]);
        }
    }
    for (int32_t step = 0; step < g->steps; step++) {
        LINEAR_UNROLL for (int quad = 0; quad < 4; quad++)
        {
            line w[TILE_LINES];
            if (ahead) __builtin_prefetch(ahead + quad * 64, 0, 2);
            LINEAR_UNROLL for (int j = 0; j < lines; j++) w[j] =
                line_load(b[j] + quad * QUAD_BYTES);
            LINEAR_UNROLL for (int r = 0; r < rows; r++)
            {
                const uint8_t *x = a + (int64_t)r * g->a_row + quad * 4;
                LINEAR_UNROLL for (int j = 0; j < lines; j++) s[r][j] =
                    keys ? dot_keys(s[r][j], w[j], x) : dot_values(s[r][j], w[j], x);
            }
        }
        LINEAR_UNROLL for (int j = 0; j < lines; j++) b[j] += g->b_step;
        a += 16;
        if (ahead) {
            __builtin_prefetch(ahead + QUADS_BYTES, 0, 2);
            ahead += AHEAD_BYTES;
        }
    }
    q8_fold(g, i, lane, rows, lines, keys, b, s);
}

/* The next tile, and what it asks for ahead. */
V16_INLINE void q8_next(const q8_product *g, int32_t i, int32_t lane, const int rows,
                        const int lines, const bool keys, int64_t *asked)
{
    if (*asked < g->ahead_bytes) {
        q8_tile(g, i, lane, rows, lines, keys, g->ahead + *asked);
        *asked += (int64_t)g->steps * AHEAD_BYTES;
    } else {
        q8_tile(g, i, lane, rows, lines, keys, NULL);
    }
}

V16_INLINE void q8_lines(const q8_product *g, int32_t lane, const int lines, const bool keys,
                         int64_t *asked)
{
    int32_t i = 0;
    for (; i + TILE_ROWS <= g->count; i += TILE_ROWS)
        q8_next(g, i, lane, TILE_ROWS, lines, keys, asked);
    for (; i < g->count; i++)
        q8_next(g, i, lane, 1, lines, keys, asked);
}

V16_INLINE void q8_multiply(const q8_product *g, const bool keys)
{
    const int32_t lanes = (g->lanes + 15) / 16 * 16;
    int64_t asked = 0;
    int32_t lane = 0;
    for (; lane + TILE_LINES * LINE_LANES <= lanes; lane += TILE_LINES * LINE_LANES)
        q8_lines(g, lane, TILE_LINES, keys, &asked);
    for (; lane < lanes; lane += LINE_LANES)
        q8_lines(g, lane, 1, keys, &asked);
}

static void multiply_keys(const q8_product *g)
{
    q8_multiply(g, true);
}

static void multiply_values(const q8_product *g)
{
    q8_multiply(g, false);
}

/* One vector: codes of -127..127 up to the next multiple of 16; returns the scale. */
static float quantize_vector(const float *x, int32_t n, int8_t *codes, int32_t *sum)
{
    v16f top = v16_zero(), total = v16_zero();
    for (int32_t d = 0; d < n; d += 16)
        top = v16_max(v16_abs(v16_load_at(x, d, n)), top);
    const float max = v16_reduce_max(top);
    const bool some = max >= TINY;
    const v16f inverse = v16_set1(some ? 127.0f / max : 0.0f);
    for (int32_t d = 0; d < n; d += 16) {
        const v16i code = v16_to_i(v16_mul(v16_load_at(x, d, n), inverse));
        bytes_store(codes + d, code);
        total = v16_add(total, v16_from_i(code)); /* small integers: exact */
    }
    *sum = (int32_t)v16_reduce_add(total);
    return some ? max / 127.0f : 0.0f;
}

static float quantize_head(const float *x, int32_t n, int8_t *codes)
{
    int32_t sum;
    return quantize_vector(x, n, codes, &sum);
}

/* Weights of a block times the scales of its values, as codes of 0..255; returns their scale. */
V16_INLINE float quantize_weights(const float *weights, const uint8_t *scales, size_t block_bytes,
                                  int32_t seen, uint8_t *codes, int32_t *sum)
{
    v16f w[4], top = v16_zero(), total = v16_zero();
    LINEAR_UNROLL for (int j = 0; j < 4; j++)
    {
        w[j] = v16_zero();
        if (16 * j < seen) {
            float lanes[16];
            memcpy(lanes, scales + (size_t)j * block_bytes, sizeof lanes);
            w[j] = v16_mul(v16_load(weights + 16 * j), v16_load(lanes));
            if (seen < 16 * j + 16) {
                v16_store(lanes, w[j]);
                w[j] = v16_load_n(lanes, seen - 16 * j);
            }
        }
        top = v16_max(w[j], top);
    }
    const float max = v16_reduce_max(top);
    const bool some = max >= TINY;
    const v16f inverse = v16_set1(some ? 255.0f / max : 0.0f);
    LINEAR_UNROLL for (int j = 0; j < 4; j++)
    {
        const v16i code = v16_to_i(v16_mul(w[j], inverse));
        bytes_store(codes + 16 * j, code);
        if (SUMS_OF_VALUES) total = v16_add(total, v16_from_i(code));
    }
    *sum = SUMS_OF_VALUES ? (int32_t)v16_reduce_add(total) : 0;
    return some ? max * (1.0f / 255.0f) : 0.0f;
}

/* The tile's scratch: one set of codes, scales and sums for queries, one for weights. */
typedef struct q8_codes {
    int8_t *queries;  /* [count, row] */
    uint8_t *weights; /* [count, 64] */
    float *query_scales, *weight_scales;
    int32_t *query_sums, *weight_sums; /* [count] */
    int32_t row;
    size_t block; /* bytes of 16 positions */
} q8_codes;

static q8_codes codes_of(const sluice_attention_tile *t)
{
    const int32_t count = t->rows * t->group;
    q8_codes c = {.row = sluice_kv_padded(t->head_dim),
                  .block = SLUICE_KV_BLOCK * sluice_kv_bytes(SLUICE_KV_INT8, t->head_dim)};
    c.query_scales = t->codes;
    c.weight_scales = c.query_scales + count;
    c.query_sums = (int32_t *)(void *)(c.weight_scales + count);
    c.weight_sums = c.query_sums + count;
    c.weights = (uint8_t *)(c.weight_sums + count);
    c.queries = (int8_t *)(c.weights + (size_t)count * 64);
    return c;
}

/* What block of 16 positions holds position, a multiple of 16. */
static const uint8_t *block_of(const q8_codes *c, const void *kv, int32_t position)
{
    return (const uint8_t *)kv + (size_t)(position / SLUICE_KV_BLOCK) * c->block;
}

static void attention_block(const sluice_attention_tile *t, const q8_codes *c, int32_t begin)
{
    /* Rows see ever more, so those that see something of this block are the last ones. */
    int32_t row = 0;
    while (row < t->rows && attention_seen(t, begin, row) == 0) {
        row++;
    }
    if (row == t->rows) return;
    const int32_t first = row * t->group, count = t->rows * t->group - first;
    const int32_t seen = attention_seen(t, begin, t->rows - 1);
    const int32_t blocks = (seen + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK;
    const uint8_t *values = block_of(c, t->v, begin);
    multiply_keys(&(q8_product){.count = count,
                                .lanes = blocks * SLUICE_KV_BLOCK,
                                .steps = c->row / 16,
                                .a = (const uint8_t *)c->queries + (int64_t)first * c->row,
                                .a_row = c->row,
                                .a_scales = c->query_scales + first,
                                .a_sums = c->query_sums + first,
                                .b = block_of(c, t->k, begin),
                                .b_line = (int64_t)c->block,
                                .b_step = QUADS_BYTES,
                                .out = t->scores + (int64_t)first * 64,
                                .out_row = 64,
                                .ahead = (const char *)values,
                                .ahead_bytes = blocks * (int64_t)c->block});
    for (int32_t i = first; i < first + count; i++) {
        const int32_t own = attention_seen(t, begin, i / t->group);
        attention_weigh(t, i, own);
        c->weight_scales[i] =
            quantize_weights(t->scores + (int64_t)i * 64, values + (size_t)c->row * SLUICE_KV_BLOCK,
                             c->block, own, c->weights + (int64_t)i * 64, &c->weight_sums[i]);
    }
    multiply_values(&(q8_product){.count = count,
                                  .lanes = t->head_dim,
                                  .steps = blocks,
                                  .a = c->weights + (int64_t)first * 64,
                                  .a_row = 64,
                                  .a_scales = c->weight_scales + first,
                                  .a_sums = c->weight_sums + first,
                                  .b = values,
                                  .b_line = QUADS_BYTES,
                                  .b_step = (int64_t)c->block,
                                  .out = t->sums.acc + (int64_t)first * t->head_dim,
                                  .out_row = t->head_dim,
                                  .ahead = (const char *)block_of(c, t->k, begin + 64),
                                  .ahead_bytes = begin + 64 < t->end ? 4 * (int64_t)c->block : 0});
}

static void attention_q8(const sluice_attention_tile *t)
{
    const q8_codes c = codes_of(t);
    attention_clear(t);
    for (int32_t i = 0; i < t->rows * t->group; i++)
        c.query_scales[i] = quantize_vector(t->q + (int64_t)i * t->head_dim, t->head_dim,
                                            c.queries + (int64_t)i * c.row, &c.query_sums[i]);
    for (int32_t begin = t->begin; begin < t->end; begin += 64)
        attention_block(t, &c, begin);
}

void ATTENTION_Q8_INIT(sluice_kernels *table)
{
    table->attention_q8 = attention_q8;
    table->quantize_head = quantize_head;
}
