/* Any bytes as a line of training data: text whose parts follow each other, or a sentence. */
#include <stdint.h>
#include <stdlib.h>

#include "train/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sluice_sample_text text;
    sluice_error err = {0};
    if (size > 1 << 16) return 0;
    const sluice_status status =
        sluice_sample_text_read((const char *)data, size, "fuzz.jsonl:1", &text, &err);
    if (status != SLUICE_OK) {
        if (status != SLUICE_BAD_INPUT && status != SLUICE_LIMIT) abort();
        return 0;
    }
    size_t at = 0;
    for (size_t i = 0; i < text.n_parts; i++) {
        if (text.parts[i].begin != at || text.parts[i].end <= at) abort();
        at = text.parts[i].end;
    }
    if (at > text.prompt.text.length) abort();
    sluice_sample_text_free(&text);
    return 0;
}
