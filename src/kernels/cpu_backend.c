/* Making and freeing the CPU backend, and its memory. */
#include "kernels/cpu_backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"

/* Waking the pool costs about 2 us, in which one thread does this many multiply-adds. */
#define ALONE_WORK 50000

void sluice_cpu_run(sluice_cpu *cpu, sluice_pool_fn fn, void *context, int32_t tasks, int64_t work)
{
    if (work >= ALONE_WORK) {
        sluice_pool_run(cpu->pool, fn, context, tasks);
        return;
    }
    for (int32_t task = 0; task < tasks; task++) {
        fn(context, task, 0);
    }
}

static sluice_status buffer_new(sluice_backend *be, size_t bytes, const char *tag,
                                sluice_buffer **out, sluice_error *err)
{
    sluice_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a buffer (%s)", tag);
    const sluice_status status =
        sluice_memory_new(sluice_cpu_of(be)->budget, bytes, tag, &buffer->memory, err);
    if (status != SLUICE_OK) {
        free(buffer);
        return status;
    }
    buffer->bytes = bytes;
    buffer->tag = tag;
    *out = buffer;
    return SLUICE_OK;
}

static void buffer_free(sluice_backend *be, sluice_buffer *buffer)
{
    if (!buffer) return;
    sluice_memory_free(sluice_cpu_of(be)->budget, buffer->memory, buffer->bytes, buffer->tag);
    free(buffer);
}

static void buffer_read(sluice_backend *be, const sluice_buffer *from, size_t offset, void *to,
                        size_t bytes)
{
    (void)be;
    memcpy(to, (const unsigned char *)from->memory + offset, bytes);
}

static void buffer_write(sluice_backend *be, sluice_buffer *to, size_t offset, const void *from,
                         size_t bytes)
{
    (void)be;
    memcpy((unsigned char *)to->memory + offset, from, bytes);
}

static void buffer_copy(sluice_backend *be, sluice_buffer *to, size_t to_offset,
                        const sluice_buffer *from, size_t from_offset, size_t bytes)
{
    (void)be;
    memmove((unsigned char *)to->memory + to_offset,
            (const unsigned char *)from->memory + from_offset, bytes);
}

static void backend_free(sluice_backend *be)
{
    if (!be) return;
    sluice_cpu *cpu = sluice_cpu_of(be);
    sluice_memory_free(cpu->budget, cpu->memory, cpu->memory_bytes, "scratch");
    free(cpu->inverse_frequencies);
    free(cpu);
}

static const sluice_backend operations = {
    .name = "cpu",
    .buffer_new = buffer_new,
    .buffer_free = buffer_free,
    .buffer_read = buffer_read,
    .buffer_write = buffer_write,
    .buffer_copy = buffer_copy,
    .embed = sluice_cpu_embed,
    .attention = sluice_cpu_attention,
    .gdn = sluice_cpu_gdn,
    .router = sluice_cpu_router,
    .experts = sluice_cpu_experts,
    .shared_expert = sluice_cpu_shared_expert,
    .combine = sluice_cpu_combine,
    .head = sluice_cpu_head,
    .free = backend_free,
};

static sluice_status check(const sluice_geometry *g, const sluice_cpu_options *options,
                           sluice_error *err)
{
    if (options->rows_max < 1 || !options->pool)
        return sluice_fail(err, SLUICE_USAGE, "the CPU backend needs a pool and at least one row");
    if (g->hidden < 1 || g->vocab < 1)
        return sluice_fail(err, SLUICE_UNSUPPORTED, "a model of hidden size %d and vocabulary %d",
                           g->hidden, g->vocab);
    if (g->heads && (g->kv_heads < 1 || g->heads % g->kv_heads || g->head_dim < 1))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "attention with %d heads of %d and %d key-value heads", g->heads,
                           g->head_dim, g->kv_heads);
    if (g->heads && (g->rotary_dim < 0 || g->rotary_dim % 2 || g->rotary_dim > g->head_dim))
        return sluice_fail(err, SLUICE_UNSUPPORTED, "rotary dimension %d of %d", g->rotary_dim,
                           g->head_dim);
    if (g->gdn_v_heads &&
        (g->gdn_k_heads < 1 || g->gdn_v_heads % g->gdn_k_heads || g->gdn_k_dim < 1 ||
         g->gdn_v_dim < 1 || g->conv_width < 1 || g->conv_width > SLUICE_CONV_WIDTH_MAX))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "a delta rule with %d key heads of %d, %d value heads of %d, width %d",
                           g->gdn_k_heads, g->gdn_k_dim, g->gdn_v_heads, g->gdn_v_dim,
                           g->conv_width);
    return SLUICE_OK;
}

/* theta^(-2i / rotary_dim), rounded at each step as the reference does: at position 32768 an ulp
 * here is 1e-3 in the angle. */
static sluice_status take_frequencies(sluice_cpu *cpu, sluice_error *err)
{
    const sluice_geometry *g = &cpu->geometry;
    const int32_t half = g->rotary_dim / 2;
    cpu->inverse_frequencies = calloc((size_t)half + 1, sizeof(float));
    if (!cpu->inverse_frequencies)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d RoPE frequencies", half);
    for (int32_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)g->rotary_dim;
        cpu->inverse_frequencies[i] = 1.0f / (float)pow(g->rope_theta, (double)exponent);
    }
    return SLUICE_OK;
}

static sluice_status take_scratch(sluice_cpu *cpu, sluice_error *err)
{
    const sluice_geometry *g = &cpu->geometry;
    cpu->memory_bytes =
        sluice_cpu_scratch_lay_out(g, cpu->rows_max, cpu->threads, cpu->exact, NULL, &cpu->scratch);
    SLUICE_TRY(sluice_memory_new(cpu->budget, cpu->memory_bytes, "scratch", &cpu->memory, err));
    sluice_cpu_scratch_lay_out(g, cpu->rows_max, cpu->threads, cpu->exact, cpu->memory,
                               &cpu->scratch);
    for (int32_t i = 0; i < cpu->rows_max; i++) {
        cpu->scratch.rope_positions[i] = -1;
    }
    return SLUICE_OK;
}

sluice_status sluice_cpu_backend_new(const sluice_geometry *geometry,
                                     const sluice_cpu_options *options, sluice_backend **out,
                                     sluice_error *err)
{
    SLUICE_TRY(check(geometry, options, err));
    sluice_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the CPU backend");
    cpu->backend = operations;
    cpu->geometry = *geometry;
    cpu->rows_max = options->rows_max;
    cpu->threads = sluice_pool_threads(options->pool);
    cpu->exact = options->exact;
    cpu->pool = options->pool;
    cpu->budget = options->budget;
    cpu->ops = sluice_ops_choose(options->cpu_flags);
    sluice_kernels_select(options->cpu_flags, &cpu->kernels);
    sluice_status status = take_frequencies(cpu, err);
    if (status == SLUICE_OK) status = take_scratch(cpu, err);
    if (status != SLUICE_OK) {
        free(cpu->inverse_frequencies);
        free(cpu);
        return status;
    }
    *out = &cpu->backend;
    return SLUICE_OK;
}

uint64_t sluice_cpu_backend_bytes(const sluice_geometry *geometry, int32_t rows_max, int threads,
                                  bool exact)
{
    sluice_cpu_scratch scratch;
    return sluice_cpu_scratch_lay_out(geometry, rows_max, threads, exact, NULL, &scratch);
}
