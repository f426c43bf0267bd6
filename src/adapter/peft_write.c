/* Writing an adapter as PEFT reads it (see peft.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "format/safetensors_writer.h"
#include "os/file.h"
#include "os/folder.h"

#define PREFIX "base_model.model.model.layers."

/* A tensor to be written: half of an entry, or of all experts' of a layer. */
typedef struct part {
    const sluice_adapter_entry *entry; /* NULL: fused */
    int32_t layer;
    bool b, down;
    char name[128];
    int64_t shape[2];
} part;

typedef struct writer {
    const sluice_adapter *adapter;
    const sluice_config *config;
    int32_t rank; /* of one expert's matrix in the fused form */
    part *parts;
    size_t count;
    sluice_safetensors_entry *entries;
    sluice_safetensors_writer *file;
    float *row;
    uint64_t at;
} writer;

static bool layer_has(const sluice_adapter *adapter, int32_t layer, bool down)
{
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        if (key->layer == layer && key->expert >= 0 &&
            (key->module == SLUICE_ADAPTER_EXPERT_DOWN) == down)
            return true;
    }
    return false;
}

static int32_t expert_rank(const sluice_adapter *adapter)
{
    int32_t rank = 0;
    for (int32_t i = 0; i < adapter->n_entries; i++)
        if (adapter->entries[i].key.expert >= 0 && adapter->entries[i].key.rank > rank)
            rank = adapter->entries[i].key.rank;
    return rank;
}

static void add_entry(writer *out, const sluice_adapter_entry *entry)
{
    const sluice_adapter_key *key = &entry->key;
    const char *name = sluice_adapter_module_name(key->module);
    for (int b = 0; b < 2; b++) {
        part *p = &out->parts[out->count++];
        *p = (part){.entry = entry, .layer = key->layer, .b = b};
        if (key->expert >= 0)
            snprintf(p->name, sizeof p->name, PREFIX "%d.mlp.experts.%d%s.lora_%c.weight",
                     key->layer, key->expert, strrchr(name, '.'), "AB"[b]);
        else
            snprintf(p->name, sizeof p->name, PREFIX "%d.%s.lora_%c.weight", key->layer, name,
                     "AB"[b]);
        p->shape[0] = b ? entry->out : key->rank;
        p->shape[1] = b ? key->rank : entry->in;
    }
}

static void add_fused(writer *out, int32_t layer, bool down)
{
    const sluice_config *c = out->config;
    const int64_t wide = (int64_t)c->experts * out->rank * (down ? 1 : 2);
    for (int b = 0; b < 2; b++) {
        part *p = &out->parts[out->count++];
        *p = (part){.layer = layer, .b = b, .down = down};
        snprintf(p->name, sizeof p->name, PREFIX "%d.mlp.experts.%slora_%c.weight", layer,
                 down ? "" : "base_layer.", "AB"[b]);
        p->shape[0] = b ? (down ? c->hidden : 2 * c->expert_width) : wide;
        p->shape[1] = b ? wide : (down ? c->expert_width : c->hidden);
    }
}

static sluice_status list_parts(writer *out, bool by_expert, sluice_error *err)
{
    const sluice_adapter *adapter = out->adapter;
    const size_t most = 2 * (size_t)adapter->n_entries + 4 * (size_t)adapter->layers;
    out->parts = calloc(most, sizeof *out->parts);
    out->entries = calloc(most, sizeof *out->entries);
    if (!out->parts || !out->entries)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to write an adapter");
    for (int32_t i = 0; i < adapter->n_entries; i++)
        if (by_expert || adapter->entries[i].key.expert < 0) add_entry(out, &adapter->entries[i]);
    for (int32_t layer = 0; !by_expert && layer < adapter->layers; layer++)
        for (int down = 0; down < 2; down++)
            if (layer_has(adapter, layer, down)) add_fused(out, layer, down);
    size_t widest = 1;
    for (size_t i = 0; i < out->count; i++) {
        const part *p = &out->parts[i];
        out->entries[i] =
            (sluice_safetensors_entry){p->name, SLUICE_DTYPE_F32, 2, {p->shape[0], p->shape[1]}};
        if ((size_t)p->shape[1] > widest) widest = (size_t)p->shape[1];
    }
    out->row = malloc(widest * sizeof *out->row);
    return out->row ? SLUICE_OK
                    : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to write an adapter");
}

/* Row `row` of a fused A: expert, then gate's rank and up's. */
static void fused_a_row(const writer *out, const part *p, int64_t row)
{
    const int32_t rank = out->rank, wide = p->down ? rank : 2 * rank;
    const int32_t expert = (int32_t)(row / wide), j = (int32_t)(row % wide);
    const sluice_adapter_module module = p->down    ? SLUICE_ADAPTER_EXPERT_DOWN
                                         : j < rank ? SLUICE_ADAPTER_EXPERT_GATE
                                                    : SLUICE_ADAPTER_EXPERT_UP;
    const sluice_adapter_entry *entry = sluice_adapter_find(out->adapter, p->layer, module, expert);
    if (!entry || j % rank >= entry->key.rank) return;
    memcpy(out->row, entry->a + (int64_t)(j % rank) * entry->in,
           (size_t)entry->in * sizeof *out->row);
}

