/* Any bytes as a PEFT adapter's config and, below it, as the name of a tensor. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *text)
{
    sluice_peft_name name;
    if (!sluice_peft_name_parse(text, &name)) return;
    if (name.layer < 0 || (int)name.module < 0 || name.module >= SLUICE_ADAPTER_MODULES) abort();
    if (name.expert >= 0 && (name.fused || name.module < SLUICE_ADAPTER_EXPERT_GATE)) abort();
}

/* The first line is a name, the rest a config. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    const size_t length = line ? (size_t)(line - data) : 0;
    char *text = calloc(size + 1, 1);
    sluice_peft_config config;
    sluice_error err = {0};
    if (!text) return 0;
    memcpy(text, data, length);
    check_name(text);
    memcpy(text, data + length, size - length);
    text[size - length] = '\0';
    if (sluice_peft_config_parse(text, size - length, "fuzz", &config, &err) == SLUICE_OK) {
        if (config.n_patterns > SLUICE_PEFT_PATTERNS_MAX) abort();
        for (int32_t i = 0; i < config.n_patterns; i++)
            sluice_peft_config_scale(&config, config.patterns[i].suffix, 8);
    } else if (!err.detail[0] || strchr(err.detail, '\n')) {
        abort();
    }
    free(text);
    return 0;
}
