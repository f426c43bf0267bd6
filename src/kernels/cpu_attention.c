/* The attention block: norm, q k v, QK-norm and RoPE, the cache, attention, gate, o.
 *
 * The cache is summed in chunks of KV_CHUNK positions counted from 0 that are merged in order. A
 * unit is a tile of rows and a key-value head. Where there are enough units, each runs all its
 * chunks; where there are few (decode in a long context), the chunks themselves are shared out.
 * Both do the same arithmetic, so a row never shows which it was. */
#include "kernels/cpu.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct attention_job {
    const sluice_cpu *cpu;
    const sluice_attention_weights *w;
    const sluice_segment *segments;
    const sluice_layer_state *states;
    const sluice_cpu_tile *tiles;
    /* chunks shared out: chunk `first` + task of one row of units */
    int32_t unit_chunks, first;
} attention_job;

/* Angles of the rows' positions; kept from the layer before if the positions are the same. */
static void prepare_angles(sluice_cpu *cpu, const sluice_segment *segments, int32_t n_segments)
{
    const int32_t half = cpu->geometry.rotary_dim / 2;
    for (int32_t s = 0; s < n_segments; s++) {
        for (int32_t i = 0; i < segments[s].count; i++) {
            const int32_t row = segments[s].row + i, position = segments[s].position + i;
            if (cpu->scratch.rope_positions[row] == position) continue;
            cpu->scratch.rope_positions[row] = position;
            float *cosines = cpu->scratch.cosines + (int64_t)row * half;
            float *sines = cpu->scratch.sines + (int64_t)row * half;
            for (int32_t j = 0; j < half; j++) {
                const float angle = (float)position * cpu->inverse_frequencies[j];
                cosines[j] = (float)cos((double)angle);
                sines[j] = (float)sin((double)angle);
            }
        }
    }
}

static void norm_and_turn(const sluice_cpu *cpu, float *x, const float *norm, int32_t row)
{
    const sluice_geometry *g = &cpu->geometry;
    const int32_t half = g->rotary_dim / 2;
    cpu->ops->rmsnorm(x, norm, g->rms_eps, g->head_dim, x);
    cpu->ops->rope(x, cpu->scratch.cosines + (int64_t)row * half,
                   cpu->scratch.sines + (int64_t)row * half, half);
}

/* One row: q in place, k and v into the cache. */
static void store_row(const attention_job *job, int32_t segment, int32_t i, void *codes)
{
    const sluice_cpu *cpu = job->cpu;
    const sluice_geometry *g = &cpu->geometry;
    const int32_t dim = g->head_dim;
    const sluice_layer_state *state = &job->states[segment];
    const int32_t row = job->segments[segment].row + i;
    const int32_t position = job->segments[segment].position + i;
    for (int32_t h = 0; h < g->heads; h++) {
        float *q = cpu->scratch.q + ((int64_t)row * g->heads + h) * 2 * dim;
        norm_and_turn(cpu, q, job->w->q_norm, row);
        if (state->kv == SLUICE_KV_INT8) cpu->ops->hadamard(q, dim);
    }
    for (int32_t h = 0; h < g->kv_heads; h++) {
        const int64_t from = ((int64_t)row * g->kv_heads + h) * dim;
        float *k = cpu->scratch.k + from;
        norm_and_turn(cpu, k, job->w->k_norm, row);
        sluice_cpu_kv_keep(cpu, state, h, position, k, cpu->scratch.v + from, codes);
    }
}

static void store_task(void *context, int32_t task, int worker)
{
    const attention_job *job = context;
    const sluice_cpu_tile *tile = &job->tiles[task];
    void *codes = job->cpu->scratch.workers[worker].codes;
    for (int32_t i = tile->begin; i < tile->begin + tile->count; i++) {
        store_row(job, tile->segment, i, codes);
    }
}

