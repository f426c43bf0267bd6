/* Where the scratch of the CPU backend lies: one allocation, drawn in cpu.h. */
#include "kernels/cpu.h"
#include "kernels/gdn_head.h"

#define LINE 64

/* Hands out pieces of a block; with base NULL it only counts. */
typedef struct carver {
    unsigned char *base;
    size_t used;
} carver;

static void *carve(carver *from, size_t count, size_t size)
{
    void *at = from->base ? from->base + from->used : NULL;
    from->used += (count * size + LINE - 1) / LINE * LINE;
    return at;
}

static float *carve_floats(carver *from, int64_t count)
{
    return carve(from, (size_t)count, sizeof(float));
}

static sluice_attention_sums carve_sums(carver *from, int64_t vectors, int32_t head_dim)
{
    return (sluice_attention_sums){.acc = carve_floats(from, vectors * head_dim),
                                   .max = carve_floats(from, vectors),
                                   .sum = carve_floats(from, vectors)};
}

int32_t sluice_cpu_attention_rows(const sluice_geometry *g)
{
    const int32_t group = g->heads / g->kv_heads;
    const int32_t rows = SLUICE_CPU_KV_QUERY / group;
    return rows < 1 ? 1 : rows > SLUICE_CPU_TILE ? SLUICE_CPU_TILE : rows;
}

static int64_t attention_vectors(const sluice_geometry *g)
{
    return g->heads ? (int64_t)sluice_cpu_attention_rows(g) * (g->heads / g->kv_heads) : 0;
}

/* The widest rows that enter a matrix. */
static int32_t widest(const sluice_geometry *g)
{
    const int32_t widths[] = {g->hidden, g->heads * g->head_dim, g->gdn_v_heads * g->gdn_v_dim,
                              g->expert_width, g->shared_width};
    int32_t cols = 0;
    for (int i = 0; i < 5; i++) {
        if (widths[i] > cols) cols = widths[i];
    }
    return (cols + 63) / 64 * 64;
}

static void lay_out_workers(const sluice_geometry *g, int threads, carver *from,
                            sluice_cpu_scratch *scratch)
{
    const int64_t vectors = attention_vectors(g);
    const size_t inputs = (size_t)(SLUICE_CPU_TILE + g->conv_width);
    scratch->workers = carve(from, (size_t)threads, sizeof *scratch->workers);
    for (int i = 0; i < threads; i++) {
        sluice_cpu_worker worker;
        worker.conv_rows = carve(from, inputs, sizeof *worker.conv_rows);
        worker.q = carve_floats(from, vectors * g->head_dim);
        worker.scores = carve_floats(from, vectors * 64);
        worker.wide = carve_floats(from, (int64_t)64 * g->head_dim);
        worker.codes = carve(from, (size_t)sluice_attention_codes_bytes(vectors, g->head_dim), 1);
        worker.part = carve_sums(from, vectors, g->head_dim);
        worker.total = carve_sums(from, vectors, g->head_dim);
        worker.gdn = carve_floats(from, sluice_gdn_scratch(g->gdn_k_dim, g->gdn_v_dim));
        if (from->base) scratch->workers[i] = worker;
    }
}

/* Not shared: the array points into what follows it. */
static void lay_out_slots(const sluice_geometry *g, carver *from, sluice_cpu_scratch *scratch)
{
    const int slots = g->heads ? SLUICE_CPU_KV_SLOTS + SLUICE_CPU_KV_UNITS : 0;
    scratch->slots = carve(from, (size_t)slots, sizeof *scratch->slots);
    for (int i = 0; i < slots; i++) {
        const sluice_attention_sums slot = carve_sums(from, attention_vectors(g), g->head_dim);
        if (from->base) scratch->slots[i] = slot;
    }
}

static void lay_out_attention(const sluice_geometry *g, int64_t rows, carver *from,
                              sluice_cpu_scratch *scratch)
{
    const int64_t queries = rows * g->heads * g->head_dim, keys = rows * g->kv_heads * g->head_dim;
    scratch->q = carve_floats(from, 2 * queries);
    scratch->k = carve_floats(from, keys);
    scratch->v = carve_floats(from, keys);
    scratch->out = carve_floats(from, queries);
}

static void lay_out_gdn(const sluice_geometry *g, int64_t rows, carver *from,
                        sluice_cpu_scratch *scratch)
{
    const int64_t values = rows * g->gdn_v_heads * g->gdn_v_dim, heads = rows * g->gdn_v_heads;
    scratch->qkv = carve_floats(from, rows * sluice_gdn_channels(g));
    scratch->mixed = carve_floats(from, rows * sluice_gdn_channels(g));
    scratch->z = carve_floats(from, values);
    scratch->o = carve_floats(from, values);
    scratch->a = carve_floats(from, heads);
    scratch->b = carve_floats(from, heads);
    scratch->g = carve_floats(from, heads);
    scratch->beta = carve_floats(from, heads);
}

static void lay_out_moe(const sluice_geometry *g, int64_t rows, int64_t together, carver *from,
                        sluice_cpu_scratch *scratch)
{
    const int64_t width = g->expert_width > g->shared_width ? g->expert_width : g->shared_width;
    scratch->logits = carve_floats(from, rows * g->experts);
    scratch->gate = carve_floats(from, together * width);
    scratch->up = carve_floats(from, together * width);
    scratch->shared = carve_floats(from, rows);
    scratch->gather = carve(from, (size_t)together, sizeof *scratch->gather);
}

size_t sluice_cpu_scratch_lay_out(const sluice_geometry *g, int32_t rows_max, int threads,
                                  bool exact, void *base, sluice_cpu_scratch *scratch)
{
    const int64_t rows = rows_max;
    const int32_t together = sluice_cpu_together_rows(rows_max);
    carver from = {base, 0};
    scratch->x = carve_floats(&from, (int64_t)together * g->hidden);
    scratch->y = carve_floats(&from, (int64_t)together * g->hidden);
    scratch->q8 = carve(&from, exact ? 0 : sluice_cpu_rows_bytes(together, widest(g)), 1);
    scratch->tiles = carve(&from, (size_t)rows, sizeof *scratch->tiles);
    scratch->cosines = carve_floats(&from, rows * (g->rotary_dim / 2));
    scratch->sines = carve_floats(&from, rows * (g->rotary_dim / 2));
    scratch->rope_positions = carve(&from, (size_t)rows, sizeof *scratch->rope_positions);
    scratch->low_rank = carve_floats(&from, SLUICE_CPU_LINEARS_MAX * rows * g->low_rank);
    lay_out_workers(g, threads, &from, scratch);
    lay_out_slots(g, &from, scratch);

    /* The blocks run one after another and share what is left. */
    carver attention = from, gdn = from, moe = from;
    lay_out_attention(g, rows, &attention, scratch);
    lay_out_gdn(g, rows, &gdn, scratch);
    lay_out_moe(g, rows, together, &moe, scratch);
    size_t used = attention.used > gdn.used ? attention.used : gdn.used;
    return used > moe.used ? used : moe.used;
}
