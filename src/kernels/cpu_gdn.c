/* The Gated DeltaNet block: norm, projections, short convolution, delta rule, gated norm, out.
 *
 * A task of the delta rule is one value head of one segment over all its positions, so that the
 * head's state stays in cache. Whole blocks of 64 positions counted from the start of the sequence
 * run in the chunked form; what is before the first and after the last runs step by step. */
#include "kernels/cpu.h"

#include <math.h>
#include <string.h>

#include "kernels/gdn_head.h"

#define CONV_HEADS 8 /* heads of q, k and v whose channels a task convolves */

typedef struct gdn_job {
    const sluice_cpu *cpu;
    const sluice_gdn_weights *w;
    const sluice_segment *segments;
    const sluice_layer_state *states;
    const sluice_cpu_tile *tiles;
    int32_t conv_groups;
    int32_t heads; /* consecutive ones in a task: a step of one row asks for the next one's state */
} gdn_job;

static float *state_at(const sluice_layer_state *state, size_t offset)
{
    return (float *)(void *)((unsigned char *)state->memory->memory + offset);
}

/* Inputs of row `row` of a segment before the convolution; rows before 0 are in the state. */
static const float *conv_input(const gdn_job *job, int32_t segment, int32_t row)
{
    const sluice_geometry *g = &job->cpu->geometry;
    const int64_t channels = sluice_gdn_channels(g);
    if (row < 0) {
        const sluice_layer_state *state = &job->states[segment];
        return state_at(state, state->conv) + (g->conv_width - 1 + row) * channels;
    }
    return job->cpu->scratch.qkv + (job->segments[segment].row + row) * channels;
}

/* Convolution of some heads over a tile of rows, and the norm of those that are queries or keys. */
static void conv_heads(const gdn_job *job, const sluice_cpu_tile *tile, int32_t begin, int32_t end,
                       const float **inputs)
{
    const sluice_cpu *cpu = job->cpu;
    const sluice_geometry *g = &cpu->geometry;
    const int32_t channels = sluice_gdn_channels(g);
    const int32_t first = sluice_gdn_channel(g, begin);
    const int64_t row = job->segments[tile->segment].row + tile->begin;
    float *out = cpu->scratch.mixed + row * channels;
    for (int32_t i = 0; i < tile->count + g->conv_width - 1; i++) {
        inputs[i] = conv_input(job, tile->segment, tile->begin + i - (g->conv_width - 1)) + first;
    }
    cpu->ops->conv(inputs, tile->count, job->w->conv + (int64_t)first * g->conv_width,
                   g->conv_width, sluice_gdn_channel(g, end) - first, out + first, channels);
    for (int32_t head = begin; head < end && head < 2 * g->gdn_k_heads; head++) {
        const float scale = head < g->gdn_k_heads ? 1.0f / sqrtf((float)g->gdn_k_dim) : 1.0f;
        for (int32_t i = 0; i < tile->count; i++) {
            cpu->ops->l2norm(out + (int64_t)i * channels + sluice_gdn_channel(g, head), scale,
                             g->gdn_k_dim);
        }
    }
}

static void conv_task(void *context, int32_t task, int worker)
{
    const gdn_job *job = context;
    const sluice_cpu *cpu = job->cpu;
    const sluice_geometry *g = &cpu->geometry;
    const sluice_cpu_tile *tile = &job->tiles[task / job->conv_groups];
    const int32_t group = task % job->conv_groups, heads = 2 * g->gdn_k_heads + g->gdn_v_heads;
    const int32_t begin = group * CONV_HEADS;
    const int32_t end = begin + CONV_HEADS < heads ? begin + CONV_HEADS : heads;
    conv_heads(job, tile, begin, end, cpu->scratch.workers[worker].conv_rows);
    if (group > 0) return;
    for (int32_t i = 0; i < tile->count; i++) {
        const int64_t row = job->segments[tile->segment].row + tile->begin + i;
        const int64_t at = row * g->gdn_v_heads;
        cpu->ops->gdn_gates(cpu->scratch.a + at, cpu->scratch.b + at, job->w->decay,
                            job->w->dt_bias, g->gdn_v_heads, cpu->scratch.g + at,
                            cpu->scratch.beta + at);
    }
}

/* The window moves on to the segment's last inputs, for one of v_heads shares of the channels. */
static void move_window(const gdn_job *job, int32_t segment, int32_t share)
{
    const sluice_geometry *g = &job->cpu->geometry;
    const int64_t channels = sluice_gdn_channels(g);
    const int64_t begin = channels * share / g->gdn_v_heads;
    const int64_t end = channels * (share + 1) / g->gdn_v_heads;
    const sluice_layer_state *state = &job->states[segment];
    float *window = state_at(state, state->conv);
    for (int32_t i = 0; i < g->conv_width - 1; i++) {
        const int32_t row = job->segments[segment].count + i - (g->conv_width - 1);
        memcpy(window + i * channels + begin, conv_input(job, segment, row) + begin,
               (size_t)(end - begin) * sizeof(float));
    }
}

