/* Adapters as a change of values in a conversion (see sluice/merge.h). */
#include "sluice/merge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/crc32c.h"
#include "format/convert_change.h"
#include "os/file.h"

typedef struct merger {
    sluice_adapter *sets[SLUICE_ADAPTERS_MAX];
    int32_t n;
} merger;

/* "layers.3.self_attn.q_proj.weight"; false for what no adapter can touch. */
static bool trunk_module(const char *name, int32_t *layer, sluice_adapter_module *module)
{
    int at = 0;
    if (sscanf(name, "layers.%d.%n", layer, &at) != 1 || !at) return false;
    for (int m = 0; m < SLUICE_ADAPTER_EXPERT_GATE; m++) {
        const char *own = sluice_adapter_module_name((sluice_adapter_module)m);
        const size_t length = strlen(own);
        if (strncmp(name + at, own, length) != 0 || strcmp(name + at + length, ".weight") != 0)
            continue;
        *module = (sluice_adapter_module)m;
        return true;
    }
    return false;
}

static const sluice_adapter_entry *entry_of(const sluice_adapter *set,
                                            const sluice_matrix_place *place)
{
    int32_t layer;
    sluice_adapter_module module;
    if (!place->name)
        return sluice_adapter_find(
            set, place->layer, (sluice_adapter_module)(SLUICE_ADAPTER_EXPERT_GATE + place->part),
            place->expert);
    return trunk_module(place->name, &layer, &module) ? sluice_adapter_find(set, layer, module, -1)
                                                      : NULL;
}

static bool changes(const void *context, const sluice_matrix_place *place)
{
    const merger *work = context;
    for (int32_t i = 0; i < work->n; i++)
        if (entry_of(work->sets[i], place)) return true;
    return false;
}

/* Each set's terms in order, each term's ranks in order: as the forward pass adds them. */
static void add_row(const void *context, const sluice_matrix_place *place, int32_t row,
                    float *values)
{
    const merger *work = context;
    for (int32_t i = 0; i < work->n; i++) {
        const sluice_adapter_entry *entry = entry_of(work->sets[i], place);
        if (!entry) continue;
        for (int32_t r = 0; r < entry->key.rank; r++) {
            const float b = entry->key.scale * entry->b[(int64_t)r * entry->out + row];
            const float *a = entry->a + (int64_t)r * entry->in;
            for (int32_t c = 0; c < entry->in; c++)
                values[c] += b * a[c];
        }
    }
}

static void name_change(const merger *work, sluice_convert_change *change)
{
    uint32_t crc = 0;
    for (int32_t i = 0; i < work->n; i++) {
        const sluice_adapter *set = work->sets[i];
        for (int32_t e = 0; e < set->n_entries; e++) {
            const sluice_adapter_key *key = &set->entries[e].key;
            const int32_t place[] = {key->layer, (int32_t)key->module, key->expert, key->rank};
            crc = sluice_crc32c(crc, place, sizeof place);
            crc = sluice_crc32c(crc, &key->scale, sizeof key->scale);
        }
        crc = sluice_crc32c(crc, set->values, set->bytes);
    }
    snprintf(change->id, sizeof change->id, "merge %d %08x", work->n, (unsigned)crc);
}

static sluice_status read_sets(const char *model, const sluice_adapter_choice *adapters, int32_t n,
                               merger *work, sluice_error *err)
{
    sluice_config config;
    char *path = sluice_file_join(model, "config.json");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a path", model);
    sluice_status status = sluice_config_load(path, &config, err);
    free(path);
    for (; work->n < n && status == SLUICE_OK; work->n++) {
        const sluice_adapter_choice *choice = &adapters[work->n];
        if (!isfinite(choice->scale))
            return sluice_fail(err, SLUICE_USAGE, "%s: the adapter's scale is not a number",
                               choice->path);
        SLUICE_TRY(sluice_peft_read(choice->path, &config, choice->scale, NULL,
                                    &work->sets[work->n], err));
    }
    return status;
}

static void count(const merger *work, sluice_merge_plan *plan)
{
    *plan = (sluice_merge_plan){0};
    for (int32_t i = 0; i < work->n; i++) {
        const sluice_adapter *set = work->sets[i];
        plan->adapter_bytes += set->bytes;
        plan->matrices += set->n_entries;
        for (int32_t e = 0; e < set->n_entries; e++)
            plan->experts += set->entries[e].key.module == SLUICE_ADAPTER_EXPERT_DOWN;
    }
}

sluice_status sluice_merge(const char *model, const sluice_adapter_choice *adapters,
                           int32_t n_adapters, const char *out,
                           const sluice_convert_options *options, sluice_merge_plan *plan,
                           sluice_error *err)
{
    merger work = {.n = 0};
    sluice_convert_change change = {.context = &work, .changes = changes, .row = add_row};
    if (n_adapters < 1 || n_adapters > SLUICE_ADAPTERS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d adapters; 1 to %d can be merged together",
                           n_adapters, SLUICE_ADAPTERS_MAX);
    if (options && options->consume)
        return sluice_fail(err, SLUICE_USAGE, "merging consumes no model");
    sluice_status status = read_sets(model, adapters, n_adapters, &work, err);
    if (status == SLUICE_OK) {
        if (plan) count(&work, plan);
        name_change(&work, &change);
        status = sluice_convert_changed(model, out, options, &change, err);
    }
    for (int32_t i = 0; i < work.n; i++)
        sluice_adapter_free(work.sets[i]);
    return status;
}
