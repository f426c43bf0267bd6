/* The expert files of a container as the cache wants them (see expert_layers.h). */
#include "model/expert_layers.h"

#include <stdlib.h>

sluice_status sluice_expert_layers(const sluice_container *container, sluice_experts_layer **out,
                                   sluice_error *err)
{
    const int32_t n = sluice_container_config(container)->layers;
    sluice_experts_layer *layers = calloc((size_t)n, sizeof *layers);
    if (!layers) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to list the expert files");
    for (int32_t i = 0; i < n; i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        layers[i] = (sluice_experts_layer){
            .path = file->path,
            .offset = file->offset,
            .stride = file->layout.bytes,
            .bytes = file->layout.bytes,
            .count = file->count,
            .crc32c = file->crc32c,
            .copies = (const char *const *)file->copies,
            .n_copies = file->n_copies,
        };
    }
    *out = layers;
    return SLUICE_OK;
}
