/* Names of the tensors in a PEFT adapter (see peft.h). */
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"

static bool skip(const char **at, const char *prefix)
{
    const size_t length = strlen(prefix);
    if (strncmp(*at, prefix, length) != 0) return false;
    *at += length;
    return true;
}

/* Digits, no sign, at most six of them. */
static bool number(const char **at, int32_t *value)
{
    int digits = 0;
    for (*value = 0; **at >= '0' && **at <= '9' && digits < 7; digits++)
        *value = *value * 10 + (*(*at)++ - '0');
    return digits > 0 && digits < 7;
}

static bool half(const char *at, bool *b)
{
    if (skip(&at, ".lora_A"))
        *b = false;
    else if (skip(&at, ".lora_B"))
        *b = true;
    else
        return false;
    skip(&at, ".default");
    return strcmp(at, ".weight") == 0;
}

static bool expert(const char *at, sluice_peft_name *out)
{
    static const char *const parts[] = {".gate_proj", ".up_proj", ".down_proj"};
    if (*at == '.' && at[1] >= '0' && at[1] <= '9') {
        at++;
        if (!number(&at, &out->expert)) return false;
        for (int i = 0; i < 3; i++) {
            const char *rest = at;
            if (!skip(&rest, parts[i])) continue;
            out->module = (sluice_adapter_module)(SLUICE_ADAPTER_EXPERT_GATE + i);
            return half(rest, &out->b);
        }
        return false;
    }
    skip(&at, ".base_layer");
    out->fused = true;
    out->module = SLUICE_ADAPTER_EXPERT_GATE;
    return half(at, &out->b);
}

bool sluice_peft_name_parse(const char *name, sluice_peft_name *out)
{
    *out = (sluice_peft_name){.expert = -1};
    skip(&name, "base_model.model.");
    skip(&name, "model.");
    skip(&name, "language_model.");
    skip(&name, "model.");
    if (!skip(&name, "layers.") || !number(&name, &out->layer) || !skip(&name, ".")) return false;
    if (skip(&name, "mlp.experts")) return expert(name, out);
    for (int m = 0; m < SLUICE_ADAPTER_EXPERT_GATE; m++) {
        const char *rest = name;
        if (!skip(&rest, sluice_adapter_module_name((sluice_adapter_module)m))) continue;
        out->module = (sluice_adapter_module)m;
        if (half(rest, &out->b)) return true;
    }
    return false;
}
