/* The training loop (see sluice/train.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "adapter/peft.h"
#include "base/clock.h"
#include "base/status.h"
#include "train/journal.h"
#include "train/trainer.h"

#define RATE_END 0.1 /* of the rate, at the end of the cosine */
/* Routed experts in PEFT's own form while that costs no more than this (see adapter/peft.h). */
#define FUSED_BYTES_MAX ((uint64_t)1 << 30)

sluice_train_options sluice_train_options_default(void)
{
    return (sluice_train_options){.validation_share = 0.05,
                                  .targets = "shared,experts:15%",
                                  .rank = 8,
                                  .alpha = 16.0f,
                                  .rate = 2e-4f,
                                  .warmup_steps = -1,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.999f,
                                  .epsilon = 1e-8f,
                                  .clip = 1.0f,
                                  .epochs = 1.0,
                                  .context = 1024,
                                  .batch = 1,
                                  .accumulate = 1};
}

static double rate_of(const sluice_trainer *trainer, int32_t step)
{
    const sluice_train_options *o = &trainer->options;
    const double rate = (double)o->rate, pi = 3.14159265358979323846;
    if (step < o->warmup_steps) return rate * (step + 1) / o->warmup_steps;
    if (o->schedule == SLUICE_TRAIN_CONSTANT || trainer->steps <= o->warmup_steps + 1) return rate;
    const double at =
        (double)(step - o->warmup_steps) / (double)(trainer->steps - 1 - o->warmup_steps);
    return rate * (RATE_END + (1.0 - RATE_END) * 0.5 * (1.0 + cos(pi * fmin(at, 1.0))));
}

/* Targets of the step's batches; where the run is does not move. */
static int64_t step_targets(sluice_trainer *trainer)
{
    const int64_t taken = trainer->packer.taken;
    sluice_train_batch batch;
    int64_t targets = 0;
    for (int32_t i = 0; i < trainer->options.accumulate; i++)
        targets += sluice_packer_next(&trainer->packer, trainer->limit, &batch);
    trainer->packer.taken = taken;
    return targets;
}

/* What cannot be gone on from names the step and what is left. */
static sluice_status broken(const sluice_trainer *trainer, int32_t step, const char *what,
                            sluice_error *err)
{
    char kept[64] = "there is no checkpoint yet";
    if (trainer->plan.resumed_step)
        snprintf(kept, sizeof kept, "the checkpoint of step %d stays", trainer->plan.resumed_step);
    return sluice_fail(err, SLUICE_CORRUPT,
                       "step %d: %s; the run stops and %s (a lower learning rate helps)", step,
                       what, kept);
}

/* The passes of a step: their losses and gradients, added up. */
static sluice_status passes(sluice_trainer *trainer, int64_t targets, double *nll,
                            sluice_train_progress *p, sluice_error *err)
{
    for (int32_t i = 0; i < trainer->options.accumulate; i++) {
        sluice_train_batch batch;
        sluice_pass_result result;
        sluice_error inner = {0};
        sluice_packer_next(&trainer->packer, trainer->limit, &batch);
        if (!batch.rows) break;
        const sluice_status status =
            sluice_pass_run(trainer->pass, &batch, 1.0f / (float)targets, &result, &inner);
        if (status == SLUICE_CORRUPT)
            return broken(trainer, trainer->at.step + 1, inner.detail, err);
        if (status != SLUICE_OK) return sluice_fail(err, status, "%s", inner.detail);
        *nll += result.nll;
        p->tokens += batch.rows;
        p->bytes_read += result.bytes_forward + result.bytes_backward;
    }
    return SLUICE_OK;
}

static sluice_status gradients(sluice_trainer *trainer, sluice_train_progress *p, sluice_error *err)
{
    const int32_t step = trainer->at.step + 1;
    double nll = 0.0;
    p->targets = step_targets(trainer);
    sluice_dropout_begin(&trainer->dropout, step);
    const sluice_status status = passes(trainer, p->targets, &nll, p, err);
    sluice_error unmasked = {0};
    const sluice_status ended = sluice_dropout_end(&trainer->dropout, step, &unmasked);
    SLUICE_TRY(status);
    if (ended != SLUICE_OK) return sluice_fail(err, ended, "%s", unmasked.detail);
    p->loss = nll / (double)p->targets;
    SLUICE_TRY(sluice_adamw_norm(&trainer->adamw, &p->gradient_norm, err));
    if (!isfinite(p->loss)) return broken(trainer, step, "the loss is not a number", err);
    if (!isfinite(p->gradient_norm))
        return broken(trainer, step, "the gradient is not a number", err);
    return SLUICE_OK;
}

