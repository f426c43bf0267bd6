/* The weights of a model: its trunk in memory, and where its experts are.
 *
 * What: one struct of pointers, a layer at a time, in the form that the backend takes. The trunk
 * (everything but routed experts) is read once into memory charged to a budget; matrices stay
 * packed as in the container, vectors become f32 with the norm's 1 + w and the decay -exp(A_log)
 * worked out. A large untied embedding can stay on disk and be read a row at a time (embedding.h).
 *
 * Weights never change after opening and may be shared by any number of states.
 *
 * What it does not do: run anything, or touch expert records. */
#ifndef SLUICE_MODEL_MODEL_H
#define SLUICE_MODEL_MODEL_H

#include "adapter/adapter.h"
#include "backend/backend.h"
#include "base/memory.h"
#include "format/container.h"

typedef struct sluice_model_layer {
    sluice_mixer mixer; /* says which of the two is filled */
    sluice_attention_weights attention;
    sluice_gdn_weights gdn;
    sluice_router_weights router;
    sluice_shared_weights shared;
    const sluice_record_layout *record; /* of its routed experts; owned by the container */
} sluice_model_layer;

typedef struct sluice_model {
    const sluice_container *container; /* not owned */
    const sluice_config *config;       /* the container's */
    sluice_geometry geometry;
    sluice_model_layer *layers; /* [config->layers] */
    sluice_weight embedding;    /* [vocab, hidden]; data is NULL if it stays on disk */
    uint64_t embedding_offset;  /* of its panels in the trunk file */
    const float *norm;          /* [hidden], final */
    sluice_weight head;         /* [vocab, hidden] */
    uint32_t
        fingerprint; /* of geometry, formats, all checksums, adapters: same model, same number */
    uint32_t fingerprint_bare; /* without adapters */

    sluice_adapter **adapters; /* that are attached, in order; not owned */
    int32_t n_adapters;

    sluice_budget *budget;
    void *matrices, *vectors;
    size_t matrices_bytes, vectors_bytes;
} sluice_model;

typedef struct sluice_model_options {
    bool embedding_on_disk; /* ignored where the head is tied to the embedding */
    sluice_budget *budget;  /* may be NULL */
} sluice_model_options;

/* Bytes that opening charges, from the headers alone. */
sluice_status sluice_model_measure(const sluice_container *container,
                                   const sluice_model_options *options, uint64_t *bytes,
                                   sluice_error *err);

/* The container must outlive the model. A tensor that is missing or has another shape than the
 * config says is SLUICE_CORRUPT and names the tensor. */
sluice_status sluice_model_open(const sluice_container *container,
                                const sluice_model_options *options, sluice_model **out,
                                sluice_error *err);
void sluice_model_close(sluice_model *model);

/* Adds adapters to the model, in this order: matrices of the trunk carry their terms from now on,
 * experts' are found by sluice_model_low_rank. The adapters' terms are linked to each other, so a
 * set serves one model; sets and array must outlive the model or the next call (n = 0 takes all
 * away). The fingerprint becomes that of model, values and scales. */
void sluice_model_attach(sluice_model *model, sluice_adapter **adapters, int32_t n);
/* The terms beside a matrix, or NULL. */
const sluice_low_rank *sluice_model_low_rank(const sluice_model *model, int32_t layer,
                                             sluice_adapter_module module, int32_t expert);
/* Gives an expert's weights their terms. */
void sluice_model_adapt_expert(const sluice_model *model, int32_t layer, int32_t expert,
                               sluice_expert_weights *weights);
/* The most that the ranks of one matrix's terms sum up to (sluice_geometry.low_rank). */
int32_t sluice_model_low_rank_max(sluice_adapter *const *adapters, int32_t n);

/* The sizes of config that the backend takes. */
sluice_geometry sluice_model_geometry(const sluice_config *config);

#endif
