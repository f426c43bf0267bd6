/* What a conversion will write: every file, tensor, format and byte, known from headers alone.
 * Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_PLAN_H
#define SLUICE_FORMAT_CONVERT_PLAN_H

#include "format/container_meta.h"
#include "format/convert_change.h"
#include "format/importance.h"
#include "format/safetensors_writer.h"
#include "format/source.h"
#include "sluice/convert.h"

typedef struct sluice_plan_file {
    char name[32];
    int32_t layer;                     /* -1: the trunk */
    uint64_t header_bytes, data_bytes; /* of the container's file */
    uint64_t source_bytes;             /* read for it */
    bool finished;                     /* by a conversion that was interrupted */
} sluice_plan_file;

typedef struct sluice_plan {
    sluice_source *source;
    sluice_trunk_tensor *trunk;    /* in catalog order; offset is relative to the data section */
    int32_t *trunk_order;          /* of the tensors in the file */
    sluice_record_layout *records; /* [layers] */
    sluice_plan_file *files;       /* trunk first, then the layers: the order of work */
    int32_t file_count;
    int32_t *shard_last;                 /* [shards]: the last file that needs it, -1 for none */
    sluice_importance *importance;       /* NULL: plain rounding */
    const sluice_convert_change *change; /* NULL: values stay */
    bool requantised;
    char fingerprint[SLUICE_FINGERPRINT_BYTES]; /* of source and options */
} sluice_plan;

/* Takes the source over, also on failure. options may be NULL. change, if not NULL: formats are
 * those of what it changes, all else stays as it is; it must outlive the plan. */
sluice_status sluice_plan_new(sluice_source *source, const sluice_convert_options *options,
                              const sluice_convert_change *change, sluice_plan **out,
                              sluice_error *err);
void sluice_plan_free(sluice_plan *plan);

/* The header of a file with these checksums (one a trunk tensor in catalog order, or one a record).
 */
sluice_status sluice_plan_header(const sluice_plan *plan, const sluice_plan_file *file,
                                 const uint32_t *crc32c, char **header, size_t *bytes,
                                 sluice_error *err);

/* Disk space that the unfinished files need at the worst moment. freed: shards are deleted on the
 * same file system as soon as nothing needs them. */
uint64_t sluice_plan_needed(const sluice_plan *plan, bool freed);

/* Will consume delete this shard when `file` and all before it are done? */
bool sluice_plan_frees(const sluice_plan *plan, int32_t shard, int32_t file);

#endif
