/* Inside of a pass, shared by the pass*.c files and nobody else. */
#ifndef SLUICE_TRAIN_PASS_INSIDE_H
#define SLUICE_TRAIN_PASS_INSIDE_H

#include "model/embedding.h"
#include "train/back.h"
#include "train/inputs.h"
#include "train/pass.h"

/* Rows grouped by the expert that they go to. */
typedef struct sluice_pass_groups {
    int32_t *rows, *slots; /* [R * k]: entry j of row i is slot i * k + j */
    int32_t *begin;        /* [experts + 1]: expert e has [begin[e], begin[e + 1]) of them */
    int32_t *wanted;       /* [experts]: the distinct experts, ascending */
    int32_t distinct;
} sluice_pass_groups;

struct sluice_pass {
    const sluice_model *model;
    sluice_backend *backend;
    sluice_experts *experts;
    sluice_adapter *adapter;
    sluice_gradients *gradients; /* on disk, or NULL */
    int32_t rows_max, segments_max, lowest;
    sluice_back *back;
    sluice_embedding *embedding;
    sluice_inputs *inputs; /* of layers [lowest, layers) */

    sluice_buffer *h, *x, *shared; /* [R, hidden] */
    sluice_buffer *y;              /* [R * k, hidden]: each expert's share of each row */
    sluice_buffer *state;          /* of one layer, all sequences */
    sluice_layer_state *states;    /* [segments_max] */

    void *host; /* one block for the arrays below */
    size_t host_bytes;
    float *top, *mid, *dh; /* [R, hidden]: the last layer's output; a layer's middle; gradient */
    float *zeros;          /* GDN's memory of one sequence, clear */
    float *parts;          /* [k, hidden] */
    float *d_weights;      /* [R * k] */
    int32_t *ids;          /* [layers, R * k], as routed */
    float *weights;        /* [layers, R * k] */
    sluice_pass_groups groups;
    int32_t *all; /* [experts]: 0, 1, 2, ... */
    sluice_pass_result result;
};

static inline const sluice_adapter_entry *sluice_pass_entry(const sluice_pass *pass, int32_t layer,
                                                            sluice_adapter_module module,
                                                            int32_t expert)
{
    return pass->adapter ? sluice_adapter_find(pass->adapter, layer, module, expert) : NULL;
}

static inline int64_t sluice_pass_entries(const sluice_pass *pass)
{
    return (int64_t)pass->rows_max * pass->model->config->top_k;
}

/* pass_moe.c. h += moe(rmsnorm(h)) on the backend; the routes go to the layer's ids and weights. */
sluice_status sluice_pass_moe_forward(sluice_pass *pass, int32_t layer, int32_t n,
                                      sluice_error *err);
/* dh becomes the gradient of mid where `through`; else only the layer's adapters get theirs. */
sluice_status sluice_pass_moe_backward(sluice_pass *pass, int32_t layer, int32_t n, bool through,
                                       sluice_error *err);
/* Begins to read what the backward of a layer will want. */
void sluice_pass_moe_prefetch(sluice_pass *pass, int32_t layer, int32_t n, bool through);

/* Whether the layer's mixer has an adapter; whether gradients must pass its experts. */
bool sluice_pass_mixer_trained(const sluice_pass *pass, int32_t layer);
bool sluice_pass_through(const sluice_pass *pass, int32_t layer);

#endif
