/* Cross-entropy of the rows that have a target, and its gradient.
 *
 * Logits are made for some rows at a time (back.c: about 32 MB of them), turned into their own
 * gradient in place and taken back through the head at once, so that a vocabulary of 248k needs no
 * [rows, vocab] anywhere. Rows without a target cost nothing. */
#include "train/back.h"

#include <math.h>
#include <string.h>

typedef struct loss_job {
    const int32_t *rows; /* of h, for each row of logits */
    const int32_t *targets;
    double *nll; /* [rows of logits] */
    float scale;
    int32_t vocab;
} loss_job;

/* A row's loss; its logits become scale * (softmax - one-hot). */
static void loss_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const loss_job *job = context;
    (void)scratch;
    for (int32_t i = begin; i < end; i++) {
        float *logits = back->head_logits + (int64_t)i * job->vocab;
        const int32_t target = job->targets[job->rows[i]];
        float max = logits[0];
        int32_t best = 0;
        for (int32_t v = 1; v < job->vocab; v++)
            if (logits[v] > max) {
                max = logits[v];
                best = v;
            }
        const double below = (double)max - (double)logits[target];
        back->ops->softmax(logits, job->vocab);
        job->nll[i] = below - log((double)logits[best]);
        logits[target] -= 1.0f;
        for (int32_t v = 0; v < job->vocab; v++)
            logits[v] *= job->scale;
    }
}

typedef struct head_block {
    int32_t rows[SLUICE_BACK_HEAD_ROWS_MAX];
    double nll[SLUICE_BACK_HEAD_ROWS_MAX];
    int32_t n;
} head_block;

static double run_block(sluice_back *back, head_block *block, const float *norm,
                        const sluice_weight *head, const float *h, const int32_t *targets,
                        float scale, float *dh)
{
    const int64_t hidden = back->geometry.hidden;
    const size_t row_bytes = (size_t)hidden * sizeof *h;
    loss_job job = {block->rows, targets, block->nll, scale, head->rows};
    double sum = 0.0;
    for (int32_t i = 0; i < block->n; i++)
        back->ops->rmsnorm(h + block->rows[i] * hidden, norm, back->geometry.rms_eps,
                           (int32_t)hidden, back->head_x + i * hidden);
    sluice_back_linear_forward(back, head, back->head_x, block->n, back->head_logits);
    sluice_back_rows(back, block->n, loss_rows, &job);
    for (int32_t i = 0; i < block->n; i++)
        sum += block->nll[i];
    if (!dh) return sum;
    memset(back->head_d_x, 0, (size_t)block->n * row_bytes);
    sluice_back_linear(back, head, NULL, NULL, back->head_logits, block->n, back->head_d_x);
    for (int32_t i = 0; i < block->n; i++)
        sluice_back_norm_row(h + block->rows[i] * hidden, norm, back->geometry.rms_eps,
                             (int32_t)hidden, back->head_d_x + i * hidden, false,
                             dh + block->rows[i] * hidden);
    return sum;
}

double sluice_back_loss(sluice_back *back, const float *norm, const sluice_weight *head,
                        const float *h, const int32_t *targets, int32_t n, float scale, float *dh,
                        int32_t *counted)
{
    head_block block = {.n = 0};
    double sum = 0.0;
    *counted = 0;
    if (dh) memset(dh, 0, (size_t)n * (size_t)back->geometry.hidden * sizeof *dh);
    for (int32_t row = 0; row < n; row++) {
        if (targets[row] < 0) continue;
        block.rows[block.n++] = row;
        ++*counted;
        if (block.n < back->head_rows) continue;
        sum += run_block(back, &block, norm, head, h, targets, scale, dh);
        block.n = 0;
    }
    if (block.n) sum += run_block(back, &block, norm, head, h, targets, scale, dh);
    return sum;
}