/* Query vectors of a tile for one key-value head, scaled, and where its keys and values are. */
static sluice_attention_tile tile_of(const attention_job *job, int32_t unit, float *q)
{
    const sluice_geometry *g = &job->cpu->geometry;
    const sluice_cpu_tile *tile = &job->tiles[unit / g->kv_heads];
    const sluice_segment *segment = &job->segments[tile->segment];
    const sluice_layer_state *state = &job->states[tile->segment];
    const int32_t head = unit % g->kv_heads, group = g->heads / g->kv_heads, dim = g->head_dim;
    const float scale = 1.0f / sqrtf((float)dim);
    float *to = q;
    for (int32_t i = 0; i < tile->count; i++) {
        const int64_t row = segment->row + tile->begin + i;
        const float *from = job->cpu->scratch.q + (row * g->heads + head * group) * 2 * dim;
        for (int32_t h = 0; h < group; h++, from += 2 * dim, to += dim) {
            for (int32_t d = 0; d < dim; d++) {
                to[d] = from[d] * scale;
            }
        }
    }
    return (sluice_attention_tile){.rows = tile->count,
                                   .group = group,
                                   .head_dim = dim,
                                   .limit = segment->position + tile->begin + 1,
                                   .q = q,
                                   .kv = state->kv,
                                   .k = sluice_cpu_kv_head(state, state->k, head, dim),
                                   .v = sluice_cpu_kv_head(state, state->v, head, dim)};
}

/* Positions that the last row of a unit sees. */
static int32_t unit_end(const attention_job *job, int32_t unit)
{
    const sluice_cpu_tile *tile = &job->tiles[unit / job->cpu->geometry.kv_heads];
    return job->segments[tile->segment].position + tile->begin + tile->count;
}

static int32_t unit_chunks(const attention_job *job, int32_t unit)
{
    return (unit_end(job, unit) + SLUICE_CPU_KV_CHUNK - 1) / SLUICE_CPU_KV_CHUNK;
}

/* One chunk of a tile, in the worker's scratch. */
static void attend_chunk(const sluice_cpu *cpu, const sluice_cpu_worker *own,
                         sluice_attention_tile *tile)
{
    tile->scores = own->scores;
    tile->wide = own->wide;
    tile->codes = own->codes;
    if (tile->kv == SLUICE_KV_INT8)
        cpu->kernels.attention_q8(tile);
    else
        cpu->ops->attention(tile);
}

static void set_chunk(sluice_attention_tile *tile, int32_t chunk)
{
    const int32_t end = tile->limit + tile->rows - 1;
    tile->begin = chunk * SLUICE_CPU_KV_CHUNK;
    tile->end = tile->begin + SLUICE_CPU_KV_CHUNK < end ? tile->begin + SLUICE_CPU_KV_CHUNK : end;
}

static void sums_clear(const sluice_attention_sums *sums, int32_t count, int32_t head_dim)
{
    memset(sums->acc, 0, (size_t)count * (size_t)head_dim * sizeof(float));
    for (int32_t i = 0; i < count; i++) {
        sums->max[i] = -FLT_MAX;
        sums->sum[i] = 0.0f;
    }
}

/* Divides, gates and stores a unit's rows: out is [n, heads * head_dim]. */
static void finish(const attention_job *job, int32_t unit, const sluice_attention_sums *sums)
{
    const sluice_geometry *g = &job->cpu->geometry;
    const sluice_cpu_tile *tile = &job->tiles[unit / g->kv_heads];
    const int32_t group = g->heads / g->kv_heads, dim = g->head_dim;
    for (int32_t i = 0; i < tile->count * group; i++) {
        const int64_t row = job->segments[tile->segment].row + tile->begin + i / group;
        const int64_t head = row * g->heads + unit % g->kv_heads * group + i % group;
        if (job->states[tile->segment].kv == SLUICE_KV_INT8)
            job->cpu->ops->hadamard(sums->acc + (int64_t)i * dim, dim);
        job->cpu->ops->attention_finish(sums->acc + (int64_t)i * dim, sums->sum[i],
                                        job->cpu->scratch.q + head * 2 * dim + dim, dim,
                                        job->cpu->scratch.out + head * dim);
    }
}

static void unit_task(void *context, int32_t unit, int worker)
{
    const attention_job *job = context;
    const sluice_cpu_worker *own = &job->cpu->scratch.workers[worker];
    sluice_attention_tile tile = tile_of(job, unit, own->q);
    const int32_t vectors = tile.rows * tile.group;
    tile.sums = own->part;
    sums_clear(&own->total, vectors, tile.head_dim);
    const int32_t chunks = unit_chunks(job, unit);
    for (int32_t chunk = 0; chunk < chunks; chunk++) {
        set_chunk(&tile, chunk);
        attend_chunk(job->cpu, own, &tile);
        job->cpu->ops->attention_merge(&own->total, &own->part, vectors, tile.head_dim);
    }
    finish(job, unit, &own->total);
}

