/* Reading a sluice container: the directory that convert writes (specified in doc/format.md).
 *
 * What: opens config.json, trunk.safetensors and experts-NNN.safetensors, checks every size against
 * the config, and says where each trunk tensor and each expert record lies and in which weight
 * format. It reads headers only; the model loads the trunk, the expert cache reads the records. */
#ifndef SLUICE_FORMAT_CONTAINER_H
#define SLUICE_FORMAT_CONTAINER_H

#include "format/config.h"
#include "quant/weight.h"

/* Of the files' own description; another one is not read. */
#define SLUICE_CONTAINER_VERSION "1"

typedef struct sluice_container sluice_container;

/* A tensor of the trunk. Matrices are packed panels of `format`; vectors are plain f32/bf16/f16
 * elements exactly as in the source ([rows] with cols = 1, or conv1d as [channels, width]). */
typedef struct sluice_trunk_tensor {
    const char
        *name; /* canonical, e.g. "layers.3.self_attn.q_proj.weight"; owned by the container */
    sluice_weight_format format;
    bool packed; /* panels (matrices) or plain elements (vectors) */
    int32_t rows, cols;
    uint64_t offset, bytes; /* in trunk.safetensors; packed ones are 4096-aligned */
} sluice_trunk_tensor;

/* How one expert lies in its record. Offsets are multiples of 64. */
typedef struct sluice_record_layout {
    sluice_weight_format gate, up, down;
    uint64_t gate_offset, up_offset, down_offset;
    uint64_t bytes; /* padded to a multiple of 4096 */
} sluice_record_layout;

/* Folders besides the container's own in which expert files are looked for. */
#define SLUICE_EXPERT_FOLDERS_MAX 7

typedef struct sluice_expert_file {
    char *path;
    char *copies[SLUICE_EXPERT_FOLDERS_MAX]; /* [n_copies] the same file in other folders */
    int32_t n_copies;
    uint64_t offset; /* of record 0 */
    int32_t count;
    sluice_record_layout layout;
    uint32_t *crc32c; /* [count] */
} sluice_expert_file;

sluice_status sluice_container_open(const char *dir, sluice_container **out, sluice_error *err);
/* The same with expert files in several folders (several disks): each is looked for in dir, then in
 * folders, in this order. Wherever else it also lies it is a copy, and must have the same records
 * and checksums, else SLUICE_CORRUPT. */
sluice_status sluice_container_open_over(const char *dir, const char *const *folders,
                                         int32_t n_folders, sluice_container **out,
                                         sluice_error *err);
void sluice_container_close(sluice_container *container);
/* True if dir looks like a container (has trunk.safetensors with our metadata). */
bool sluice_container_is(const char *dir);

const sluice_config *sluice_container_config(const sluice_container *container);
const char *sluice_container_dir(const sluice_container *container);
const char *sluice_container_trunk_path(const sluice_container *container);
/* Whether norms in the trunk hold w (HF: add 1 when loading) or already 1 + w (MLX). */
bool sluice_container_norm_add_one(const sluice_container *container);
const sluice_trunk_tensor *sluice_container_trunk(const sluice_container *container,
                                                  int32_t *count);
/* Checksum of the tensor of that index: of its bytes and, for packed ones, the zeros up to the next
 * multiple of 4096. */
uint32_t sluice_container_trunk_crc32c(const sluice_container *container, int32_t tensor);
/* How the source was laid out, e.g. "mlx stacked". */
const char *sluice_container_layout(const sluice_container *container);
/* NULL if absent. */
const sluice_trunk_tensor *sluice_container_tensor(const sluice_container *container,
                                                   const char *name);
/* Layers [0, layers), then those of the MTP head (layer index config->layers + i). */
int32_t sluice_container_expert_layers(const sluice_container *container);
const sluice_expert_file *sluice_container_experts(const sluice_container *container,
                                                   int32_t layer);
/* One expert's weights inside a record that was read to memory. Fills gate, up, down. */
void sluice_record_weights(const sluice_record_layout *layout, const sluice_config *config,
                           const void *record, sluice_weight *gate, sluice_weight *up,
                           sluice_weight *down);

#endif
