/* A container that does not exist yet: the formats, places and sizes of all that it will hold, from
 * a config and two words, and the headers of its files. synth writes it, plan counts with it.
 *
 * What it does not do: values; reading (container.h). */
#ifndef SLUICE_FORMAT_BLUEPRINT_H
#define SLUICE_FORMAT_BLUEPRINT_H

#include "format/container_meta.h"

typedef struct sluice_blueprint {
    sluice_config config;
    sluice_weight_format expert_format;
    sluice_record_layout record;
    sluice_catalog_entry *catalog;
    sluice_trunk_tensor *tensors; /* in catalog order; offset counts from the start of the data */
    int32_t *order;               /* [count] as they lie in the file: packed ones first */
    int32_t count;
    uint64_t trunk_bytes;      /* of trunk.safetensors without its header */
    uint64_t trunk_file_bytes; /* with it */
    uint64_t layer_bytes;      /* records of one layer */
    uint64_t layer_file_bytes; /* with its header */
    uint64_t bytes;            /* of all tensor files */
} sluice_blueprint;

/* "q2" ... "q8" (groups of 64, scales in bf16), "bf16", "f16", "f32", or a full name. */
sluice_status sluice_blueprint_format(const char *word, sluice_weight_format *format,
                                      sluice_error *err);

/* Router and shared gate stay at 8 bits at least; vectors are f32. */
sluice_status sluice_blueprint_new(const sluice_config *config, const char *experts,
                                   const char *trunk, sluice_blueprint *out, sluice_error *err);
void sluice_blueprint_free(sluice_blueprint *blueprint);

/* Headers of trunk.safetensors and of a layer's file, to be freed. Their sizes do not depend on the
 * checksums, which are in catalog order and [experts]; NULL stands for zeros. layout and
 * fingerprint say where the weights come from. */
sluice_status sluice_blueprint_trunk_header(const sluice_blueprint *blueprint, const char *layout,
                                            const char *fingerprint, const uint32_t *crc32c,
                                            char **header, size_t *bytes, sluice_error *err);
sluice_status sluice_blueprint_layer_header(const sluice_blueprint *blueprint, int32_t layer,
                                            const char *fingerprint, const uint32_t *crc32c,
                                            char **header, size_t *bytes, sluice_error *err);

#endif
