/* Guessing the next layer's experts (see lookahead.h). */
#include "model/lookahead.h"

#include <stdlib.h>
#include <string.h>

struct sluice_lookahead {
    const sluice_model *model;
    sluice_backend *backend;
    sluice_experts *experts;
    int32_t guesses; /* of a row */
    int32_t layer;   /* that the marks are for, -1 for none */
    sluice_lookahead_stats stats;

    sluice_buffer *x; /* [SLUICE_LOOKAHEAD_ROWS, hidden], the router's normed rows */
    sluice_buffer *h; /* [SLUICE_LOOKAHEAD_ROWS, hidden], a state that is not whole yet */
    void *host;       /* one block for the arrays below */
    size_t host_bytes;
    float *probs;         /* [SLUICE_LOOKAHEAD_ROWS * guesses] */
    float *weights;       /* [SLUICE_LOOKAHEAD_ROWS * top_k] */
    int32_t *ids, *order; /* [SLUICE_LOOKAHEAD_ROWS * guesses] */
    uint8_t *marked;      /* [experts]: guessed for the layer */
    int32_t *all;         /* [experts]: 0, 1, 2, ... */
};

static size_t entries_of(int32_t guesses)
{
    return (size_t)SLUICE_LOOKAHEAD_ROWS * (size_t)guesses;
}

static size_t x_bytes(const sluice_config *config)
{
    return (size_t)SLUICE_LOOKAHEAD_ROWS * (size_t)config->hidden * sizeof(float);
}

static size_t host_bytes(const sluice_config *config, int32_t guesses)
{
    return entries_of(guesses) * (sizeof(float) + 2 * sizeof(int32_t)) +
           entries_of(config->top_k) * sizeof(float) +
           (size_t)config->experts * (sizeof(int32_t) + 1);
}

static int32_t cut(const sluice_config *config, int32_t guesses)
{
    return guesses < config->experts ? guesses : config->experts;
}

uint64_t sluice_lookahead_scratch_bytes(const sluice_config *config, int32_t guesses)
{
    return 2 * x_bytes(config) + host_bytes(config, cut(config, guesses));
}

static sluice_status take_scratch(sluice_lookahead *self, sluice_error *err)
{
    const sluice_config *config = self->model->config;
    size_t entries = entries_of(self->guesses);
    SLUICE_TRY(self->backend->buffer_new(self->backend, x_bytes(config), "scratch", &self->x, err));
    SLUICE_TRY(self->backend->buffer_new(self->backend, x_bytes(config), "scratch", &self->h, err));
    self->host_bytes = host_bytes(config, self->guesses);
    SLUICE_TRY(
        sluice_memory_new(self->model->budget, self->host_bytes, "scratch", &self->host, err));
    self->probs = self->host;
    self->weights = self->probs + entries;
    self->ids = (int32_t *)(void *)(self->weights + entries_of(config->top_k));
    self->order = self->ids + entries;
    self->all = self->order + entries;
    self->marked = (uint8_t *)(self->all + config->experts);
    for (int32_t i = 0; i < config->experts; i++)
        self->all[i] = i;
    return SLUICE_OK;
}

sluice_status sluice_lookahead_new(const sluice_model *model, sluice_backend *backend,
                                   sluice_experts *experts, int32_t guesses, sluice_lookahead **out,
                                   sluice_error *err)
{
    sluice_lookahead *self = calloc(1, sizeof *self);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the lookahead");
    self->model = model;
    self->backend = backend;
    self->experts = experts;
    self->guesses = cut(model->config, guesses);
    self->layer = -1;
    sluice_status status = take_scratch(self, err);
    if (status != SLUICE_OK) {
        sluice_lookahead_free(self);
        return status;
    }
    *out = self;
    return SLUICE_OK;
}

void sluice_lookahead_free(sluice_lookahead *self)
{
    if (!self) return;
    if (self->x) self->backend->buffer_free(self->backend, self->x);
    if (self->h) self->backend->buffer_free(self->backend, self->h);
    if (self->host)
        sluice_memory_free(self->model->budget, self->host, self->host_bytes, "scratch");
    free(self);
}

/* The distinct guesses into order, every row's best before any row's second. */
static int32_t put_in_order(sluice_lookahead *self, int32_t n, int32_t k)
{
    int32_t distinct = 0;
    memset(self->marked, 0, (size_t)self->model->config->experts);
    for (int32_t rank = 0; rank < self->guesses && rank < k; rank++)
        for (int32_t row = 0; row < n; row++) {
            int32_t id = self->ids[row * self->guesses + rank];
            if (self->marked[id]) continue;
            self->marked[id] = 1;
            self->order[distinct++] = id;
        }
    return distinct;
}

void sluice_lookahead_guess(sluice_lookahead *self, int32_t layer, int32_t n, int32_t k,
                            const sluice_buffer *h)
{
    sluice_backend *be = self->backend;
    if (sluice_experts_calm(self->experts, layer)) return;
    be->router(be, &self->model->layers[layer].router, n, self->guesses, h, self->x, self->ids,
               self->probs, NULL);
    int32_t distinct = put_in_order(self, n, k);
    self->layer = layer;
    self->stats.guessed += (uint64_t)distinct;
    sluice_experts_request(self->experts, layer, self->order, distinct, SLUICE_EXPERTS_LOOKAHEAD);
}

void sluice_lookahead_guess_early(sluice_lookahead *self, int32_t layer, int32_t n, int32_t k,
                                  const sluice_lookahead_sum *sum, const sluice_buffer *h)
{
    sluice_backend *be = self->backend;
    size_t bytes = (size_t)n * (size_t)self->model->config->hidden * sizeof(float);
    if (sluice_experts_calm(self->experts, layer)) return;
    for (int32_t i = 0; i < n * sum->top_k; i++)
        self->weights[i] = sum->ids[i] == sum->missing ? 0.0f : sum->weights[i];
    be->buffer_copy(be, self->h, 0, h, 0, bytes);
    be->combine(be, n, sum->top_k, self->weights, sum->y, sum->shared, self->h);
    sluice_lookahead_guess(self, layer, n, k, self->h);
}

void sluice_lookahead_sweep(sluice_lookahead *self, int32_t layer, int32_t distinct)
{
    int32_t experts = self->model->config->experts;
    if (2 * distinct < experts) return;
    sluice_experts_request(self->experts, layer, self->all, experts, SLUICE_EXPERTS_SWEEP);
}

void sluice_lookahead_compare(sluice_lookahead *self, int32_t layer, const int32_t *ids, int32_t n)
{
    if (self->layer != layer) return;
    self->layer = -1;
    self->stats.wanted += (uint64_t)n;
    for (int32_t i = 0; i < n; i++)
        self->stats.right += self->marked[ids[i]];
}

sluice_lookahead_stats sluice_lookahead_stats_get(const sluice_lookahead *self)
{
    return self->stats;
}
