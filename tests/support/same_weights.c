/* See same_weights.h. */
#include "support/same_weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/container.h"
#include "support/folders.h"
#include "support/raw_safetensors.h"

typedef struct compare {
    raw_folder source;
    sluice_container *container;
    const sluice_config *config;
} compare;

/* Row `row` of the source's matrix by its canonical name, whatever prefix the source has. */
static int source_row(const compare *with, const char *base, int64_t row, int64_t cols, float *out)
{
    static const char *const prefixes[] = {"", "model.", "model.language_model.",
                                           "language_model.model.", "language_model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefixes[i], base);
        if (raw_folder_row(&with->source, name, row, cols, out)) return 1;
    }
    return 0;
}

/* The largest difference that bits may cost, in a group of the row: half a step for rounding, and
 * as much again because the group's edge is itself rounded; bf16 scales add 2^-8 of the values. */
static float tolerance(const float *row, int32_t cols, int32_t col, int bits)
{
    if (!bits) return 0.0f;
    if (bits == 16) return fabsf(row[col]) * 0x1p-8f;
    int32_t group = cols % 64 ? 32 : 64, first = col / group * group;
    float low = row[first], high = row[first], size = 0;
    for (int32_t c = first; c < first + group; c++) {
        low = fminf(low, row[c]);
        high = fmaxf(high, row[c]);
        size = fmaxf(size, fabsf(row[c]));
    }
    return (high - low) / (float)((1 << bits) - 1) + size * 0x1p-6f;
}

static void compare_row(const char *name, int64_t row, const float *want, const float *got,
                        int32_t cols, int bits)
{
    for (int32_t c = 0; c < cols; c++) {
        bool good = bits ? fabsf(want[c] - got[c]) <= tolerance(want, cols, c, bits)
                         : memcmp(&want[c], &got[c], sizeof *want) == 0;
        if (!good)
            fail_msg("%s[%lld, %d] is %.9g in the source and %.9g in the container", name,
                     (long long)row, c, (double)want[c], (double)got[c]);
    }
}

static void compare_trunk(const compare *with, int bits)
{
    int32_t count = 0;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(with->container, &count);
    char *file = folders_load(sluice_container_trunk_path(with->container), NULL);
    assert_true(count > 0);
    for (int32_t i = 0; i < count; i++) {
        const sluice_trunk_tensor *tensor = &tensors[i];
        size_t elements = (size_t)tensor->cols;
        float *want = calloc(elements, sizeof *want), *got = calloc(elements, sizeof *got);
        void *panels = aligned_alloc(64, (size_t)(tensor->bytes + 63) & ~(size_t)63);
        assert_true(want && got && panels);
        memcpy(panels, file + tensor->offset, (size_t)tensor->bytes);
        char base[128];
        snprintf(base, sizeof base, "%s", tensor->name);
        char *suffix = strstr(base, ".weight");
        if (suffix) *suffix = '\0';
        bool careful = strstr(base, "mlp.gate") || strstr(base, "shared_expert_gate");
        int here = !tensor->packed ? 0 : careful && bits && bits < 8 ? 8 : bits;
        static const char *const dtypes[] = {"F32", "F16", "BF16"};
        for (int32_t row = 0; row < tensor->rows; row++) {
            if (!source_row(with, base, row, tensor->cols, want))
                fail_msg("%s is not in the source", base);
            if (tensor->packed) {
                sluice_weight weight = {tensor->format, tensor->rows, tensor->cols, panels, NULL};
                sluice_weight_unpack_row(&weight, row, got);
            } else {
                for (size_t c = 0; c < elements; c++)
                    got[c] = raw_element(dtypes[tensor->format.kind], panels,
                                         (size_t)row * elements + c);
            }
            compare_row(tensor->name, row, want, got, tensor->cols, here);
        }
        free(want);
        free(got);
        free(panels);
    }
    free(file);
}

