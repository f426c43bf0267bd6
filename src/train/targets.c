/* Choosing what is adapted (see targets.h). */
#include "train/targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "train/pass_inside.h"

/* "experts" or "experts:15%". */
static bool read_experts(const char *word, size_t length, sluice_targets *targets)
{
    char *end;
    if (length < 7 || strncmp(word, "experts", 7) != 0) return false;
    targets->experts = true;
    targets->share = 1.0;
    if (length == 7) return true;
    if (word[7] != ':') return false;
    const double percent = strtod(word + 8, &end);
    targets->share = percent / 100.0;
    return end > word + 8 && end == word + length - 1 && *end == '%' && percent > 0.0 &&
           percent <= 100.0;
}

sluice_status sluice_targets_parse(const char *text, sluice_targets *targets, sluice_error *err)
{
    *targets = (sluice_targets){0};
    for (const char *word = text;;) {
        const size_t length = strcspn(word, ",");
        if (length == 4 && !strncmp(word, "attn", 4))
            targets->attn = true;
        else if (length == 3 && !strncmp(word, "gdn", 3))
            targets->gdn = true;
        else if (length == 6 && !strncmp(word, "shared", 6))
            targets->shared = true;
        else if (!read_experts(word, length, targets))
            return sluice_fail(err, SLUICE_USAGE,
                               "'%.*s' is not a target: they are attn, gdn, shared, experts, "
                               "experts:N%%",
                               (int)length, word);
        if (!word[length]) return SLUICE_OK;
        word += length + 1;
    }
}

int64_t sluice_targets_experts(const sluice_targets *targets, const sluice_config *config)
{
    const int64_t all = (int64_t)config->layers * config->experts;
    if (!targets->experts) return 0;
    const int64_t n = (int64_t)ceil(targets->share * (double)all - 1e-9);
    return n < 1 ? 1 : n;
}

bool sluice_targets_counts(const sluice_targets *targets)
{
    return targets->experts && targets->share < 1.0;
}

typedef struct used {
    int64_t count, place;
} used;

static int most_used_first(const void *a, const void *b)
{
    const used *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static void add_module(const sluice_config *config, sluice_adapter_key key,
                       sluice_adapter_key *keys, int32_t *n)
{
    int32_t in, out;
    if (sluice_adapter_shape(config, key.layer, key.module, &in, &out)) keys[(*n)++] = key;
}

static void add_trunk(const sluice_targets *targets, const sluice_config *config, int32_t rank,
                      float scale, sluice_adapter_key *keys, int32_t *n)
{
    static const struct {
        sluice_adapter_module first, last;
    } kinds[] = {{SLUICE_ADAPTER_ATTN_Q, SLUICE_ADAPTER_ATTN_O},
                 {SLUICE_ADAPTER_GDN_QKV, SLUICE_ADAPTER_GDN_Z},
                 {SLUICE_ADAPTER_GDN_OUT, SLUICE_ADAPTER_GDN_OUT},
                 {SLUICE_ADAPTER_SHARED_GATE, SLUICE_ADAPTER_SHARED_DOWN}};
    const bool wanted[] = {targets->attn, targets->gdn, targets->gdn, targets->shared};
    for (int kind = 0; kind < 4; kind++)
        for (int32_t layer = 0; wanted[kind] && layer < config->layers; layer++)
            for (int m = (int)kinds[kind].first; m <= (int)kinds[kind].last; m++)
                add_module(config,
                           (sluice_adapter_key){layer, (sluice_adapter_module)m, -1, rank, scale},
                           keys, n);
}

sluice_status sluice_targets_keys(const sluice_targets *targets, const sluice_config *config,
                                  const int64_t *counts, int32_t rank, float alpha,
                                  sluice_adapter_key **keys, int32_t *n, sluice_error *err)
{
    const int64_t all = (int64_t)config->layers * config->experts;
    const int64_t experts = sluice_targets_experts(targets, config);
    const float scale = alpha / (float)rank;
    used *order = calloc((size_t)all + 1, sizeof *order);
    *keys = calloc((size_t)config->layers * SLUICE_ADAPTER_MODULES + 3 * (size_t)experts,
                   sizeof **keys);
    *n = 0;
    if (!order || !*keys) {
        free(order);
        free(*keys);
        *keys = NULL;
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to choose %lld experts",
                           (long long)experts);
    }
    add_trunk(targets, config, rank, scale, *keys, n);
    for (int64_t i = 0; i < all; i++)
        order[i] = (used){counts ? counts[i] : 0, i};
    qsort(order, (size_t)all, sizeof *order, most_used_first);
    for (int64_t i = 0; i < experts; i++)
        for (int m = SLUICE_ADAPTER_EXPERT_GATE; m <= SLUICE_ADAPTER_EXPERT_DOWN; m++)
            (*keys)[(*n)++] = (sluice_adapter_key){
                (int32_t)(order[i].place / config->experts), (sluice_adapter_module)m,
                (int32_t)(order[i].place % config->experts), rank, scale};
    free(order);
    return SLUICE_OK;
}

void sluice_targets_count(const sluice_pass *pass, int32_t rows, int64_t *counts)
{
    const sluice_config *config = pass->model->config;
    const int64_t entries = sluice_pass_entries(pass);
    for (int32_t layer = 0; layer < config->layers; layer++)
        for (int64_t i = 0; i < (int64_t)rows * config->top_k; i++)
            counts[(int64_t)layer * config->experts + pass->ids[layer * entries + i]]++;
}
