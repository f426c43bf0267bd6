/* Adapters on disk, in the form of Hugging Face's PEFT: a folder with adapter_config.json and
 * adapter_model.safetensors.
 *
 * Names (PEFT 0.19.1 to 0.20, peft/tuners/lora):
 * base_model.model.model.layers.N.MODULE.lora_A.weight, with MODULE as transformers calls it.
 * Routed experts stand in one of two forms:
 *   fused      PEFT's target_parameters on experts.gate_up_proj and experts.down_proj, whose
 *              wrappers nest: experts.base_layer.lora_* is gate_up_proj's, experts.lora_* is
 *              down_proj's. lora_A is [E * r, in], expert e's rows at e * r; lora_B is
 *              [out, r * E], its columns at j * E + e. All experts are in it, zeros where none is
 *              adapted; gate and up become one term of twice the rank, [A_gate; A_up] and B block
 *              diagonal, with rank_pattern and alpha_pattern to say so. It is what PEFT loads, as
 *              ParamWrapper in PEFT's tuners/lora/layer.py has it from 0.19.1 on: before, inputs
 *              and outputs of a fused parameter were exchanged there, which is refused here.
 *   by expert  experts.E.gate_proj.lora_A.weight and so on: only what is adapted, which PEFT
 *              cannot say of a fused parameter. The fused form of a set for the 397B is 17 GB at
 *              rank 8, however few experts of each layer are adapted.
 * Both are read, and experts.gate_up_proj that were trained by others with one A for both.
 *
 * What it does not do: dropout (PEFT refuses it on parameters itself), biases, DoRA, modules to
 * save: an adapter with them is refused. */
#ifndef SLUICE_ADAPTER_PEFT_H
#define SLUICE_ADAPTER_PEFT_H

#include "adapter/adapter.h"

/* Reads an adapter for the model of config, charged to budget; what it adds is multiplied by scale.
 * Experts whose B is zero are left out. SLUICE_BAD_INPUT: it is for another model, naming the
 * tensor that does not fit; SLUICE_UNSUPPORTED: a kind of adapter that sluice does not run. */
sluice_status sluice_peft_read(const char *dir, const sluice_config *config, float scale,
                               sluice_budget *budget, sluice_adapter **out, sluice_error *err);

typedef struct sluice_peft_write_options {
    const char *base; /* base_model_name_or_path */
    bool by_expert;   /* the form of routed experts */
} sluice_peft_write_options;

/* Writes the folder; each file is replaced as a whole, the tensors first. */
sluice_status sluice_peft_write(const sluice_adapter *adapter, const sluice_config *config,
                                const sluice_peft_write_options *options, const char *dir,
                                sluice_error *err);

/* Bytes of the tensors in either form. */
uint64_t sluice_peft_bytes(const sluice_adapter *adapter, bool by_expert);

/* ---- the room's own ---- */

/* What a tensor's name says. */
typedef struct sluice_peft_name {
    int32_t layer;
    sluice_adapter_module module; /* of fused experts EXPERT_GATE, whichever it is */
    int32_t expert;               /* -1 for none, and for fused */
    bool fused, b;                /* b: lora_B */
} sluice_peft_name;
/* False: no adapter of this family has such a tensor. */
bool sluice_peft_name_parse(const char *name, sluice_peft_name *out);

#define SLUICE_PEFT_PATTERNS_MAX 64
typedef struct sluice_peft_config {
    double alpha;
    bool root_rank; /* rslora: scale = alpha / sqrt(rank) */
    int32_t n_patterns;
    struct {
        char suffix[128];
        double alpha;
    } patterns[SLUICE_PEFT_PATTERNS_MAX]; /* of alpha_pattern */
} sluice_peft_config;
sluice_status sluice_peft_config_parse(const char *json, size_t bytes, const char *file,
                                       sluice_peft_config *config, sluice_error *err);
/* target: "layers.3.self_attn.q_proj" */
float sluice_peft_config_scale(const sluice_peft_config *config, const char *target, int32_t rank);

/* adapter_config.json, as a whole. */
sluice_status sluice_peft_config_write(const sluice_adapter *adapter, const sluice_config *config,
                                       const sluice_peft_write_options *options, const char *path,
                                       sluice_error *err);

#endif
