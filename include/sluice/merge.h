/* Merging adapters into a model: a new container whose weights are W + scale * B A.
 *
 * Matrices that no adapter touches keep their bytes. One that is adapted is unpacked row by row,
 * added to and rounded again: by default in its own format, which for few bits rounds much of a
 * small change away (doc/training.md has numbers), or in one that is asked for, which costs space
 * and reading: where one routed expert of a layer is adapted all of that layer's take the format,
 * since the records of a layer are of one kind.
 *
 * It is a conversion: it streams, says the disk space that it needs, survives being killed, and
 * goes on where it was when called again with the same model and adapters. */
#ifndef SLUICE_MERGE_H
#define SLUICE_MERGE_H

#include "sluice/convert.h"
#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What will be, beside what sluice_convert_plan says of any conversion. */
typedef struct sluice_merge_plan {
    int32_t matrices, experts; /* adapted; routed experts among them */
    uint64_t adapter_bytes;    /* held in memory */
} sluice_merge_plan;

/* model: a container or a checkpoint. options may be NULL; experts and trunk name the formats of
 * what is adapted; consume must be false. plan, if not NULL, is filled before options->starting is
 * called. SLUICE_USAGE: no adapter, more than SLUICE_ADAPTERS_MAX, or a scale that is no number;
 * SLUICE_BAD_INPUT: one is for another model. */
sluice_status sluice_merge(const char *model, const sluice_adapter_choice *adapters,
                           int32_t n_adapters, const char *out,
                           const sluice_convert_options *options, sluice_merge_plan *plan,
                           sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
