/* The data of a run: reading, splitting, packing, and how many steps that makes (see trainer.h). */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/status.h"
#include "train/trainer.h"

#define SEGMENTS_PER_ROW 16 /* samples packed into one row's tokens at most */

/* Whether a sample is held out: of its number and the seed alone. */
static bool held_out(const sluice_trainer *trainer, int32_t sample)
{
    uint64_t state = trainer->options.seed * 0x2545f4914f6cdd1du + (uint64_t)sample;
    const double at = (double)(sluice_rng_splitmix(&state) >> 11) * 0x1p-53;
    return at < trainer->options.validation_share;
}

static sluice_status split(sluice_trainer *trainer, sluice_error *err)
{
    const int32_t n = trainer->samples.n;
    const int32_t others = trainer->validation_file.n;
    trainer->train_list = calloc((size_t)n, sizeof(int32_t));
    trainer->validation_list = calloc((size_t)(n > others ? n : others), sizeof(int32_t));
    if (!trainer->train_list || !trainer->validation_list)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to list %d samples", n);
    trainer->validation = others ? &trainer->validation_file : &trainer->samples;
    for (int32_t i = 0; i < others; i++)
        trainer->validation_list[trainer->n_validation++] = i;
    for (int32_t i = 0; i < n; i++) {
        if (!others && held_out(trainer, i))
            trainer->validation_list[trainer->n_validation++] = i;
        else
            trainer->train_list[trainer->n_train++] = i;
    }
    if (trainer->n_train == 0)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s: no sample is left to train on",
                           trainer->options.data);
    return SLUICE_OK;
}

static sluice_status open_packers(sluice_trainer *trainer, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    trainer->rows_max = o->context * o->batch;
    trainer->segments_max = o->batch * SEGMENTS_PER_ROW;
    SLUICE_TRY(sluice_packer_new(&trainer->samples, trainer->train_list, trainer->n_train,
                                 trainer->rows_max, trainer->segments_max, true, o->seed,
                                 &trainer->packer, err));
    return sluice_packer_new(trainer->validation, trainer->validation_list, trainer->n_validation,
                             trainer->rows_max, trainer->segments_max, false, 0,
                             &trainer->validation_packer, err);
}

/* Runs through the packing without making batches. */
static void count_steps(sluice_trainer *trainer)
{
    const sluice_train_options *o = &trainer->options;
    int64_t batches = 0;
    trainer->steps = o->steps;
    trainer->limit = INT64_MAX;
    if (o->steps) return;
    trainer->limit = (int64_t)ceil(o->epochs * (double)trainer->n_train);
    while (sluice_packer_skip(&trainer->packer, trainer->limit))
        batches++;
    trainer->packer.taken = 0;
    const int64_t steps = (batches + o->accumulate - 1) / o->accumulate;
    trainer->steps = steps < INT32_MAX ? (int32_t)steps : INT32_MAX;
}

static void fill_plan(sluice_trainer *trainer)
{
    sluice_train_plan *plan = &trainer->plan;
    plan->samples = trainer->n_train;
    plan->validation_samples = trainer->n_validation;
    plan->cut_samples = trainer->samples.cut + trainer->validation_file.cut;
    plan->rows = trainer->rows_max;
    plan->steps = trainer->steps;
    for (int32_t i = 0; i < trainer->n_train; i++) {
        const sluice_sample *sample = &trainer->samples.samples[trainer->train_list[i]];
        plan->tokens += sample->count;
        plan->targets += sample->learn;
    }
}

sluice_status sluice_trainer_read_data(sluice_trainer *trainer, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const sluice_samples_options options = {
        .tokens_max = o->context, .all_tokens = o->all_tokens, .refuse_long = o->refuse_long};
    SLUICE_TRY(sluice_samples_load(o->data, trainer->tokenizer, &options, trainer->budget,
                                   &trainer->samples, err));
    if (o->validation)
        SLUICE_TRY(sluice_samples_load(o->validation, trainer->tokenizer, &options, trainer->budget,
                                       &trainer->validation_file, err));
    SLUICE_TRY(split(trainer, err));
    SLUICE_TRY(open_packers(trainer, err));
    count_steps(trainer);
    if (trainer->options.warmup_steps < 0) /* 3% */
        trainer->options.warmup_steps = (trainer->steps + 32) / 33;
    fill_plan(trainer);
    return SLUICE_OK;
}