/* Row `row` of gate (0), up (1) or down (2) of an expert, in whichever layout the source has. */
static void expert_row(const compare *with, int32_t layer, int32_t expert, int part, int32_t row,
                       float *out)
{
    static const char *const names[3] = {"gate_proj", "up_proj", "down_proj"};
    const sluice_config *config = with->config;
    int64_t rows = part == 2 ? config->hidden : config->expert_width;
    int32_t cols = part == 2 ? config->expert_width : config->hidden;
    char prefix[64], base[160];
    if (layer < config->layers)
        snprintf(prefix, sizeof prefix, "layers.%d.mlp", layer);
    else
        snprintf(prefix, sizeof prefix, "mtp.layers.%d.mlp", layer - config->layers);
    snprintf(base, sizeof base, "%s.switch_mlp.%s", prefix, names[part]);
    if (source_row(with, base, expert * rows + row, cols, out)) return;
    snprintf(base, sizeof base, "%s.experts.%d.%s", prefix, expert, names[part]);
    if (source_row(with, base, row, cols, out)) return;
    snprintf(base, sizeof base, "%s.experts.%s", prefix, names[part]);
    if (part == 2 && source_row(with, base, expert * rows + row, cols, out)) return;
    snprintf(base, sizeof base, "%s.experts.gate_up_proj", prefix);
    if (part < 2 && source_row(with, base, (2 * expert + part) * rows + row, cols, out)) return;
    fail_msg("%s: expert %d has no %s in the source", prefix, expert, names[part]);
}

static void compare_record(const compare *with, int32_t layer, int32_t expert, const void *record,
                           int bits)
{
    sluice_weight part[3];
    sluice_record_weights(&sluice_container_experts(with->container, layer)->layout, with->config,
                          record, &part[0], &part[1], &part[2]);
    for (int p = 0; p < 3; p++) {
        size_t cols = (size_t)part[p].cols;
        float *want = calloc(cols, sizeof *want), *got = calloc(cols, sizeof *got);
        assert_true(want && got);
        char name[64];
        snprintf(name, sizeof name, "layer %d, expert %d, part %d", layer, expert, p);
        for (int32_t row = 0; row < part[p].rows; row++) {
            expert_row(with, layer, expert, p, row, want);
            sluice_weight_unpack_row(&part[p], row, got);
            compare_row(name, row, want, got, part[p].cols, bits);
        }
        free(want);
        free(got);
    }
}

static void compare_experts(const compare *with, int bits)
{
    int32_t layers = sluice_container_expert_layers(with->container);
    assert_int_equal(layers, with->config->layers + with->config->mtp_layers);
    for (int32_t i = 0; i < layers; i++) {
        const sluice_expert_file *file = sluice_container_experts(with->container, i);
        char *data = folders_load(file->path, NULL);
        void *record = aligned_alloc(4096, (size_t)file->layout.bytes);
        assert_non_null(record);
        assert_int_equal(file->offset % 4096, 0);
        assert_int_equal(file->layout.bytes % 4096, 0);
        assert_int_equal(file->count, with->config->experts);
        for (int32_t e = 0; e < file->count; e++) {
            memcpy(record, data + file->offset + (size_t)e * file->layout.bytes,
                   (size_t)file->layout.bytes);
            compare_record(with, i, e, record, bits);
        }
        free(record);
        free(data);
    }
}

void same_weights_assert_near(const char *source, const char *container, int expert_bits,
                              int trunk_bits)
{
    sluice_error err = {0};
    compare with = {.source = raw_folder_load(source)};
    if (sluice_container_open(container, &with.container, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    with.config = sluice_container_config(with.container);
    compare_trunk(&with, trunk_bits);
    compare_experts(&with, expert_bits);
    sluice_container_close(with.container);
    raw_folder_free(&with.source);
}

void same_weights_assert(const char *source, const char *container)
{
    same_weights_assert_near(source, container, 0, 0);
}
