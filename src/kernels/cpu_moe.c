/* The mixture of experts but for the experts themselves (cpu_experts.c): the router and the
 * weighted sum. */
#include "kernels/cpu.h"

#define ROWS_A_TASK 8

/* The k largest of p, ties to the lower index, largest first: an insertion into the k found so far.
 */
static void top_k(const float *p, int32_t n, int32_t k, int32_t *ids, float *probs)
{
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++) {
        if (found == k && !(p[i] > probs[k - 1])) continue;
        int32_t at = found < k ? found++ : k - 1;
        for (; at > 0 && p[i] > probs[at - 1]; at--) {
            probs[at] = probs[at - 1];
            ids[at] = ids[at - 1];
        }
        probs[at] = p[i];
        ids[at] = i;
    }
}

typedef struct router_job {
    const sluice_cpu *cpu;
    int32_t n, k, experts;
    float *logits, *probs;
    int32_t *ids;
} router_job;

static void router_task(void *context, int32_t task, int worker)
{
    const router_job *job = context;
    const int32_t begin = task * ROWS_A_TASK;
    const int32_t end = begin + ROWS_A_TASK < job->n ? begin + ROWS_A_TASK : job->n;
    (void)worker;
    for (int32_t i = begin; i < end; i++) {
        float *row = job->logits + (int64_t)i * job->experts;
        job->cpu->ops->softmax(row, job->experts);
        top_k(row, job->experts, job->k, job->ids + (int64_t)i * job->k,
              job->probs + (int64_t)i * job->k);
    }
}

void sluice_cpu_router(sluice_backend *be, const sluice_router_weights *w, int32_t n, int32_t k,
                       const sluice_buffer *h, sluice_buffer *x, int32_t *ids, float *probs,
                       float *all_probs)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    float *logits = all_probs ? all_probs : cpu->scratch.logits;
    /* f32 in integer mode too. KL to exact mode on Nano, three texts of 8192 tokens: 1.70, 1.50 and
     * 1.73e-3 with an integer router, 1.45, 1.41 and 1.55e-3 so. Which token is likeliest changes
     * about as often either way. */
    sluice_cpu_rows rows;
    sluice_cpu_rows_norm(cpu, sluice_cpu_floats(h), w->norm, n, sluice_cpu_floats(x),
                         cpu->scratch.q8, NULL, 0, &rows);
    sluice_cpu_linears(cpu, &rows, &(sluice_cpu_linear){&w->router, logits}, 1);
    router_job job = {.cpu = cpu,
                      .n = n,
                      .k = k,
                      .experts = w->router.rows,
                      .logits = logits,
                      .probs = probs,
                      .ids = ids};
    sluice_cpu_run(cpu, router_task, &job, (n + ROWS_A_TASK - 1) / ROWS_A_TASK,
                   (int64_t)n * w->router.rows * 16);
}

typedef struct combine_job {
    const sluice_cpu *cpu;
    int32_t k;
    const float *weights, *y, *shared;
    float *h;
} combine_job;

static void combine_task(void *context, int32_t task, int worker)
{
    const combine_job *job = context;
    const int32_t hidden = job->cpu->geometry.hidden;
    const int64_t at = (int64_t)task * hidden;
    (void)worker;
    job->cpu->ops->combine(job->weights + (int64_t)task * job->k, job->y + at * job->k, job->k,
                           job->shared + at, hidden, job->h + at);
}

void sluice_cpu_combine(sluice_backend *be, int32_t n, int32_t k, const float *weights,
                        const sluice_buffer *y, const sluice_buffer *shared, sluice_buffer *h)
{
    sluice_cpu *cpu = sluice_cpu_of(be);
    combine_job job = {.cpu = cpu,
                       .k = k,
                       .weights = weights,
                       .y = sluice_cpu_floats(y),
                       .shared = sluice_cpu_floats(shared),
                       .h = sluice_cpu_floats(h)};
    sluice_cpu_run(cpu, combine_task, &job, n, (int64_t)n * k * cpu->geometry.hidden);
}