/* Chunk `first` + task of the units in order, unit_chunks each, into its slot. */
static void chunk_task(void *context, int32_t task, int worker)
{
    const attention_job *job = context;
    const sluice_cpu_worker *own = &job->cpu->scratch.workers[worker];
    const int32_t unit = (job->first + task) / job->unit_chunks;
    const int32_t chunk = (job->first + task) % job->unit_chunks;
    sluice_attention_tile tile = tile_of(job, unit, own->q);
    tile.sums = job->cpu->scratch.slots[task];
    set_chunk(&tile, chunk);
    if (tile.begin < tile.end) {
        attend_chunk(job->cpu, own, &tile);
    } else {
        sums_clear(&tile.sums, tile.rows * tile.group, tile.head_dim);
    }
}

/* Merges this wave's chunks of a unit, and finishes the unit after its last. */
static void merge_task(void *context, int32_t unit, int worker)
{
    const attention_job *job = context;
    const sluice_geometry *g = &job->cpu->geometry;
    const sluice_attention_sums *slots = job->cpu->scratch.slots;
    const sluice_attention_sums *total = &slots[SLUICE_CPU_KV_SLOTS + unit];
    const int32_t vectors = job->tiles[unit / g->kv_heads].count * (g->heads / g->kv_heads);
    (void)worker;
    for (int32_t slot = 0; slot < SLUICE_CPU_KV_SLOTS; slot++) {
        const int32_t at = job->first + slot;
        if (at / job->unit_chunks != unit) continue;
        if (at % job->unit_chunks == 0) sums_clear(total, vectors, g->head_dim);
        job->cpu->ops->attention_merge(total, &slots[slot], vectors, g->head_dim);
        if (at % job->unit_chunks == job->unit_chunks - 1) finish(job, unit, total);
    }
}

static void attend(sluice_cpu *cpu, attention_job *job, int32_t units)
{
    const sluice_geometry *g = &cpu->geometry;
    int32_t longest = 0;
    int64_t positions = 0;
    for (int32_t unit = 0; unit < units; unit++) {
        const int32_t chunks = unit_chunks(job, unit);
        if (chunks > longest) longest = chunks;
        positions += (int64_t)unit_end(job, unit) * job->tiles[unit / g->kv_heads].count;
    }
    if (longest == 1 || units >= SLUICE_CPU_KV_UNITS) {
        const int64_t work = positions * 2 * g->head_dim * (g->heads / g->kv_heads);
        sluice_cpu_run(cpu, unit_task, job, units, work);
        return;
    }
    const int32_t total = units * longest;
    job->unit_chunks = longest;
    for (job->first = 0; job->first < total; job->first += SLUICE_CPU_KV_SLOTS) {
        const int32_t left = total - job->first;
        const int32_t wave = left < SLUICE_CPU_KV_SLOTS ? left : SLUICE_CPU_KV_SLOTS;
        sluice_pool_run(cpu->pool, chunk_task, job, wave);
        sluice_pool_run(cpu->pool, merge_task, job, units);
    }
}

void sluice_cpu_attention(sluice_backend *be, const sluice_attention_weights *w,
                          const sluice_segment *segments, const sluice_layer_state *states,
                          int32_t n_segments, int32_t n, sluice_buffer *h)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    const sluice_geometry *g = &cpu->geometry;
    sluice_cpu_scratch *s = &cpu->scratch;
    const sluice_weight *const readers[] = {&w->q, &w->k, &w->v};
    sluice_cpu_rows rows;
    sluice_cpu_rows_norm(cpu, sluice_cpu_floats(h), w->norm, n, s->x, s->q8, readers, 3, &rows);
    sluice_cpu_linears(cpu, &rows,
                       (sluice_cpu_linear[]){{&w->q, s->q}, {&w->k, s->k}, {&w->v, s->v}}, 3);

    prepare_angles(cpu, segments, n_segments);
    attention_job job = {
        .cpu = cpu, .w = w, .segments = segments, .states = states, .tiles = s->tiles};
    int32_t tiles = sluice_cpu_tiles(segments, n_segments, SLUICE_CPU_TILE, s->tiles);
    sluice_cpu_run(cpu, store_task, &job, tiles, (int64_t)n * g->heads * g->head_dim * 4);

    tiles = sluice_cpu_tiles(segments, n_segments, sluice_cpu_attention_rows(g), s->tiles);
    attend(cpu, &job, tiles * g->kv_heads);

    const sluice_weight *const out_readers[] = {&w->o};
    sluice_cpu_rows_of(cpu, s->out, n, g->heads * g->head_dim, SLUICE_CPU_BLOCK, s->q8, out_readers,
                       1, &rows);
    sluice_cpu_linear_add(cpu, &rows, &w->o, s->y, sluice_cpu_floats(h));
}
