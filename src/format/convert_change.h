/* Changing values on the way through a conversion: what merging adapters into a model is.
 *
 * Whoever changes says which matrices, and gets their rows in f32, after the source's format and
 * before the target's. Internal to format/ and to those who change. */
#ifndef SLUICE_FORMAT_CONVERT_CHANGE_H
#define SLUICE_FORMAT_CONVERT_CHANGE_H

#include <stddef.h>

#include "sluice/convert.h"

/* A matrix of the trunk by its canonical name, or (name NULL) a part of a routed expert. */
typedef struct sluice_matrix_place {
    const char *name;
    int32_t layer, expert;
    int part; /* 0 gate, 1 up, 2 down */
} sluice_matrix_place;

/* Both functions are called from several threads. */
typedef struct sluice_convert_change {
    const void *context;
    char id[24]; /* of what is changed and how: an interrupted conversion goes on with the same */
    bool (*changes)(const void *context, const sluice_matrix_place *place);
    void (*row)(const void *context, const sluice_matrix_place *place, int32_t row, float *values);
} sluice_convert_change;

/* A change, and where. */
typedef struct sluice_row_change {
    const sluice_convert_change *change;
    sluice_matrix_place place;
} sluice_row_change;

/* False also without any change; out may be NULL. */
static inline bool sluice_convert_changes(const sluice_convert_change *change,
                                          const sluice_matrix_place *place, sluice_row_change *out)
{
    if (!change || !change->changes(change->context, place)) return false;
    if (out) *out = (sluice_row_change){change, *place};
    return true;
}

/* sluice_convert with a change. The formats of options are for what is changed alone; where a
 * routed expert is, for its whole layer. change may be NULL. */
sluice_status sluice_convert_changed(const char *source, const char *out,
                                     const sluice_convert_options *options,
                                     const sluice_convert_change *change, sluice_error *err);

#endif