static sluice_status validate(sluice_trainer *trainer, double *loss, sluice_error *err)
{
    sluice_train_batch batch;
    sluice_pass_result result;
    double nll = 0.0;
    int64_t targets = 0;
    trainer->validation_packer.taken = 0;
    for (;;) {
        sluice_packer_next(&trainer->validation_packer, trainer->n_validation, &batch);
        if (!batch.rows) break;
        sluice_error inner = {0};
        const sluice_status status = sluice_pass_run(trainer->pass, &batch, 0, &result, &inner);
        if (status == SLUICE_CORRUPT) return broken(trainer, trainer->at.step, inner.detail, err);
        if (status != SLUICE_OK) return sluice_fail(err, status, "%s", inner.detail);
        nll += result.nll;
        targets += result.targets;
    }
    *loss = targets ? nll / (double)targets : (double)NAN;
    if (targets && !isfinite(*loss))
        return broken(trainer, trainer->at.step, "the validation loss is not a number", err);
    return SLUICE_OK;
}

static bool due(const sluice_trainer *trainer, int32_t every)
{
    return trainer->at.step == trainer->steps || (every && trainer->at.step % every == 0);
}

/* At the end of an epoch: this step took its last sample. */
static bool validation_due(const sluice_trainer *trainer, int64_t taken_before)
{
    const int32_t every = trainer->options.validate_every;
    if (!trainer->n_validation) return false;
    if (due(trainer, every)) return true;
    return !every && taken_before / trainer->n_train != trainer->packer.taken / trainer->n_train;
}

static sluice_status save(sluice_trainer *trainer, const sluice_journal *journal, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const char *base = strrchr(trainer->dir, '/');
    const sluice_peft_write_options peft = {
        .base = base ? base + 1 : trainer->dir,
        .by_expert = !o->fused && sluice_peft_bytes(trainer->adapter, false) > FUSED_BYTES_MAX,
    };
    char title[160];
    SLUICE_TRY(sluice_peft_write(trainer->adapter, trainer->config, &peft, o->out, err));
    SLUICE_TRY(sluice_run_state_save(trainer->state_path, &trainer->adamw, &trainer->at,
                                     trainer->settings, err));
    trainer->plan.resumed_step = trainer->at.step;
    trainer->unsaved = false;
    snprintf(title, sizeof title, "%s: %s, rank %d, %lld parameters", peft.base, o->targets,
             o->rank, (long long)trainer->adapter->count);
    return sluice_journal_draw(journal, title, err);
}

static bool interrupted(const sluice_trainer *trainer)
{
    return trainer->engine.interrupted &&
           trainer->engine.interrupted(trainer->engine.callback_context);
}

/* The checkpoint of the step before, if one is due, stands between the gradients and the change:
 * its values have just proved to give numbers. */
static sluice_status one_step(sluice_trainer *trainer, const sluice_journal *journal,
                              sluice_train_progress *p, sluice_error *err)
{
    const uint64_t start = sluice_clock_ns();
    const int64_t taken = trainer->packer.taken;
    SLUICE_TRY(gradients(trainer, p, err));
    if (trainer->unsaved) SLUICE_TRY(save(trainer, journal, err));
    p->rate = rate_of(trainer, trainer->at.step);
    SLUICE_TRY(sluice_adamw_step(&trainer->adamw, p->rate, p->gradient_norm, err));
    p->step = ++trainer->at.step;
    trainer->at.taken = trainer->packer.taken;
    p->seconds = (double)(sluice_clock_ns() - start) * 1e-9;
    p->tokens_per_s = p->seconds > 0 ? (double)p->tokens / p->seconds : 0.0;
    if (validation_due(trainer, taken)) SLUICE_TRY(validate(trainer, &p->validation_loss, err));
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) p->rss_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    return SLUICE_OK;
}

static sluice_status run(sluice_trainer *trainer, sluice_journal *journal, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const uint64_t start = sluice_clock_ns();
    const int32_t first = trainer->at.step;
    while (trainer->at.step < trainer->steps) {
        sluice_train_progress p = {.steps = trainer->steps, .validation_loss = (double)NAN};
        SLUICE_TRY(one_step(trainer, journal, &p, err));
        const double spent = (double)(sluice_clock_ns() - start) * 1e-9;
        p.seconds_left = spent / (p.step - first) * (trainer->steps - p.step);
        SLUICE_TRY(sluice_journal_add(journal, &p, err));
        if (o->progress) o->progress(o->context_user, &p);
        const bool stop = interrupted(trainer) && p.step < trainer->steps;
        trainer->unsaved = trainer->unsaved || due(trainer, o->save_every) || stop;
        if (stop || p.step == trainer->steps) SLUICE_TRY(save(trainer, journal, err));
        if (stop)
            return sluice_fail(err, SLUICE_CANCELLED,
                               "stopped after step %d of %d; --resume goes on from there", p.step,
                               trainer->steps);
    }
    return SLUICE_OK;
}

sluice_status sluice_train(const char *model, const sluice_engine_options *engine,
                           const sluice_train_options *options, sluice_error *err)
{
    sluice_trainer trainer;
    sluice_journal journal;
    SLUICE_TRY(sluice_trainer_open(model, engine, options, &trainer, err));
    sluice_train_options *o = &trainer.options;

    if (o->started) o->started(o->context_user, &trainer.plan);
    sluice_status status = sluice_journal_open(o->out, trainer.at.step, &journal, err);
    if (status == SLUICE_OK) {
        status = run(&trainer, &journal, err);
        sluice_journal_close(&journal);
    }
    sluice_trainer_close(&trainer);
    return status;
}
