/* Which tensors the trunk of a model has, from its config alone: the list that a source must
 * deliver, that a container must hold, and that the model asks for. Names are canonical (Hugging
 * Face names without prefix). The routed experts are not in it. */
#ifndef SLUICE_FORMAT_CATALOG_H
#define SLUICE_FORMAT_CATALOG_H

#include "format/config.h"

typedef enum sluice_catalog_kind {
    SLUICE_CATALOG_MATRIX, /* [rows, cols], packed and possibly quantised */
    SLUICE_CATALOG_VECTOR, /* [rows], cols = 1, plain */
    SLUICE_CATALOG_CONV    /* [rows, cols], plain; sources have a 1 before or after cols */
} sluice_catalog_kind;

typedef struct sluice_catalog_entry {
    char name[72];
    int32_t rows, cols;
    uint8_t kind; /* sluice_catalog_kind */
    bool careful; /* router and shared gate: never below 8 bits */
} sluice_catalog_entry;

/* *entries is freed with free(). */
sluice_status sluice_catalog_new(const sluice_config *config, sluice_catalog_entry **entries,
                                 int32_t *count, sluice_error *err);

/* "layers.3." or, from config->layers on, "mtp.layers.0.": what the names of a layer begin with. */
void sluice_catalog_layer(const sluice_config *config, int32_t layer, char *prefix, size_t bytes);

#endif
