/* Any bytes as config.json. Whatever is accepted must keep the promises of config.h, and the list
 * of tensors that follows from it must be makeable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sluice_config config;
    sluice_error err;
    if (sluice_config_parse((const char *)data, size, "fuzz", &config, &err) != SLUICE_OK) {
        if (!err.detail[0] || strchr(err.detail, '\n')) abort();
        return 0;
    }
    if (config.heads % config.kv_heads || config.gdn_v_heads % config.gdn_k_heads ||
        config.rotary_dim % 2 || config.rotary_dim > config.head_dim ||
        config.top_k > config.experts || !(config.rms_eps > 0))
        abort();
    sluice_catalog_entry *entries = NULL;
    int32_t count = 0;
    if (sluice_catalog_new(&config, &entries, &count, NULL) != SLUICE_OK) return 0;
    for (int32_t i = 0; i < count; i++)
        if (entries[i].rows < 1 || entries[i].cols < 1 || !entries[i].name[0]) abort();
    free(entries);
    return 0;
}
