/* Opening a training run (see trainer.h). */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/sizes.h"
#include "kernels/cpu_backend.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/topology.h"

#define CONTEXT_MIN 8
#define COUNT_TOKENS_MAX ((int64_t)1 << 17) /* of the data, that experts' uses are counted on */

static sluice_status check_options(const sluice_train_options *o, sluice_error *err)
{
    if (!o->data || !o->out)
        return sluice_fail(err, SLUICE_USAGE, "training needs data and a folder for the adapter");
    if (o->rank < 1 || o->rank > SLUICE_ADAPTER_RANK_MAX)
        return sluice_fail(err, SLUICE_USAGE, "rank %d is not between 1 and %d", o->rank,
                           SLUICE_ADAPTER_RANK_MAX);
    if (o->context < CONTEXT_MIN || o->batch < 1 || o->accumulate < 1 || o->batch > 4096 ||
        o->context > (1 << 20) / o->batch)
        return sluice_fail(err, SLUICE_USAGE,
                           "rows of %d tokens, %d at a time, %d times a step: a pass takes %d to "
                           "%d tokens",
                           o->context, o->batch, o->accumulate, CONTEXT_MIN, 1 << 20);
    if (!(o->rate > 0.0f) || !isfinite(o->rate) || !isfinite(o->alpha) || !(o->alpha > 0.0f) ||
        !(o->beta1 >= 0.0f && o->beta1 < 1.0f) || !(o->beta2 >= 0.0f && o->beta2 < 1.0f) ||
        !(o->epsilon > 0.0f) || !(o->weight_decay >= 0.0f) || !(o->clip >= 0.0f) ||
        !(o->dropout >= 0.0f && o->dropout < 1.0f) ||
        !(o->validation_share >= 0.0 && o->validation_share < 1.0))
        return sluice_fail(
            err, SLUICE_USAGE,
            "alpha, rate and epsilon must be above 0, betas, dropout and the validation share "
            "below 1, and decay and clip not negative");
    if (o->steps < 0 || (o->steps == 0 && !(o->epochs > 0.0 && o->epochs <= 1e6)))
        return sluice_fail(err, SLUICE_USAGE, "%d steps, %g epochs", o->steps, o->epochs);
    return SLUICE_OK;
}

static sluice_status open_tokenizer(sluice_trainer *trainer, sluice_error *err)
{
    char *path = sluice_file_join(trainer->dir, "tokenizer.json");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    const sluice_status status = sluice_tokenizer_open(path, &trainer->tokenizer, err);
    free(path);
    return status;
}

static sluice_status open_model(sluice_trainer *trainer, const char *model, sluice_error *err)
{
    sluice_engine_options *engine = &trainer->engine;
    sluice_sizes_model needs;
    SLUICE_TRY(sluice_model_locate(model, engine, &trainer->dir, err));
    SLUICE_TRY(sluice_container_open_over(trainer->dir, engine->expert_folders,
                                          engine->n_expert_folders, &trainer->container, err));
    trainer->config = sluice_container_config(trainer->container);
    if (trainer->options.context > trainer->config->context_max)
        return sluice_fail(err, SLUICE_USAGE, "a context of %d is over the model's %d",
                           trainer->options.context, trainer->config->context_max);
    if (engine->threads < 0) return sluice_fail(err, SLUICE_USAGE, "%d threads", engine->threads);
    if (engine->threads == 0) {
        sluice_topology topology;
        sluice_topology_get("", &topology);
        engine->threads = topology.threads;
    }
    trainer->memory = engine->memory_bytes;
    if (!trainer->memory) SLUICE_TRY(sluice_sizes_machine(&trainer->memory, err));
    SLUICE_TRY(
        sluice_cpu_flags_parse(engine->cpu ? engine->cpu : "auto", &trainer->cpu_flags, err));
    SLUICE_TRY(sluice_budget_new(trainer->memory, &trainer->budget, err));
    SLUICE_TRY(sluice_pool_new(engine->threads, NULL, &trainer->pool, err));
    SLUICE_TRY(open_tokenizer(trainer, err));
    SLUICE_TRY(sluice_sizes_measure(trainer->container, &needs, err));
    const sluice_model_options options = {.embedding_on_disk = needs.embedding_on_disk,
                                          .budget = trainer->budget};
    return sluice_model_open(trainer->container, &options, &trainer->model, err);
}

static sluice_status open_backend(sluice_trainer *trainer, sluice_error *err)
{
    const sluice_cpu_options options = {.rows_max = trainer->rows_max,
                                        .pool = trainer->pool,
                                        .cpu_flags = trainer->cpu_flags,
                                        .exact = true,
                                        .budget = trainer->budget};
    trainer->model->geometry.low_rank = trainer->options.rank;
    return sluice_cpu_backend_new(&trainer->model->geometry, &options, &trainer->backend, err);
}

