/* The two ends of the model: embedding rows, and the head. */
#include "kernels/cpu.h"

#include <string.h>

typedef struct embed_job {
    const sluice_weight *table;
    const int32_t *tokens;
    float *h;
} embed_job;

static void embed_task(void *context, int32_t task, int worker)
{
    const embed_job *job = context;
    (void)worker;
    sluice_weight_unpack_row(job->table, job->tokens[task],
                             job->h + (int64_t)task * job->table->cols);
}

void sluice_cpu_embed(sluice_backend *be, const sluice_weight *table, const int32_t *tokens,
                      int32_t n, sluice_buffer *h)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    embed_job job = {table, tokens, sluice_cpu_floats(h)};
    sluice_cpu_run(cpu, embed_task, &job, n, (int64_t)n * table->cols * 8);
}

void sluice_cpu_head(sluice_backend *be, const float *norm, const sluice_weight *head,
                     const int32_t *rows, int32_t m, const sluice_buffer *h, float *logits,
                     sluice_buffer *normed)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    const int32_t hidden = cpu->geometry.hidden;
    float *in = cpu->scratch.y;
    float *x = normed ? sluice_cpu_floats(normed) : cpu->scratch.x;
    for (int32_t i = 0; i < m; i++) {
        memcpy(in + (int64_t)i * hidden, sluice_cpu_floats(h) + (int64_t)rows[i] * hidden,
               (size_t)hidden * sizeof *in);
    }
    sluice_cpu_rows normed_rows;
    sluice_cpu_rows_norm(cpu, in, norm, m, x, cpu->scratch.q8, &head, 1, &normed_rows);
    sluice_cpu_linears(cpu, &normed_rows, &(sluice_cpu_linear){head, logits}, 1);
}
