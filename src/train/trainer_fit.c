/* What of a run's state is memory and what is on disk, or that it does not fit (see trainer.h). */
#include <stdio.h>

#include "base/status.h"
#include "train/trainer.h"

/* A useful cache of experts holds this part of a layer, so that reads go on while a mixer runs. */
#define USEFUL_SHARE 4

/* Bytes of memory that training takes beside what it always does. */
typedef struct needs {
    uint64_t left;  /* of --memory, before adapter, pass and cache */
    uint64_t pass;  /* with no layer inputs in memory */
    uint64_t floor; /* the least cache of experts */
    uint64_t useful;
    uint64_t values, layer; /* all of the adapter's floats; those of the layer with most */
    uint64_t routed;        /* of values, those beside routed experts */
} needs;

static uint64_t state_bytes(const sluice_trainer *trainer, const needs *n,
                            sluice_trainer_spill spill)
{
    const bool gradients = spill == SLUICE_TRAINER_SPILL_GRADIENTS;
    const uint64_t count = n->values / sizeof(float);
    return n->values + (gradients ? n->layer : n->values) +
           sluice_adamw_bytes(count, spill != SLUICE_TRAINER_SPILL_NOTHING) +
           (trainer->options.dropout > 0.0f ? n->values : 0);
}

static void weigh_keys(const sluice_trainer *trainer, const sluice_adapter_key *keys, int32_t n,
                       needs *out)
{
    uint64_t layers[SLUICE_LAYERS_MAX] = {0};
    for (int32_t i = 0; i < n; i++) {
        int32_t wide_in, wide_out;
        if (!sluice_adapter_shape(trainer->config, keys[i].layer, keys[i].module, &wide_in,
                                  &wide_out))
            continue;
        const uint64_t bytes =
            (uint64_t)keys[i].rank * ((uint64_t)wide_in + (uint64_t)wide_out) * sizeof(float);
        uint64_t *layer = &layers[keys[i].layer];
        *layer += bytes;
        out->values += bytes;
        if (keys[i].expert >= 0) out->routed += bytes;
        if (*layer > out->layer) out->layer = *layer;
    }
}

static needs needs_of(const sluice_trainer *trainer, const sluice_adapter_key *keys, int32_t n)
{
    const uint64_t left = sluice_trainer_left(trainer);
    const uint64_t lists = (uint64_t)n * SLUICE_TRAINER_ENTRY_BYTES;
    needs out = {.left = left > lists ? left - lists : 0,
                 .floor = sluice_trainer_cache_min(trainer)};
    const sluice_expert_file *file = sluice_container_experts(trainer->container, 0);
    out.pass = sluice_trainer_pass_bytes(trainer);
    out.useful = (uint64_t)file->count / USEFUL_SHARE * file->layout.bytes;
    if (out.useful < out.floor) out.useful = out.floor;
    weigh_keys(trainer, keys, n, &out);
    return out;
}

/* What would fit in place of what does not. */
static void advise(const sluice_trainer *trainer, const needs *n, char *text, size_t size)
{
    const sluice_train_options *o = &trainer->options;
    const uint64_t fixed = n->pass + n->floor + sluice_adamw_bytes(n->values / sizeof(float), true);
    const uint64_t room = n->left > fixed ? n->left - fixed : 0;
    const uint64_t copies = o->dropout > 0.0f ? 2 : 1;
    const uint64_t rank = room * (uint64_t)o->rank / (copies * n->values + n->layer);
    const uint64_t shared = copies * (n->values - n->routed) + n->layer;
    const double share = n->routed && room > shared
                             ? 100.0 * trainer->targets.share * (double)(room - shared) /
                                   (double)(copies * n->routed)
                             : 0.0;
    if (rank >= 1 && share >= 1.0)
        snprintf(text, size, "rank %d would fit, or experts:%d%%", (int)rank, (int)share);
    else if (rank >= 1)
        snprintf(text, size, "rank %d would fit", (int)rank);
    else
        snprintf(text, size, "allow more, or a shorter context");
}

sluice_status sluice_trainer_fit(sluice_trainer *trainer, const sluice_adapter_key *keys, int32_t n,
                                 sluice_error *err)
{
    const needs all = needs_of(trainer, keys, n);
    const sluice_trainer_spill most = SLUICE_TRAINER_SPILL_GRADIENTS;
    int spill = SLUICE_TRAINER_SPILL_NOTHING;
    while (spill < (int)most &&
           state_bytes(trainer, &all, (sluice_trainer_spill)spill) + all.pass + all.useful >
               all.left)
        spill++;
    trainer->spill = (sluice_trainer_spill)spill;
    const uint64_t state = state_bytes(trainer, &all, trainer->spill);
    if (state + all.pass + all.floor <= all.left) return SLUICE_OK;
    char advice[96];
    advise(trainer, &all, advice, sizeof advice);
    return sluice_fail(err, SLUICE_NO_MEMORY,
                       "%.1f MB of memory are not enough to train: trunk and samples take %.1f MB, "
                       "the adapter %.1f MB with its gradients and optimiser on disk, a pass over "
                       "%d tokens %.1f MB, the expert cache at least %.1f MB; %s",
                       (double)trainer->memory / 1e6, (double)(trainer->memory - all.left) / 1e6,
                       (double)state / 1e6, trainer->rows_max, (double)all.pass / 1e6,
                       (double)all.floor / 1e6, advice);
}
