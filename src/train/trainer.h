/* A training run's parts, opened in order and charged to one budget.
 *
 * Trunk, samples, optimiser, scratch and layer inputs come first; what is left is the expert
 * cache's, as when serving. Where that would leave too little, moments and then gradients go to
 * disk (trainer_fit.c). Internal to train.c and trainer*.c. */
#ifndef SLUICE_TRAIN_TRAINER_H
#define SLUICE_TRAIN_TRAINER_H

#include "format/container.h"
#include "sluice/train.h"
#include "train/adamw.h"
#include "train/dropout.h"
#include "train/packer.h"
#include "train/pass.h"
#include "train/run_state.h"
#include "train/targets.h"

/* What of an adapter's state is on disk between uses, each with those before it. */
typedef enum sluice_trainer_spill {
    SLUICE_TRAINER_SPILL_NOTHING,
    SLUICE_TRAINER_SPILL_MOMENTS,
    SLUICE_TRAINER_SPILL_GRADIENTS
} sluice_trainer_spill;

/* About, of lists and names for each adapted matrix, not charged: most while they are written. */
#define SLUICE_TRAINER_ENTRY_BYTES 1024

typedef struct sluice_trainer {
    sluice_train_options options;
    sluice_engine_options engine;
    uint64_t memory;
    uint32_t cpu_flags;
    sluice_targets targets;

    char *dir; /* of the container */
    sluice_container *container;
    const sluice_config *config;
    sluice_budget *budget;
    sluice_pool *pool;
    sluice_tokenizer *tokenizer;
    sluice_model *model;
    sluice_backend *backend;
    sluice_samples samples, validation_file; /* the second of --val */
    const sluice_samples *validation;        /* either */
    int32_t *train_list, *validation_list;   /* of samples */
    int32_t n_train, n_validation;
    sluice_packer packer, validation_packer;
    int32_t rows_max, segments_max;
    int64_t limit; /* samples that the run takes, over all epochs */
    int32_t steps;

    sluice_trainer_spill spill;
    sluice_adapter *adapter;
    sluice_gradients *gradients; /* on disk, or NULL */
    sluice_adapter *attached[1];
    sluice_adamw adamw;
    sluice_dropout dropout;
    sluice_experts *experts;
    sluice_pass *pass;

    char *settings, *state_path;
    sluice_run_position at;
    bool unsaved; /* a checkpoint is due as soon as it has proved to give numbers */
    sluice_train_plan plan;
} sluice_trainer;

/* Everything up to the first step; frees what it took if it fails. */
sluice_status sluice_trainer_open(const char *model, const sluice_engine_options *engine,
                                  const sluice_train_options *options, sluice_trainer *out,
                                  sluice_error *err);
void sluice_trainer_close(sluice_trainer *trainer);

/* ---- parts ---- */

/* trainer_data.c: samples, their split, packers, steps. */
sluice_status sluice_trainer_read_data(sluice_trainer *trainer, sluice_error *err);

/* trainer_fit.c: chooses what of the state of adapters with these keys is on disk, before any of it
 * is taken. SLUICE_NO_MEMORY: they do not fit, and what would. */
sluice_status sluice_trainer_fit(sluice_trainer *trainer, const sluice_adapter_key *keys, int32_t n,
                                 sluice_error *err);

/* trainer_pass.c: bytes of the budget that are left, less what is not charged; the least cache of
 * experts; what a pass with adapters of the run's rank takes at least. */
uint64_t sluice_trainer_left(const sluice_trainer *trainer);
uint64_t sluice_trainer_cache_min(const sluice_trainer *trainer);
uint64_t sluice_trainer_pass_bytes(const sluice_trainer *trainer);

/* trainer_pass.c: experts and a pass in the memory that is left, and closing both. adapter NULL: a
 * pass for losses alone. */
sluice_status sluice_trainer_open_pass(sluice_trainer *trainer, sluice_adapter *adapter,
                                       sluice_error *err);
void sluice_trainer_close_pass(sluice_trainer *trainer);

#endif
