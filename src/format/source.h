/* A model as users have it, seen as named matrices: the seam between source formats and convert.
 *
 * A source format (source_hf.c, source_container.c; later GGUF) is one file that fills a
 * sluice_source and one line in source.c's table. How a single matrix is stored (plain, affine;
 * later fp8, nvfp4, gptq) is an encoding: one file and one line in encoding.c's table. Names are
 * canonical, formats are those of quant/, and every shape has been checked against the config.
 * Nothing has been read but headers.
 */
#ifndef SLUICE_FORMAT_SOURCE_H
#define SLUICE_FORMAT_SOURCE_H

#include "format/catalog.h"
#include "format/checkpoint.h"
#include "quant/weight.h"

#define SLUICE_SOURCE_PARTS_MAX 4

typedef struct sluice_encoding sluice_encoding;

/* A range of a shard that holds `rows` equal pieces, one for each row of the matrix. */
typedef struct sluice_source_part {
    int32_t shard;
    uint64_t offset, row_bytes;
} sluice_source_part;

typedef struct sluice_source_matrix {
    sluice_weight_format format; /* that it is packed to without loss */
    int32_t rows, cols;
    const sluice_encoding *encoding;
    sluice_source_part part[SLUICE_SOURCE_PARTS_MAX]; /* encoding->parts of them */
} sluice_source_matrix;

typedef struct sluice_source {
    char layout[32];      /* "hf fused", "mlx stacked", ... */
    sluice_config config; /* mtp_layers is what the source holds */
    char *config_text;
    size_t config_bytes;
    bool norm_add_one; /* norms hold w, not 1 + w */
    sluice_catalog_entry *catalog;
    sluice_source_matrix *trunk; /* [trunk_count], in catalog order */
    int32_t trunk_count;
    sluice_source_matrix *experts; /* [layers + mtp_layers][experts][gate, up, down] */
    sluice_checkpoint *files;
    bool container;       /* already one: nothing of it is consumed */
    int32_t left_out;     /* tensors of the vision tower */
    bool *holds_left_out; /* [shards] */
    char fingerprint[17]; /* of all headers and the config */
} sluice_source;

/* headers_dir: see sluice_checkpoint_open. */
sluice_status sluice_source_open(const char *dir, const char *headers_dir, sluice_source **out,
                                 sluice_error *err);
void sluice_source_close(sluice_source *source);

static inline const sluice_source_matrix *
sluice_source_expert(const sluice_source *source, int32_t layer, int32_t expert, int part)
{
    return &source->experts[((size_t)layer * (size_t)source->config.experts + (size_t)expert) * 3 +
                            (size_t)part];
}

/* A source format. */
typedef struct sluice_source_kind {
    const char *name;
    bool (*probe)(const char *dir);
    /* Fills source, which holds config and config_text; what it allocates is freed by close, also
     * after a failure. */
    sluice_status (*open)(const char *dir, const char *headers_dir, sluice_source *source,
                          sluice_error *err);
} sluice_source_kind;

extern const sluice_source_kind sluice_source_hf;
extern const sluice_source_kind sluice_source_container;

/* For source formats: sets the fingerprint from files and config. */
void sluice_source_print(sluice_source *source);

#endif
