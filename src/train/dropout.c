/* See dropout.h. */
#include "train/dropout.h"

#include <string.h>

#include "base/rng.h"

sluice_status sluice_dropout_new(sluice_adapter *adapter, sluice_gradients *gradients, float share,
                                 uint64_t seed, sluice_dropout *out, sluice_error *err)
{
    void *kept = NULL;
    if (share > 0.0f)
        SLUICE_TRY(sluice_memory_new(adapter->budget, adapter->bytes, "optimiser", &kept, err));
    *out = (sluice_dropout){adapter, gradients, share, seed, kept};
    return SLUICE_OK;
}

void sluice_dropout_free(sluice_dropout *dropout)
{
    if (dropout->kept)
        sluice_memory_free(dropout->adapter->budget, dropout->kept, dropout->adapter->bytes,
                           "optimiser");
    *dropout = (sluice_dropout){0};
}

/* Multiplies columns of an array like A, [rank, in], by the mask of its matrix in this step. */
static void mask(const sluice_dropout *dropout, const sluice_adapter_entry *entry, int32_t step,
                 float *columns)
{
    const sluice_adapter_key *key = &entry->key;
    const float count = 1.0f / (1.0f - dropout->share);
    const uint64_t place = ((uint64_t)(uint32_t)key->layer << 40) ^ ((uint64_t)key->module << 32) ^
                           (uint64_t)(uint32_t)key->expert;
    uint64_t draw = dropout->seed ^ (place * 0x9e3779b97f4a7c15u);
    draw = sluice_rng_splitmix(&draw) + (uint64_t)(uint32_t)step;
    for (int32_t i = 0; i < entry->in; i++) {
        const float at = (float)(sluice_rng_splitmix(&draw) >> 40) * 0x1p-24f;
        const float factor = at < dropout->share ? 0.0f : count;
        for (int32_t r = 0; r < key->rank; r++)
            columns[(int64_t)r * entry->in + i] *= factor;
    }
}

void sluice_dropout_begin(sluice_dropout *dropout, int32_t step)
{
    const sluice_adapter *adapter = dropout->adapter;
    if (!dropout->kept) return;
    memcpy(dropout->kept, adapter->values, adapter->bytes);
    for (int32_t i = 0; i < adapter->n_entries; i++)
        mask(dropout, &adapter->entries[i], step, adapter->entries[i].a);
}

static sluice_status mask_layer(const sluice_dropout *dropout, int32_t layer, int32_t step,
                                sluice_error *err)
{
    const sluice_adapter *adapter = dropout->adapter;
    if (dropout->gradients) SLUICE_TRY(sluice_gradients_begin(dropout->gradients, layer, err));
    for (int32_t i = 0; i < adapter->n_entries; i++)
        if (adapter->entries[i].key.layer == layer)
            mask(dropout, &adapter->entries[i], step, adapter->entries[i].da);
    return dropout->gradients ? sluice_gradients_end(dropout->gradients, layer, err) : SLUICE_OK;
}

sluice_status sluice_dropout_end(sluice_dropout *dropout, int32_t step, sluice_error *err)
{
    const sluice_adapter *adapter = dropout->adapter;
    if (!dropout->kept) return SLUICE_OK;
    memcpy(adapter->values, dropout->kept, adapter->bytes);
    for (int32_t layer = 0; layer < adapter->layers; layer++)
        SLUICE_TRY(mask_layer(dropout, layer, step, err));
    return SLUICE_OK;
}