/* Row `row` of a fused B: an output, its columns at j * E + e. */
static void fused_b_row(const writer *out, const part *p, int64_t row)
{
    const int32_t rank = out->rank, experts = out->config->experts;
    const bool up = !p->down && row >= out->config->expert_width;
    const sluice_adapter_module module = p->down ? SLUICE_ADAPTER_EXPERT_DOWN
                                         : up    ? SLUICE_ADAPTER_EXPERT_UP
                                                 : SLUICE_ADAPTER_EXPERT_GATE;
    const int64_t o = up ? row - out->config->expert_width : row;
    for (int32_t e = 0; e < experts; e++) {
        const sluice_adapter_entry *entry = sluice_adapter_find(out->adapter, p->layer, module, e);
        for (int32_t j = 0; entry && j < entry->key.rank; j++)
            out->row[(int64_t)(up ? rank + j : j) * experts + e] =
                entry->b[j * (int64_t)entry->out + o];
    }
}

static sluice_status put_part(writer *out, const part *p, sluice_error *err)
{
    const size_t bytes = (size_t)p->shape[1] * sizeof *out->row;
    for (int64_t row = 0; row < p->shape[0]; row++, out->at += bytes) {
        memset(out->row, 0, bytes);
        if (!p->entry) {
            (p->b ? fused_b_row : fused_a_row)(out, p, row);
        } else if (!p->b) {
            memcpy(out->row, p->entry->a + row * p->shape[1], bytes);
        } else {
            for (int64_t r = 0; r < p->shape[1]; r++)
                out->row[r] = p->entry->b[r * p->entry->out + row];
        }
        SLUICE_TRY(sluice_safetensors_writer_put(out->file, out->at, out->row, bytes, err));
    }
    return SLUICE_OK;
}

static sluice_status write_tensors(writer *out, const char *path, bool by_expert, sluice_error *err)
{
    const sluice_safetensors_meta meta = {"format", "pt"};
    char *header = NULL;
    size_t bytes = 0;
    SLUICE_TRY(list_parts(out, by_expert, err));
    SLUICE_TRY(sluice_safetensors_header(out->entries, out->count, &meta, 1, &header, &bytes, err));
    uint64_t data = 0;
    for (size_t i = 0; i < out->count; i++)
        data += (uint64_t)(out->parts[i].shape[0] * out->parts[i].shape[1]) * sizeof(float);
    sluice_status status = sluice_safetensors_writer_open(path, bytes, data, &out->file, err);
    for (size_t i = 0; status == SLUICE_OK && i < out->count; i++)
        status = put_part(out, &out->parts[i], err);
    if (status == SLUICE_OK)
        status = sluice_safetensors_writer_finish(out->file, header, bytes, err);
    else
        sluice_safetensors_writer_abandon(out->file);
    free(header);
    return status;
}

sluice_status sluice_peft_write(const sluice_adapter *adapter, const sluice_config *config,
                                const sluice_peft_write_options *options, const char *dir,
                                sluice_error *err)
{
    writer out = {.adapter = adapter, .config = config, .rank = expert_rank(adapter)};
    SLUICE_TRY(sluice_folder_make(dir, err));
    char *tensors = sluice_file_join(dir, "adapter_model.safetensors");
    char *json = sluice_file_join(dir, "adapter_config.json");
    sluice_status status = tensors && json ? write_tensors(&out, tensors, options->by_expert, err)
                                           : sluice_fail(err, SLUICE_NO_MEMORY, "no memory");
    if (status == SLUICE_OK) status = sluice_peft_config_write(adapter, config, options, json, err);
    free(out.parts);
    free(out.entries);
    free(out.row);
    free(tensors);
    free(json);
    return status;
}

uint64_t sluice_peft_bytes(const sluice_adapter *adapter, bool by_expert)
{
    uint64_t count = 0, gate_up = 0, down = 0, rank = (uint64_t)expert_rank(adapter);
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_entry *entry = &adapter->entries[i];
        const uint64_t wide = (uint64_t)entry->in + (uint64_t)entry->out;
        if (by_expert || entry->key.expert < 0)
            count += (uint64_t)entry->key.rank * wide;
        else if (entry->key.module == SLUICE_ADAPTER_EXPERT_DOWN)
            down = wide;
        else
            gate_up = (uint64_t)entry->in + 2 * (uint64_t)entry->out;
    }
    for (int32_t layer = 0; !by_expert && layer < adapter->layers; layer++) {
        if (layer_has(adapter, layer, false))
            count += (uint64_t)adapter->experts * 2 * rank * gate_up;
        if (layer_has(adapter, layer, true)) count += (uint64_t)adapter->experts * rank * down;
    }
    return count * sizeof(float);
}