/* Value head `task % v_heads` of a segment; more: the next one follows. */
static void run_head(const gdn_job *job, int32_t task, int worker, bool more)
{
    const sluice_cpu *cpu = job->cpu;
    const sluice_geometry *g = &cpu->geometry;
    const sluice_cpu_scratch *s = &cpu->scratch;
    const int32_t segment = task / g->gdn_v_heads, h = task % g->gdn_v_heads;
    const sluice_segment *at = &job->segments[segment];
    const sluice_layer_state *state = &job->states[segment];
    const int64_t values = (int64_t)g->gdn_v_heads * g->gdn_v_dim;
    const int64_t gates = (int64_t)at->row * g->gdn_v_heads;
    sluice_gdn_head head =
        sluice_gdn_head_of(g, h, s->mixed + (int64_t)at->row * sluice_gdn_channels(g), s->g + gates,
                           s->beta + gates, s->o + at->row * values);
    head.s = state_at(state, state->s) + (int64_t)h * g->gdn_k_dim * g->gdn_v_dim;
    if (more) head.ahead = head.s + (int64_t)g->gdn_k_dim * g->gdn_v_dim;
    head.scratch = s->workers[worker].gdn;
    sluice_gdn_head_run(cpu->ops, head, at->position, at->count);
    float *o = head.o;
    const float *z = s->z + at->row * values + (int64_t)h * g->gdn_v_dim;
    for (int32_t i = 0; i < at->count; i++) {
        cpu->ops->rmsnorm_gated(o + i * values, job->w->out_norm, z + i * values, g->rms_eps,
                                g->gdn_v_dim);
    }
    move_window(job, segment, h);
}

static void head_task(void *context, int32_t task, int worker)
{
    const gdn_job *job = context;
    const int32_t begin = task * job->heads, end = begin + job->heads;
    for (int32_t i = begin; i < end; i++) {
        run_head(job, i, worker, i + 1 < end);
    }
}

/* How many heads of a single row a task takes: a divisor, and four tasks a thread at least. */
static int32_t heads_of_task(const sluice_cpu *cpu)
{
    int32_t heads = cpu->geometry.gdn_v_heads / (4 * cpu->threads);
    while (heads > 1 && cpu->geometry.gdn_v_heads % heads) {
        heads--;
    }
    return heads > 1 ? heads : 1;
}

void sluice_cpu_gdn(sluice_backend *be, const sluice_gdn_weights *w, const sluice_segment *segments,
                    const sluice_layer_state *states, int32_t n_segments, int32_t n,
                    sluice_buffer *h)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    const sluice_geometry *g = &cpu->geometry;
    sluice_cpu_scratch *s = &cpu->scratch;
    const sluice_weight *const readers[] = {&w->qkv, &w->z, &w->a, &w->b};
    sluice_cpu_rows rows;
    sluice_cpu_rows_norm(cpu, sluice_cpu_floats(h), w->norm, n, s->x, s->q8, readers, 4, &rows);
    const sluice_cpu_linear linears[] = {
        {&w->a, s->a}, {&w->b, s->b}, {&w->qkv, s->qkv}, {&w->z, s->z}};
    sluice_cpu_linears(cpu, &rows, linears, 4);

    gdn_job job = {.cpu = cpu, .w = w, .segments = segments, .states = states, .tiles = s->tiles};
    const int32_t tiles = sluice_cpu_tiles(segments, n_segments, SLUICE_CPU_TILE, s->tiles);
    job.conv_groups = (2 * g->gdn_k_heads + g->gdn_v_heads + CONV_HEADS - 1) / CONV_HEADS;
    sluice_cpu_run(cpu, conv_task, &job, tiles * job.conv_groups,
                   (int64_t)n * sluice_gdn_channels(g) * 8);
    job.heads = n == n_segments ? heads_of_task(cpu) : 1;
    sluice_cpu_run(cpu, head_task, &job, n_segments * g->gdn_v_heads / job.heads,
                   (int64_t)n * g->gdn_v_heads * g->gdn_v_dim * g->gdn_k_dim * 3);

    const sluice_weight *const out_readers[] = {&w->out};
    sluice_cpu_rows_of(cpu, s->o, n, g->gdn_v_heads * g->gdn_v_dim, SLUICE_CPU_BLOCK, s->q8,
                       out_readers, 1, &rows);
    sluice_cpu_linear_add(cpu, &rows, &w->out, s->y, sluice_cpu_floats(h));
}
