/* See inputs.h. Slots [0, spilled) are on disk, the others in memory: backward goes down. */
#include "train/inputs.h"

#include <stdlib.h>

#include "train/spill.h"

struct sluice_inputs {
    int32_t slots, spilled;
    size_t slot_bytes;
    sluice_budget *budget;
    void *memory; /* slots - spilled of them, and one more for the disk if any is there */
    size_t memory_bytes;
    sluice_spill spill;
};

static size_t slot_bytes(size_t floats)
{
    return sluice_spill_floats(floats) * sizeof(float);
}

/* At least the disk's buffer is memory. */
static int32_t slots_in_memory(int32_t slots, size_t floats, uint64_t memory_bytes)
{
    const uint64_t fit = memory_bytes / slot_bytes(floats);
    if (fit >= (uint64_t)slots) return slots;
    return fit > 1 ? (int32_t)fit - 1 : 0;
}

uint64_t sluice_inputs_bytes(int32_t slots, size_t floats, uint64_t memory_bytes)
{
    const int32_t kept = slots_in_memory(slots, floats, memory_bytes);
    return (uint64_t)(kept + (kept < slots)) * slot_bytes(floats);
}

static sluice_status open_parts(sluice_inputs *inputs, const char *dir, sluice_error *err)
{
    SLUICE_TRY(
        sluice_memory_new(inputs->budget, inputs->memory_bytes, "inputs", &inputs->memory, err));
    if (!inputs->spilled) return SLUICE_OK;
    return sluice_spill_new(dir, "the file of layer inputs",
                            (uint64_t)inputs->spilled * inputs->slot_bytes / sizeof(float),
                            &inputs->spill, err);
}

sluice_status sluice_inputs_new(int32_t slots, size_t floats, uint64_t memory_bytes,
                                const char *dir, sluice_budget *budget, sluice_inputs **out,
                                sluice_error *err)
{
    sluice_inputs *inputs = calloc(1, sizeof *inputs);
    if (!inputs) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the layers' inputs");
    inputs->slots = slots;
    inputs->spilled = slots - slots_in_memory(slots, floats, memory_bytes);
    inputs->slot_bytes = slot_bytes(floats);
    inputs->budget = budget;
    inputs->memory_bytes = (size_t)sluice_inputs_bytes(slots, floats, memory_bytes);
    inputs->spill.file = -1;
    sluice_status status = open_parts(inputs, dir, err);
    if (status != SLUICE_OK) {
        sluice_inputs_free(inputs);
        return status;
    }
    *out = inputs;
    return SLUICE_OK;
}

void sluice_inputs_free(sluice_inputs *inputs)
{
    if (!inputs) return;
    if (inputs->memory)
        sluice_memory_free(inputs->budget, inputs->memory, inputs->memory_bytes, "inputs");
    sluice_spill_free(&inputs->spill);
    free(inputs);
}

int32_t sluice_inputs_spilled(const sluice_inputs *inputs)
{
    return inputs->spilled;
}

/* The disk's buffer is the first slot of the memory. */
static float *place(const sluice_inputs *inputs, int32_t slot)
{
    const int32_t at = slot < inputs->spilled ? 0 : slot - inputs->spilled + (inputs->spilled > 0);
    return (float *)(void *)((char *)inputs->memory + (size_t)at * inputs->slot_bytes);
}

static uint64_t place_on_disk(const sluice_inputs *inputs, int32_t slot)
{
    return (uint64_t)slot * inputs->slot_bytes / sizeof(float);
}

float *sluice_inputs_room(sluice_inputs *inputs, int32_t slot)
{
    return place(inputs, slot);
}

sluice_status sluice_inputs_put(sluice_inputs *inputs, int32_t slot, size_t floats,
                                sluice_error *err)
{
    if (slot >= inputs->spilled) return SLUICE_OK;
    return sluice_spill_write(&inputs->spill, place_on_disk(inputs, slot), floats,
                              place(inputs, slot), err);
}

sluice_status sluice_inputs_get(sluice_inputs *inputs, int32_t slot, size_t floats,
                                const float **rows, sluice_error *err)
{
    *rows = place(inputs, slot);
    if (slot >= inputs->spilled) return SLUICE_OK;
    return sluice_spill_read(&inputs->spill, place_on_disk(inputs, slot), floats,
                             place(inputs, slot), err);
}
