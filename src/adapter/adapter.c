/* The adapter set in memory (see adapter.h). */
#include "adapter/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

#define ROUTED_FIRST SLUICE_ADAPTER_EXPERT_GATE
#define ROUTED_COUNT (SLUICE_ADAPTER_MODULES - ROUTED_FIRST)

static const char *const names[SLUICE_ADAPTER_MODULES] = {
    "self_attn.q_proj",          "self_attn.k_proj",
    "self_attn.v_proj",          "self_attn.o_proj",
    "linear_attn.in_proj_qkv",   "linear_attn.in_proj_z",
    "linear_attn.in_proj_b",     "linear_attn.in_proj_a",
    "linear_attn.out_proj",      "mlp.shared_expert.gate_proj",
    "mlp.shared_expert.up_proj", "mlp.shared_expert.down_proj",
    "mlp.experts.gate_proj",     "mlp.experts.up_proj",
    "mlp.experts.down_proj",
};

const char *sluice_adapter_module_name(sluice_adapter_module module)
{
    return names[module];
}

bool sluice_adapter_shape(const sluice_config *config, int32_t layer, sluice_adapter_module module,
                          int32_t *in, int32_t *out)
{
    const int32_t hidden = config->hidden, q = config->heads * config->head_dim;
    const int32_t kv = config->kv_heads * config->head_dim;
    const int32_t keys = config->gdn_k_heads * config->gdn_k_dim;
    const int32_t values = config->gdn_v_heads * config->gdn_v_dim;
    const int32_t shapes[SLUICE_ADAPTER_MODULES][2] = {
        {hidden, 2 * q},
        {hidden, kv},
        {hidden, kv},
        {q, hidden},
        {hidden, 2 * keys + values},
        {hidden, values},
        {hidden, config->gdn_v_heads},
        {hidden, config->gdn_v_heads},
        {values, hidden},
        {hidden, config->shared_width},
        {hidden, config->shared_width},
        {config->shared_width, hidden},
        {hidden, config->expert_width},
        {hidden, config->expert_width},
        {config->expert_width, hidden},
    };
    if (layer < 0 || layer >= config->layers || (int)module < 0 || module >= SLUICE_ADAPTER_MODULES)
        return false;
    if (module < SLUICE_ADAPTER_GDN_QKV && config->mixer[layer] != SLUICE_MIXER_ATTENTION)
        return false;
    if (module >= SLUICE_ADAPTER_GDN_QKV && module < SLUICE_ADAPTER_SHARED_GATE &&
        config->mixer[layer] != SLUICE_MIXER_GDN)
        return false;
    *in = shapes[module][0];
    *out = shapes[module][1];
    return true;
}

/* Entries of a layer in the index. */
static size_t layer_cells(int32_t experts)
{
    return ROUTED_FIRST + ROUTED_COUNT * (size_t)experts;
}

/* Where a key is in the index, or -1 if it cannot be. */
static int64_t cell_of(int32_t layers, int32_t experts, int32_t layer, sluice_adapter_module module,
                       int32_t expert)
{
    if (layer < 0 || layer >= layers || (int)module < 0 || module >= SLUICE_ADAPTER_MODULES)
        return -1;
    const int64_t first = (int64_t)layer * (int64_t)layer_cells(experts);
    if (module < ROUTED_FIRST) return expert == -1 ? first + module : -1;
    if (expert < 0 || expert >= experts) return -1;
    return first + ROUTED_FIRST + (int64_t)(module - ROUTED_FIRST) * experts + expert;
}

