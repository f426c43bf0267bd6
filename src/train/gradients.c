/* Gradients that are on disk but for one layer's (see gradients.h). */
#include "train/gradients.h"

#include <stdlib.h>
#include <string.h>

static size_t entry_floats(const sluice_adapter_entry *entry)
{
    return (size_t)entry->key.rank * ((size_t)entry->in + (size_t)entry->out);
}

/* Entries, and so values, are in order of layers. Returns the floats of the file. */
static uint64_t find_layers(sluice_gradients *gradients)
{
    const sluice_adapter *adapter = gradients->adapter;
    uint64_t place = 0;
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        const sluice_adapter_entry *entry = &adapter->entries[i];
        sluice_gradients_layer *layer = &gradients->layers[entry->key.layer];
        if (!layer->count) layer->begin = (size_t)(entry->a - adapter->values);
        layer->count += entry_floats(entry);
    }
    for (int32_t i = 0; i < adapter->layers; i++) {
        sluice_gradients_layer *layer = &gradients->layers[i];
        layer->place = place;
        place += sluice_spill_floats(layer->count);
        if (sluice_spill_floats(layer->count) > gradients->window_floats)
            gradients->window_floats = sluice_spill_floats(layer->count);
    }
    return place;
}

static sluice_status take_memory(sluice_gradients *gradients, const char *dir, sluice_error *err)
{
    const sluice_adapter *adapter = gradients->adapter;
    void *window;
    gradients->layers = calloc((size_t)adapter->layers, sizeof *gradients->layers);
    if (!gradients->layers)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a list of layers");
    const uint64_t floats = find_layers(gradients);
    SLUICE_TRY(sluice_memory_new(adapter->budget, gradients->window_floats * sizeof(float),
                                 "adapters", &window, err));
    gradients->window = window;
    return sluice_spill_new(dir, "the file of gradients", floats, &gradients->spill, err);
}

sluice_status sluice_gradients_new(sluice_adapter *adapter, const char *dir, sluice_gradients **out,
                                   sluice_error *err)
{
    sluice_gradients *gradients = calloc(1, sizeof *gradients);
    if (!gradients) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for gradients");
    gradients->adapter = adapter;
    gradients->spill.file = -1;
    const sluice_status status = take_memory(gradients, dir, err);
    if (status != SLUICE_OK) {
        sluice_gradients_free(gradients);
        return status;
    }
    *out = gradients;
    return SLUICE_OK;
}

void sluice_gradients_free(sluice_gradients *gradients)
{
    if (!gradients) return;
    if (gradients->window)
        sluice_memory_free(gradients->adapter->budget, gradients->window,
                           gradients->window_floats * sizeof(float), "adapters");
    sluice_spill_free(&gradients->spill);
    free(gradients->layers);
    free(gradients);
}

/* Where the layer's entries have their gradients: in the window, or nowhere. */
static void point(sluice_gradients *gradients, int32_t number, bool there)
{
    const sluice_adapter *adapter = gradients->adapter;
    const sluice_gradients_layer *layer = &gradients->layers[number];
    for (int32_t i = 0; i < adapter->n_entries; i++) {
        sluice_adapter_entry *entry = &adapter->entries[i];
        if (entry->key.layer != number) continue;
        float *at = gradients->window + ((size_t)(entry->a - adapter->values) - layer->begin);
        entry->da = there ? at : NULL;
        entry->db = there ? at + (entry->b - entry->a) : NULL;
    }
}

sluice_status sluice_gradients_begin(sluice_gradients *gradients, int32_t layer, sluice_error *err)
{
    const sluice_gradients_layer *l = &gradients->layers[layer];
    if (!l->count) return SLUICE_OK;
    if (l->written)
        SLUICE_TRY(
            sluice_spill_read(&gradients->spill, l->place, l->count, gradients->window, err));
    else
        memset(gradients->window, 0, sluice_spill_floats(l->count) * sizeof(float));
    point(gradients, layer, true);
    return SLUICE_OK;
}

sluice_status sluice_gradients_end(sluice_gradients *gradients, int32_t layer, sluice_error *err)
{
    sluice_gradients_layer *l = &gradients->layers[layer];
    if (!l->count) return SLUICE_OK;
    point(gradients, layer, false);
    l->written = true;
    return sluice_spill_write(&gradients->spill, l->place, l->count, gradients->window, err);
}

sluice_status sluice_gradients_read(sluice_gradients *gradients, size_t begin, size_t end,
                                    float *to, sluice_error *err)
{
    for (int32_t i = 0; i < gradients->adapter->layers; i++) {
        const sluice_gradients_layer *l = &gradients->layers[i];
        const size_t from = begin > l->begin ? begin : l->begin;
        const size_t until = end < l->begin + l->count ? end : l->begin + l->count;
        if (from >= until) continue;
        if (!l->written) {
            memset(to + (from - begin), 0, (until - from) * sizeof *to);
            continue;
        }
        const size_t skip = (from - l->begin) % SLUICE_SPILL_BLOCK;
        SLUICE_TRY(sluice_spill_read(&gradients->spill, l->place + (from - l->begin - skip),
                                     until - from + skip, gradients->window, err));
        memcpy(to + (from - begin), gradients->window + skip, (until - from) * sizeof *to);
    }
    return SLUICE_OK;
}

void sluice_gradients_clear(sluice_gradients *gradients)
{
    for (int32_t i = 0; i < gradients->adapter->layers; i++)
        gradients->layers[i].written = false;
}
