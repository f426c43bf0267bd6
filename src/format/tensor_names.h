/* The tensors of a checkpoint under their canonical names: prefixes that savers put before them are
 * taken off, and what belongs to the vision tower is set aside. Internal to source_hf.c. */
#ifndef SLUICE_FORMAT_TENSOR_NAMES_H
#define SLUICE_FORMAT_TENSOR_NAMES_H

#include "format/checkpoint.h"

typedef struct sluice_tensor_name {
    const char *name; /* canonical; points into the tensor's own */
    const sluice_safetensor *tensor;
    int32_t shard;
    bool used, left_out;
} sluice_tensor_name;

typedef struct sluice_tensor_names {
    sluice_tensor_name *names; /* sorted */
    size_t count;
} sluice_tensor_names;

/* Two tensors with one canonical name are refused. */
sluice_status sluice_tensor_names_new(const sluice_checkpoint *files, sluice_tensor_names *names,
                                      sluice_error *err);
void sluice_tensor_names_free(sluice_tensor_names *names);

/* NULL if absent; does not mark it. */
sluice_tensor_name *sluice_tensor_names_find(const sluice_tensor_names *names, const char *name);
/* Any name that begins so? */
bool sluice_tensor_names_any(const sluice_tensor_names *names, const char *prefix);

/* Refuses tensors that were neither used nor left out, naming the first. */
sluice_status sluice_tensor_names_check_used(const sluice_tensor_names *names,
                                             const sluice_checkpoint *files, sluice_error *err);

#endif