static int compare_keys(const void *a, const void *b)
{
    const sluice_adapter_key *x = &((const sluice_adapter_entry *)a)->key;
    const sluice_adapter_key *y = &((const sluice_adapter_entry *)b)->key;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (x->module != y->module) return x->module < y->module ? -1 : 1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

static sluice_status take_entry(const sluice_config *config, const sluice_adapter_key *key,
                                sluice_adapter_entry *entry, size_t *count, sluice_error *err)
{
    if (cell_of(config->layers, config->experts, key->layer, key->module, key->expert) < 0 ||
        !sluice_adapter_shape(config, key->layer, key->module, &entry->in, &entry->out))
        return sluice_fail(err, SLUICE_USAGE,
                           "an adapter of module %d of layer %d, expert %d: this model has none",
                           (int)key->module, key->layer, key->expert);
    if (key->rank < 1 || key->rank > SLUICE_ADAPTER_RANK_MAX || !isfinite(key->scale))
        return sluice_fail(err, SLUICE_USAGE,
                           "an adapter of layer %d, %s has rank %d and scale %g; ranks are 1 to %d",
                           key->layer, names[key->module], key->rank, (double)key->scale,
                           SLUICE_ADAPTER_RANK_MAX);
    entry->key = *key;
    *count += (size_t)key->rank * ((size_t)entry->in + (size_t)entry->out);
    return SLUICE_OK;
}

/* Entries in order, none twice, and where each is. */
static sluice_status list_entries(sluice_adapter *adapter, const sluice_config *config,
                                  const sluice_adapter_key *keys, int32_t n, sluice_error *err)
{
    const size_t cells = (size_t)config->layers * layer_cells(config->experts);
    adapter->entries = calloc((size_t)n + 1, sizeof *adapter->entries);
    adapter->index = malloc(cells * sizeof *adapter->index);
    if (!adapter->entries || !adapter->index)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to list %d adapters", n);
    memset(adapter->index, 0xff, cells * sizeof *adapter->index);
    adapter->n_entries = n;
    for (int32_t i = 0; i < n; i++)
        SLUICE_TRY(take_entry(config, &keys[i], &adapter->entries[i], &adapter->count, err));
    qsort(adapter->entries, (size_t)n, sizeof *adapter->entries, compare_keys);
    for (int32_t i = 0; i < n; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        const int64_t cell =
            cell_of(adapter->layers, adapter->experts, key->layer, key->module, key->expert);
        if (adapter->index[cell] >= 0)
            return sluice_fail(err, SLUICE_USAGE, "two adapters of layer %d, %s, expert %d",
                               key->layer, names[key->module], key->expert);
        adapter->index[cell] = i;
    }
    return SLUICE_OK;
}

static sluice_status take_values(sluice_adapter *adapter, bool gradients, sluice_error *err)
{
    size_t at = 0;
    adapter->bytes = adapter->count * sizeof(float);
    void *memory = NULL;
    SLUICE_TRY(sluice_memory_new(adapter->budget, adapter->bytes, "adapters", &memory, err));
    adapter->values = memory;
    if (gradients) {
        SLUICE_TRY(sluice_memory_new(adapter->budget, adapter->bytes, "adapters", &memory, err));
        adapter->gradients = memory;
    }
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        sluice_adapter_entry *entry = &adapter->entries[i];
        const size_t a = (size_t)entry->key.rank * (size_t)entry->in;
        entry->a = adapter->values + at;
        entry->b = entry->a + a;
        if (gradients) {
            entry->da = adapter->gradients + at;
            entry->db = entry->da + a;
        }
        entry->term =
            (sluice_low_rank){entry->key.rank, entry->key.scale, entry->a, entry->b, NULL};
        at += a + (size_t)entry->key.rank * (size_t)entry->out;
    }
    return SLUICE_OK;
}

sluice_status sluice_adapter_new(const sluice_config *config, const sluice_adapter_key *keys,
                                 int32_t n, bool gradients, sluice_budget *budget,
                                 sluice_adapter **out, sluice_error *err)
{
    if (n < 1) return sluice_fail(err, SLUICE_USAGE, "an adapter without any matrix");
    sluice_adapter *adapter = calloc(1, sizeof *adapter);
    if (!adapter) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for an adapter");
    adapter->layers = config->layers;
    adapter->experts = config->experts;
    adapter->budget = budget;
    sluice_status status = list_entries(adapter, config, keys, n, err);
    if (status == SLUICE_OK) status = take_values(adapter, gradients, err);
    if (status != SLUICE_OK) {
        sluice_adapter_free(adapter);
        return status;
    }
    *out = adapter;
    return SLUICE_OK;
}

void sluice_adapter_free(sluice_adapter *adapter)
{
    if (!adapter) return;
    if (adapter->values)
        sluice_memory_free(adapter->budget, adapter->values, adapter->bytes, "adapters");
    if (adapter->gradients)
        sluice_memory_free(adapter->budget, adapter->gradients, adapter->bytes, "adapters");
    free(adapter->index);
    free(adapter->entries);
    free(adapter);
}

uint64_t sluice_adapter_bytes(uint64_t count, bool gradients)
{
    return count * sizeof(float) * (gradients ? 2 : 1);
}

sluice_adapter_entry *sluice_adapter_find(const sluice_adapter *adapter, int32_t layer,
                                          sluice_adapter_module module, int32_t expert)
{
    const int64_t cell = cell_of(adapter->layers, adapter->experts, layer, module, expert);
    if (cell < 0 || adapter->index[cell] < 0) return NULL;
    return &adapter->entries[adapter->index[cell]];
}

void sluice_adapter_init(sluice_adapter *adapter, uint64_t seed)
{
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        sluice_adapter_entry *entry = &adapter->entries[i];
        const uint64_t cell = (uint64_t)cell_of(adapter->layers, adapter->experts, entry->key.layer,
                                                entry->key.module, entry->key.expert);
        const size_t a = (size_t)entry->key.rank * (size_t)entry->in;
        const double bound = 1.0 / sqrt((double)entry->in);
        uint64_t mixed = seed;
        sluice_rng rng;
        sluice_rng_seed(&rng, sluice_rng_splitmix(&mixed) ^ (cell + 1) * 0x9e3779b97f4a7c15u);
        for (size_t j = 0; j < a; j++)
            entry->a[j] = (float)((2.0 * sluice_rng_unit(&rng) - 1.0) * bound);
        memset(entry->b, 0, (size_t)entry->key.rank * (size_t)entry->out * sizeof *entry->b);
    }
}
