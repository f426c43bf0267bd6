/* A training run's parts, opened in order and charged to one budget.
 *
 * Trunk, samples, optimiser, scratch and layer inputs come first; what is left is the expert
 * cache's, as when serving. Internal to train.c and trainer*.c. */
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

    sluice_adapter *adapter;
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

/* trainer_pass.c: experts and a pass in the memory that is left, and closing both. adapter NULL: a
 * pass for losses alone. */
sluice_status sluice_trainer_open_pass(sluice_trainer *trainer, sluice_adapter *adapter,
                                       sluice_error *err);
void sluice_trainer_close_pass(sluice_trainer *trainer);

#endif
