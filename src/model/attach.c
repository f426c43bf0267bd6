/* Adapters beside a model's weights (see model.h). */
#include "base/crc32c.h"
#include "model/model.h"

/* The matrix of the trunk that an entry adapts; NULL for a routed expert's. */
static sluice_weight *trunk_matrix(sluice_model_layer *layer, sluice_adapter_module module)
{
    switch (module) {
    case SLUICE_ADAPTER_ATTN_Q: return &layer->attention.q;
    case SLUICE_ADAPTER_ATTN_K: return &layer->attention.k;
    case SLUICE_ADAPTER_ATTN_V: return &layer->attention.v;
    case SLUICE_ADAPTER_ATTN_O: return &layer->attention.o;
    case SLUICE_ADAPTER_GDN_QKV: return &layer->gdn.qkv;
    case SLUICE_ADAPTER_GDN_Z: return &layer->gdn.z;
    case SLUICE_ADAPTER_GDN_B: return &layer->gdn.b;
    case SLUICE_ADAPTER_GDN_A: return &layer->gdn.a;
    case SLUICE_ADAPTER_GDN_OUT: return &layer->gdn.out;
    case SLUICE_ADAPTER_SHARED_GATE: return &layer->shared.expert.gate;
    case SLUICE_ADAPTER_SHARED_UP: return &layer->shared.expert.up;
    case SLUICE_ADAPTER_SHARED_DOWN: return &layer->shared.expert.down;
    default: return NULL;
    }
}

/* The first of some sets that has the matrix. */
static sluice_adapter_entry *first_of(sluice_adapter *const *adapters, int32_t n, int32_t layer,
                                      sluice_adapter_module module, int32_t expert)
{
    for (int32_t i = 0; i < n; i++) {
        sluice_adapter_entry *entry = sluice_adapter_find(adapters[i], layer, module, expert);
        if (entry) return entry;
    }
    return NULL;
}

const sluice_low_rank *sluice_model_low_rank(const sluice_model *model, int32_t layer,
                                             sluice_adapter_module module, int32_t expert)
{
    const sluice_adapter_entry *entry =
        first_of(model->adapters, model->n_adapters, layer, module, expert);
    return entry ? &entry->term : NULL;
}

static void detach(sluice_model *model)
{
    for (int32_t l = 0; l < model->config->layers; l++)
        for (int m = 0; m < SLUICE_ADAPTER_MODULES; m++) {
            sluice_weight *matrix = trunk_matrix(&model->layers[l], (sluice_adapter_module)m);
            if (matrix) matrix->low_rank = NULL;
        }
}

static uint32_t mix(uint32_t crc, const sluice_adapter *adapter)
{
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_key *key = &adapter->entries[i].key;
        const int32_t place[] = {key->layer, (int32_t)key->module, key->expert, key->rank};
        crc = sluice_crc32c(crc, place, sizeof place);
        crc = sluice_crc32c(crc, &key->scale, sizeof key->scale);
    }
    return sluice_crc32c(crc, adapter->values, adapter->bytes);
}

void sluice_model_attach(sluice_model *model, sluice_adapter **adapters, int32_t n)
{
    detach(model);
    model->adapters = adapters;
    model->n_adapters = n;
    model->fingerprint = model->fingerprint_bare;
    for (int32_t i = n - 1; i >= 0; i--) {
        for (int32_t j = 0; j < adapters[i]->n_entries; j++) {
            sluice_adapter_entry *entry = &adapters[i]->entries[j];
            const sluice_adapter_key *key = &entry->key;
            const sluice_adapter_entry *next =
                first_of(adapters + i + 1, n - i - 1, key->layer, key->module, key->expert);
            entry->term.next = next ? &next->term : NULL;
            sluice_weight *matrix = trunk_matrix(&model->layers[key->layer], key->module);
            if (matrix) matrix->low_rank = &entry->term;
        }
    }
    for (int32_t i = 0; i < n; i++)
        model->fingerprint = mix(model->fingerprint, adapters[i]);
}

void sluice_model_adapt_expert(const sluice_model *model, int32_t layer, int32_t expert,
                               sluice_expert_weights *weights)
{
    weights->gate.low_rank =
        sluice_model_low_rank(model, layer, SLUICE_ADAPTER_EXPERT_GATE, expert);
    weights->up.low_rank = sluice_model_low_rank(model, layer, SLUICE_ADAPTER_EXPERT_UP, expert);
    weights->down.low_rank =
        sluice_model_low_rank(model, layer, SLUICE_ADAPTER_EXPERT_DOWN, expert);
}

int32_t sluice_model_low_rank_max(sluice_adapter *const *adapters, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t largest = 0;
        for (int32_t j = 0; j < adapters[i]->n_entries; j++)
            if (adapters[i]->entries[j].key.rank > largest)
                largest = adapters[i]->entries[j].key.rank;
        sum += largest;
    }
    return sum;
}
