/* A set of low-rank adapters (LoRA) for one model, in memory: what training changes and what the
 * forward pass adds.
 *
 * What: an adapter adds to a matrix W [out, in] a term of low rank, y = W x + scale * B (A x), with
 * A [rank, in] and B [out, rank] (Hu et al. 2021, "LoRA"; scale = alpha / rank). A set has one
 * entry for each adapted matrix of the model, found by (layer, module, expert) in constant time.
 * All values lie in one block, all gradients in another of the same layout, so that the optimiser,
 * the global norm and a checkpoint are one pass over `count` floats.
 *
 * B is kept transposed, [rank, out]: both factors then run along the wide side, and forward and
 * backward are nothing but dot products and multiples added along it:
 *   t = A x,  y += scale * sum_r t[r] b[r, :]
 *   u[r] = scale * dot(b[r, :], dy),  da[r, :] += u[r] x,  db[r, :] += scale * t[r] dy,
 *   dx += sum_r u[r] a[r, :]
 *
 * Threads: reading is free; writing values or gradients is the owner's to order.
 *
 * What it does not do: files (peft.h), choosing what is adapted (train/), or computing (the
 * backend takes entries' terms as a sluice_low_rank beside each matrix). */
#ifndef SLUICE_ADAPTER_ADAPTER_H
#define SLUICE_ADAPTER_ADAPTER_H

#include "base/memory.h"
#include "format/config.h"
#include "quant/low_rank.h"

#define SLUICE_ADAPTER_RANK_MAX 256

/* The matrices of a layer that can be adapted. The last three are a routed expert's and need its
 * number; all others have expert -1. */
typedef enum sluice_adapter_module {
    SLUICE_ADAPTER_ATTN_Q,
    SLUICE_ADAPTER_ATTN_K,
    SLUICE_ADAPTER_ATTN_V,
    SLUICE_ADAPTER_ATTN_O,
    SLUICE_ADAPTER_GDN_QKV,
    SLUICE_ADAPTER_GDN_Z,
    SLUICE_ADAPTER_GDN_B,
    SLUICE_ADAPTER_GDN_A,
    SLUICE_ADAPTER_GDN_OUT,
    SLUICE_ADAPTER_SHARED_GATE,
    SLUICE_ADAPTER_SHARED_UP,
    SLUICE_ADAPTER_SHARED_DOWN,
    SLUICE_ADAPTER_EXPERT_GATE,
    SLUICE_ADAPTER_EXPERT_UP,
    SLUICE_ADAPTER_EXPERT_DOWN,
    SLUICE_ADAPTER_MODULES
} sluice_adapter_module;

/* One matrix to be adapted. */
typedef struct sluice_adapter_key {
    int32_t layer;
    sluice_adapter_module module;
    int32_t expert; /* -1 where the module is not a routed expert's */
    int32_t rank;
    float scale; /* alpha / rank */
} sluice_adapter_key;

typedef struct sluice_adapter_entry {
    sluice_adapter_key key;
    int32_t in, out;
    float *a, *b;         /* [rank, in], [rank, out]; parts of the set's values */
    float *da, *db;       /* the same of the gradients; NULL unless they were taken */
    sluice_low_rank term; /* for the forward pass: a, b, rank, scale */
} sluice_adapter_entry;

typedef struct sluice_adapter {
    int32_t layers, experts;
    int32_t n_entries;
    sluice_adapter_entry *entries; /* by layer, module, expert */
    int32_t *index;                /* of [layers][MODULES' dense table], -1: none */
    size_t count;                  /* floats of all entries */
    float *values;                 /* [count] */
    float *gradients;              /* [count], or NULL */
    size_t bytes;                  /* of each of the two blocks */
    sluice_budget *budget;
    char name[128]; /* for statistics: the last part of its folder's path */
} sluice_adapter;

/* Whether layer's mixer has the module; in and out receive its shape. */
bool sluice_adapter_shape(const sluice_config *config, int32_t layer, sluice_adapter_module module,
                          int32_t *in, int32_t *out);

/* "self_attn.q_proj", "mlp.experts.gate_proj", ...: the module's name below the layer in Hugging
 * Face files, experts without their number. */
const char *sluice_adapter_module_name(sluice_adapter_module module);

/* A set with these entries (any order), all values zero, charged to budget as "adapters".
 * gradients: take room for them too. SLUICE_USAGE: a key that the model does not have, or twice, or
 * a rank that is not between 1 and SLUICE_ADAPTER_RANK_MAX. */
sluice_status sluice_adapter_new(const sluice_config *config, const sluice_adapter_key *keys,
                                 int32_t n, bool gradients, sluice_budget *budget,
                                 sluice_adapter **out, sluice_error *err);
void sluice_adapter_free(sluice_adapter *adapter);

/* Bytes that new charges for a set of `count` floats. */
uint64_t sluice_adapter_bytes(uint64_t count, bool gradients);

/* NULL if it is not adapted (or the layer does not have the module). */
sluice_adapter_entry *sluice_adapter_find(const sluice_adapter *adapter, int32_t layer,
                                          sluice_adapter_module module, int32_t expert);

/* As in the LoRA paper and PEFT: A uniform in +-sqrt(1 / in) (Kaiming-uniform with a = sqrt(5)), B
 * zero. Every entry draws from its own generator, seeded by its key and seed: what one gets does
 * not depend on which others there are. */
void sluice_adapter_init(sluice_adapter *adapter, uint64_t seed);

#endif
