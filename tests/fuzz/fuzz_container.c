/* Any bytes as the header of a container's file, for a model of one layer. The first byte says
 * which file; the next four say how much data follows the header, in pieces of 16 bytes. Whatever
 * is accepted must lie where reading it is safe. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/container_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sluice_config one_layer(void)
{
    return (sluice_config){
        .layers = 1,
        .hidden = 32,
        .vocab = 4,
        .mixer = {SLUICE_MIXER_ATTENTION},
        .rms_eps = 1e-6f,
        .heads = 2,
        .kv_heads = 1,
        .head_dim = 4,
        .rotary_dim = 2,
        .rope_theta = 1e4,
        .gdn_k_heads = 1,
        .gdn_v_heads = 1,
        .gdn_k_dim = 4,
        .gdn_v_dim = 4,
        .conv_width = 4,
        .experts = 2,
        .top_k = 1,
        .expert_width = 32,
        .shared_width = 32,
        .context_max = 64,
    };
}

static void check_trunk(const sluice_safetensors *table)
{
    sluice_config config = one_layer();
    sluice_trunk_meta meta;
    sluice_error err;
    if (sluice_trunk_meta_parse(table, "fuzz", &config, &meta, &err) != SLUICE_OK) return;
    for (int32_t i = 0; i < meta.count; i++) {
        const sluice_trunk_tensor *tensor = &meta.tensors[i];
        if (tensor->offset + sluice_trunk_file_bytes(tensor) > table->file_bytes) abort();
        if (tensor->packed && tensor->offset % 4096) abort();
    }
    sluice_trunk_meta_free(&meta);
}

static void check_experts(const sluice_safetensors *table)
{
    sluice_config config = one_layer();
    sluice_expert_file file;
    sluice_error err;
    char fingerprint[SLUICE_FINGERPRINT_BYTES];
    if (sluice_expert_meta_parse(table, "fuzz", &config, 0, &file, fingerprint, &err) != SLUICE_OK)
        return;
    uint64_t end = file.offset + file.layout.bytes * (uint64_t)file.count;
    if (end > table->file_bytes || file.offset % 4096 || file.layout.bytes % 4096) abort();
    sluice_weight part[3];
    static const char record[1 << 16];
    sluice_record_weights(&file.layout, &config, record, &part[0], &part[1], &part[2]);
    const uint64_t offset[3] = {file.layout.gate_offset, file.layout.up_offset,
                                file.layout.down_offset};
    for (int i = 0; i < 3; i++)
        if (offset[i] % 64 ||
            offset[i] + sluice_weight_bytes(part[i].format, part[i].rows, part[i].cols) >
                file.layout.bytes)
            abort();
    free(file.crc32c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5) return 0;
    uint64_t pieces = (uint64_t)data[1] | (uint64_t)data[2] << 8 | (uint64_t)data[3] << 16 |
                      (uint64_t)data[4] << 24;
    sluice_safetensors table;
    if (sluice_safetensors_parse((const char *)data + 5, size - 5, size + 3 + pieces * 16, "fuzz",
                                 &table, NULL) != SLUICE_OK)
        return 0;
    if (data[0] % 2)
        check_experts(&table);
    else
        check_trunk(&table);
    sluice_safetensors_free(&table);
    return 0;
}
