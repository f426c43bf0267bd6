/* What stands in the __metadata__ of a container's files, read and written (doc/format.md).
 *
 * Reading checks everything against the config and the table of tensors; what was returned can be
 * used without further checks. Internal to format/. */
#ifndef SLUICE_FORMAT_CONTAINER_META_H
#define SLUICE_FORMAT_CONTAINER_META_H

#include "format/catalog.h"
#include "format/container.h"
#include "format/safetensors.h"

#define SLUICE_TRUNK_FILE "trunk.safetensors"
#define SLUICE_FINGERPRINT_BYTES 17 /* 16 hexadecimal digits */

/* experts-NNN.safetensors */
void sluice_container_expert_file(int32_t layer, char *name, size_t bytes);

typedef struct sluice_trunk_meta {
    int32_t mtp_layers;
    bool norm_add_one;
    char layout[32];                            /* of the source, e.g. "mlx stacked" */
    char fingerprint[SLUICE_FINGERPRINT_BYTES]; /* of source and options */
    sluice_catalog_entry *catalog;              /* names of tensors point into it */
    sluice_trunk_tensor *tensors;               /* in catalog order */
    uint32_t *crc32c;                           /* of what the file holds, padding included */
    int32_t count;
} sluice_trunk_meta;

/* Bytes that a trunk tensor takes in the file: its bytes, for packed ones rounded up to 4096. */
uint64_t sluice_trunk_file_bytes(const sluice_trunk_tensor *tensor);
/* The dtype of a plain weight format. */
sluice_dtype sluice_plain_dtype(sluice_weight_format format);

/* config->mtp_layers is set to what the container has (a source may lack the head that its config
 * promises). */
sluice_status sluice_trunk_meta_parse(const sluice_safetensors *table, const char *file,
                                      sluice_config *config, sluice_trunk_meta *meta,
                                      sluice_error *err);
void sluice_trunk_meta_free(sluice_trunk_meta *meta);
/* The value of the key "tensors"; its length depends on no checksum. To be freed. */
sluice_status sluice_trunk_meta_print(const sluice_trunk_tensor *tensors, const uint32_t *crc32c,
                                      int32_t count, char **text, sluice_error *err);

/* Where gate, up and down lie in a record of these formats. */
void sluice_record_layout_make(const sluice_config *config, const sluice_weight_format format[3],
                               sluice_record_layout *layout);

/* Fills experts (all but path); experts->crc32c is allocated. fingerprint may be NULL. */
sluice_status sluice_expert_meta_parse(const sluice_safetensors *table, const char *file,
                                       const sluice_config *config, int32_t layer,
                                       sluice_expert_file *experts, char *fingerprint,
                                       sluice_error *err);
/* The values of the keys "record" and "crc32c"; to be freed. */
sluice_status sluice_expert_meta_print(const sluice_config *config,
                                       const sluice_record_layout *layout, const uint32_t *crc32c,
                                       char **record, char **checksums, sluice_error *err);

#endif