/* Everything that the values after a step depend on, in words. */
static sluice_status describe(sluice_trainer *trainer, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    if (asprintf(&trainer->settings,
                 "model %08x, %d samples, %lld tokens, %d held out, targets %s, rank %d, alpha %g, "
                 "dropout %g, rate %g, schedule %d, warm-up %d, decay %g, betas %g %g, epsilon %g, "
                 "clip %g, "
                 "steps %d, context %d, batch %d x %d, all tokens %d, seed %llu",
                 trainer->model->fingerprint_bare, trainer->samples.n,
                 (long long)trainer->samples.count, trainer->n_validation, o->targets, o->rank,
                 (double)o->alpha, (double)o->dropout, (double)o->rate, (int)o->schedule,
                 o->warmup_steps, (double)o->weight_decay, (double)o->beta1, (double)o->beta2,
                 (double)o->epsilon, (double)o->clip, trainer->steps, o->context, o->batch,
                 o->accumulate, (int)o->all_tokens, (unsigned long long)o->seed) < 0)
        trainer->settings = NULL;
    trainer->state_path = sluice_file_join(o->out, "state.safetensors");
    return trainer->settings && trainer->state_path
               ? SLUICE_OK
               : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the settings");
}

/* Tokens of the batches that the run begins with, at most those that uses are counted on. */
static int64_t tokens_to_count(sluice_trainer *trainer, int64_t batches)
{
    sluice_train_batch batch;
    int64_t tokens = 0;
    for (int64_t i = 0; i < batches && tokens < COUNT_TOKENS_MAX; i++) {
        sluice_packer_next(&trainer->packer, trainer->n_train, &batch);
        if (!batch.rows) break;
        tokens += batch.rows;
    }
    trainer->packer.taken = 0;
    return tokens;
}

/* How often the training data uses each expert: a forward pass over the batches that the run will
 * take, each once. */
static sluice_status count_uses(sluice_trainer *trainer, int64_t *counts, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const int64_t total = tokens_to_count(trainer, (int64_t)trainer->steps * o->accumulate);
    sluice_train_batch batch;
    sluice_pass_result result;
    int64_t tokens = 0;
    sluice_status status = sluice_trainer_open_pass(trainer, NULL, err);
    while (status == SLUICE_OK && tokens < total) {
        if (o->counting) o->counting(o->context_user, tokens, total);
        sluice_packer_next(&trainer->packer, trainer->n_train, &batch);
        if (trainer->engine.interrupted &&
            trainer->engine.interrupted(trainer->engine.callback_context))
            status = sluice_fail(err, SLUICE_CANCELLED, "stopped before the first step");
        if (status == SLUICE_OK) status = sluice_pass_run(trainer->pass, &batch, 0, &result, err);
        if (status == SLUICE_OK) sluice_targets_count(trainer->pass, batch.rows, counts);
        tokens += batch.rows;
    }
    trainer->packer.taken = 0;
    sluice_trainer_close_pass(trainer);
    return status;
}

/* Whether so many fit can be said before it is known which, by as many of each layer: counting may
 * take long. */
static sluice_status fit_any(sluice_trainer *trainer, int64_t *counts, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const int32_t layers = trainer->config->layers, experts = trainer->config->experts;
    sluice_adapter_key *keys;
    int32_t n;
    for (int32_t i = 0; i < layers * experts; i++)
        counts[i] = experts - i % experts;
    SLUICE_TRY(sluice_targets_keys(&trainer->targets, trainer->config, counts, o->rank, o->alpha,
                                   &keys, &n, err));
    memset(counts, 0, (size_t)layers * (size_t)experts * sizeof *counts);
    const sluice_status status = sluice_trainer_fit(trainer, keys, n, err);
    free(keys);
    return status;
}

static sluice_status choose_keys(sluice_trainer *trainer, sluice_adapter_key **keys, int32_t *n,
                                 sluice_error *err)
{
    const sluice_config *config = trainer->config;
    const sluice_train_options *o = &trainer->options;
    int64_t *counts = calloc((size_t)config->layers * (size_t)config->experts, sizeof *counts);
    if (!counts) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to count experts");
    sluice_status status = fit_any(trainer, counts, err);
    if (status == SLUICE_OK && sluice_targets_counts(&trainer->targets))
        status = count_uses(trainer, counts, err);
    if (status == SLUICE_OK)
        status =
            sluice_targets_keys(&trainer->targets, config, counts, o->rank, o->alpha, keys, n, err);
    free(counts);
    return status;
}

/* Values, gradients and moments, in memory or on disk as sluice_trainer_fit chose. */
static sluice_status take_state(sluice_trainer *trainer, const sluice_adapter_key *keys, int32_t n,
                                sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    const bool gradients = trainer->spill < SLUICE_TRAINER_SPILL_GRADIENTS;
    const char *moments = trainer->spill < SLUICE_TRAINER_SPILL_MOMENTS ? NULL : o->out;
    SLUICE_TRY(sluice_adapter_new(trainer->config, keys, n, gradients, trainer->budget,
                                  &trainer->adapter, err));
    if (!gradients)
        SLUICE_TRY(sluice_gradients_new(trainer->adapter, o->out, &trainer->gradients, err));
    SLUICE_TRY(sluice_adamw_new(trainer->adapter, trainer->gradients, moments, trainer->pool,
                                &trainer->adamw, err));
    return sluice_dropout_new(trainer->adapter, trainer->gradients, o->dropout, o->seed,
                              &trainer->dropout, err);
}

