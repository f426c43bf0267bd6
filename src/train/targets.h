/* What is adapted: the kinds of matrices that were named, and which routed experts.
 *
 * "attn" is q, k, v and o of the attention layers; "gdn" in_proj_qkv, in_proj_z and out_proj of the
 * others; "shared" the three matrices of the shared expert; "experts" those of routed experts,
 * all, or with ":N%" the N% of all layers' experts that the training data itself uses most often
 * (counted by a forward pass over it; ties go to the lower layer, then the lower index). */
#ifndef SLUICE_TRAIN_TARGETS_H
#define SLUICE_TRAIN_TARGETS_H

#include "adapter/adapter.h"
#include "train/pass.h"

typedef struct sluice_targets {
    bool attn, gdn, shared, experts;
    double share; /* of all routed experts, (0, 1] */
} sluice_targets;

/* SLUICE_USAGE names the word that is not one. */
sluice_status sluice_targets_parse(const char *text, sluice_targets *targets, sluice_error *err);

/* Routed experts to adapt, and whether their use must be counted for that. */
int64_t sluice_targets_experts(const sluice_targets *targets, const sluice_config *config);
bool sluice_targets_counts(const sluice_targets *targets);

/* keys, to be freed; counts: [layers * experts] uses, or NULL where they need no counting. */
sluice_status sluice_targets_keys(const sluice_targets *targets, const sluice_config *config,
                                  const int64_t *counts, int32_t rank, float alpha,
                                  sluice_adapter_key **keys, int32_t *n, sluice_error *err);

/* Adds the uses of each expert in the pass's last batch to counts [layers * experts]. */
void sluice_targets_count(const sluice_pass *pass, int32_t rows, int64_t *counts);

#endif
