/* Small random models in every layout that users have, written without the library under test. */
#ifndef SLUICE_TESTS_SUPPORT_RANDOM_SOURCE_H
#define SLUICE_TESTS_SUPPORT_RANDOM_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum random_layout { RANDOM_STACKED, RANDOM_FUSED, RANDOM_SPLIT } random_layout;

typedef struct random_source {
    int bits, group;   /* of the affine matrices; bits 0: plain ones */
    const char *dtype; /* of plain matrices, or of scales and biases: "BF16", "F16", "F32" */
    random_layout layout;
    bool mlx;    /* names, conv1d and norms as MLX saves them */
    bool tied;   /* no lm_head */
    bool vision; /* one shard more, with tensors of a vision tower */
    int shards;  /* 1: model.safetensors without index */
    int mtp_layers;
    uint64_t seed;
} random_source;

/* Writes config.json, tokenizer.json (not a real one) and the tensors into an existing folder. */
void random_source_write(const random_source *source, const char *dir);

#endif