/* The adapter and its optimiser, new or as a checkpoint has them. */
static sluice_status open_adapter(sluice_trainer *trainer, sluice_error *err)
{
    const sluice_train_options *o = &trainer->options;
    sluice_adapter_key *keys = NULL;
    int32_t n = 0;
    const bool resume = o->resume && sluice_file_exists(trainer->state_path);
    if (resume)
        SLUICE_TRY(sluice_run_state_open(trainer->state_path, trainer->settings, &trainer->at,
                                         &keys, &n, err));
    else
        SLUICE_TRY(choose_keys(trainer, &keys, &n, err));
    sluice_status status = sluice_trainer_fit(trainer, keys, n, err);
    if (status == SLUICE_OK) status = take_state(trainer, keys, n, err);
    free(keys);
    SLUICE_TRY(status);
    trainer->adamw.beta1 = o->beta1;
    trainer->adamw.beta2 = o->beta2;
    trainer->adamw.epsilon = o->epsilon;
    trainer->adamw.decay = o->weight_decay;
    trainer->adamw.clip = o->clip;
    trainer->adamw.step = trainer->at.step;
    trainer->packer.taken = trainer->at.taken;
    sluice_adapter_init(trainer->adapter, o->seed);
    return resume ? sluice_run_state_fill(trainer->state_path, &trainer->adamw, err) : SLUICE_OK;
}

static void fill_plan(sluice_trainer *trainer)
{
    sluice_train_plan *plan = &trainer->plan;
    const sluice_adapter *adapter = trainer->adapter;
    plan->parameters = (int64_t)adapter->count;
    plan->matrices = adapter->n_entries;
    plan->adapter_bytes = adapter->bytes;
    plan->spilled_bytes = adapter->bytes * (trainer->spill == SLUICE_TRAINER_SPILL_NOTHING   ? 0
                                            : trainer->spill == SLUICE_TRAINER_SPILL_MOMENTS ? 2
                                                                                             : 3);
    plan->experts_total = trainer->config->layers * trainer->config->experts;
    plan->resumed_step = trainer->at.step;
    for (int32_t i = 0; i < adapter->n_entries; i++)
        plan->experts += adapter->entries[i].key.module == SLUICE_ADAPTER_EXPERT_DOWN;
    for (int32_t i = 0; i < trainer->config->layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(trainer->container, i);
        const int sweeps = i >= sluice_pass_lowest(trainer->pass) ? 2 : 1;
        plan->step_bytes += (uint64_t)file->count * file->layout.bytes * (uint64_t)sweeps;
    }
    plan->step_bytes *= (uint64_t)trainer->options.accumulate;
}

static sluice_status open_all(sluice_trainer *trainer, const char *model, sluice_error *err)
{
    SLUICE_TRY(check_options(&trainer->options, err));
    SLUICE_TRY(sluice_targets_parse(trainer->options.targets, &trainer->targets, err));
    SLUICE_TRY(open_model(trainer, model, err));
    SLUICE_TRY(sluice_trainer_read_data(trainer, err));
    SLUICE_TRY(sluice_folder_make(trainer->options.out, err));
    SLUICE_TRY(open_backend(trainer, err));
    SLUICE_TRY(describe(trainer, err));
    SLUICE_TRY(open_adapter(trainer, err));
    SLUICE_TRY(sluice_trainer_open_pass(trainer, trainer->adapter, err));
    fill_plan(trainer);
    return SLUICE_OK;
}

sluice_status sluice_trainer_open(const char *model, const sluice_engine_options *engine,
                                  const sluice_train_options *options, sluice_trainer *out,
                                  sluice_error *err)
{
    *out = (sluice_trainer){.options = *options};
    out->engine = engine ? *engine : sluice_engine_options_default();
    const sluice_status status = open_all(out, model, err);
    if (status != SLUICE_OK) sluice_trainer_close(out);
    return status;
}

void sluice_trainer_close(sluice_trainer *trainer)
{
    sluice_trainer_close_pass(trainer);
    if (trainer->adapter) {
        sluice_dropout_free(&trainer->dropout);
        sluice_adamw_free(&trainer->adamw);
        sluice_gradients_free(trainer->gradients);
    }
    sluice_adapter_free(trainer->adapter);
    if (trainer->backend) trainer->backend->free(trainer->backend);
    sluice_packer_free(&trainer->packer);
    sluice_packer_free(&trainer->validation_packer);
    sluice_samples_free(&trainer->samples);
    sluice_samples_free(&trainer->validation_file);
    sluice_model_close(trainer->model);
    if (trainer->pool) sluice_pool_free(trainer->pool);
    sluice_tokenizer_close(trainer->tokenizer);
    if (trainer->container) sluice_container_close(trainer->container);
    sluice_budget_free(trainer->budget);
    free(trainer->train_list);
    free(trainer->validation_list);
    free(trainer->settings);
    free(trainer->state_path);
    free(trainer->dir);
    *trainer = (sluice_trainer){0};
}
