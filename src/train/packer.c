/* Packing samples into batches (see packer.h). */
#include "train/packer.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/status.h"

sluice_status sluice_packer_new(const sluice_samples *samples, const int32_t *chosen, int32_t n,
                                int32_t rows_max, int32_t segments_max, bool shuffle, uint64_t seed,
                                sluice_packer *out, sluice_error *err)
{
    const size_t rows = (size_t)rows_max;
    *out = (sluice_packer){.samples = samples,
                           .chosen = chosen,
                           .n = n,
                           .shuffle = shuffle,
                           .seed = seed,
                           .rows_max = rows_max,
                           .segments_max = segments_max,
                           .epoch = -1};
    out->order = calloc((size_t)n + 1, sizeof *out->order);
    out->tokens = calloc(rows, sizeof *out->tokens);
    out->targets = calloc(rows, sizeof *out->targets);
    out->segments = calloc((size_t)segments_max, sizeof *out->segments);
    if (out->order && out->tokens && out->targets && out->segments) return SLUICE_OK;
    sluice_packer_free(out);
    return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for batches of %d rows", rows_max);
}

void sluice_packer_free(sluice_packer *packer)
{
    free(packer->order);
    free(packer->tokens);
    free(packer->targets);
    free(packer->segments);
    *packer = (sluice_packer){0};
}

static void draw_order(sluice_packer *packer, int64_t epoch)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, packer->seed + (uint64_t)epoch * 0x9e3779b97f4a7c15u);
    memcpy(packer->order, packer->chosen, (size_t)packer->n * sizeof *packer->order);
    for (int32_t i = packer->n - 1; packer->shuffle && i > 0; i--) {
        const int32_t j = (int32_t)sluice_rng_below(&rng, (uint64_t)i + 1);
        const int32_t other = packer->order[j];
        packer->order[j] = packer->order[i];
        packer->order[i] = other;
    }
    packer->epoch = epoch;
}

/* The next sample if it fits beside rows and segments; NULL otherwise. */
static const sluice_sample *next_sample(sluice_packer *packer, int64_t limit, int32_t rows,
                                        int32_t segments)
{
    if (packer->taken >= limit || packer->n == 0 || segments == packer->segments_max) return NULL;
    const int64_t epoch = packer->taken / packer->n;
    if (epoch != packer->epoch) draw_order(packer, epoch);
    const sluice_sample *sample =
        &packer->samples->samples[packer->order[packer->taken % packer->n]];
    if (sample->count > packer->rows_max - rows) return NULL;
    packer->taken++;
    return sample;
}

/* The last token predicts nothing and need not be run, but is: it keeps batches simple. */
static int32_t place(sluice_packer *packer, const sluice_sample *sample, int32_t row)
{
    const uint32_t *from = packer->samples->tokens + sample->at;
    for (int32_t i = 0; i < sample->count; i++) {
        const bool learn = i + 1 < sample->count && (from[i + 1] & SLUICE_SAMPLE_LEARN);
        packer->tokens[row + i] = (int32_t)(from[i] & ~SLUICE_SAMPLE_LEARN);
        packer->targets[row + i] = learn ? (int32_t)(from[i + 1] & ~SLUICE_SAMPLE_LEARN) : -1;
    }
    return sample->learn;
}

int32_t sluice_packer_next(sluice_packer *packer, int64_t limit, sluice_train_batch *batch)
{
    int32_t rows = 0, segments = 0, targets = 0;
    const sluice_sample *sample;
    while ((sample = next_sample(packer, limit, rows, segments)) != NULL) {
        targets += place(packer, sample, rows);
        packer->segments[segments++] = (sluice_segment){rows, sample->count, 0};
        rows += sample->count;
    }
    *batch =
        (sluice_train_batch){rows, packer->tokens, packer->targets, segments, packer->segments};
    return targets;
}

bool sluice_packer_skip(sluice_packer *packer, int64_t limit)
{
    int32_t rows = 0, segments = 0;
    const sluice_sample *sample;
    while ((sample = next_sample(packer, limit, rows, segments)) != NULL) {
        rows += sample->count;
        segments++;
    }
    return segments > 0;
}
