/* Any bytes as the header of a safetensors file; the first eight say how much data follows it.
 * Whatever is accepted must lie inside the file, in order and without overlap. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const sluice_safetensors *table)
{
    uint64_t at = table->data_offset;
    for (size_t i = 0; i < table->count; i++) {
        const sluice_safetensor *tensor = &table->tensors[i];
        if (tensor->offset != at || tensor->bytes > table->file_bytes - at) abort();
        at += tensor->bytes;
        uint64_t elements = 1;
        for (int32_t d = 0; d < tensor->dims; d++)
            elements *= (uint64_t)tensor->shape[d];
        uint64_t element = sluice_dtype_bytes(tensor->dtype);
        if (element && elements * element != tensor->bytes) abort();
        if (!sluice_safetensors_find(table, tensor->name)) abort();
    }
    if (at != table->file_bytes) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) return 0;
    uint64_t data_bytes = 0;
    for (int i = 5; i >= 0; i--) /* 48 bits are more than any file has */
        data_bytes = data_bytes << 8 | data[i];
    sluice_safetensors table;
    sluice_error err;
    if (sluice_safetensors_parse((const char *)data + 8, size - 8, size + data_bytes, "fuzz",
                                 &table, &err) == SLUICE_OK) {
        check(&table);
        sluice_safetensors_free(&table);
    } else if (!err.detail[0] || memchr(err.detail, '\n', strlen(err.detail))) {
        abort();
    }
    return 0;
}
