/* Making and freeing the expert cache: everything is checked and taken here, nothing later. */
#include <stdlib.h>
#include <string.h>

#include "experts/cache.h"

#define TAG "expert cache"

static sluice_status check_layer(const sluice_experts_layer *layer, int32_t index,
                                 sluice_error *err)
{
    const uint64_t align = SLUICE_IO_ALIGN;
    if (layer->count < 1 || layer->bytes < 1 || layer->bytes > SIZE_MAX / 2)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: layer %d has no expert records", layer->path,
                           index);
    if (layer->offset % align || layer->stride % align || layer->bytes % align ||
        layer->bytes > layer->stride)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: layer %d: expert records must be aligned to %d bytes", layer->path,
                           index, SLUICE_IO_ALIGN);
    uint64_t end;
    if (__builtin_mul_overflow(layer->stride, (uint64_t)layer->count, &end) ||
        __builtin_add_overflow(end, layer->offset, &end) || end > INT64_MAX)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: layer %d: records end past any file",
                           layer->path, index);
    return SLUICE_OK;
}

/* Checks the options, counts the keys, and settles how many slots of which size there are. */
static sluice_status plan(sluice_experts *experts, const sluice_experts_options *options,
                          sluice_error *err)
{
    if (options->n_layers < 1 || options->slots_min < 1)
        return sluice_fail(err, SLUICE_USAGE,
                           "an expert cache needs a layer and at least one slot");
    int64_t keys = 0;
    for (int32_t i = 0; i < options->n_layers; i++) {
        const sluice_experts_layer *layer = &options->layers[i];
        SLUICE_TRY(check_layer(layer, i, err));
        if (layer->bytes > experts->slot_bytes) experts->slot_bytes = (size_t)layer->bytes;
        keys += layer->count;
    }
    if (keys > INT32_MAX / 2)
        return sluice_fail(err, SLUICE_LIMIT, "%lld experts are too many", (long long)keys);
    uint64_t slots = options->cache_bytes / experts->slot_bytes;
    if (slots < (uint64_t)options->slots_min)
        return sluice_fail(err, SLUICE_NO_MEMORY,
                           "an expert cache of %.1f MiB holds %llu experts of %.2f MiB, but one "
                           "step needs %d: at least %.1f MiB",
                           (double)options->cache_bytes / 0x1p20, (unsigned long long)slots,
                           (double)experts->slot_bytes / 0x1p20, options->slots_min,
                           (double)experts->slot_bytes * options->slots_min / 0x1p20);
    /* More slots than experts would never be used, as long as one step's worth remains. */
    if (slots > (uint64_t)keys) slots = (uint64_t)keys;
    experts->n_keys = (int32_t)keys;
    experts->n_slots = (int32_t)slots;
    experts->slots_min = options->slots_min < (int32_t)slots ? options->slots_min : (int32_t)slots;
    experts->n_layers = options->n_layers;
    experts->verify = options->verify;
    experts->budget = options->budget;
    experts->trace = options->trace;
    experts->trace_context = options->trace_context;
    return SLUICE_OK;
}

static sluice_status open_io(sluice_experts *experts, const sluice_experts_options *options,
                             sluice_error *err)
{
    if (options->io_engine) {
        experts->io = options->io_engine;
        experts->depth = options->depth > 0 && options->depth < experts->io->capacity
                             ? options->depth
                             : experts->io->capacity;
        return SLUICE_OK;
    }
    int depth = options->depth;
    if (depth <= 0) {
        /* Enough bytes under way to keep the disk busy: doc/measurements/io.md. */
        uint64_t wanted = SLUICE_EXPERTS_BYTES_IN_FLIGHT / experts->slot_bytes;
        depth = wanted < SLUICE_EXPERTS_DEPTH_MIN   ? SLUICE_EXPERTS_DEPTH_MIN
                : wanted > SLUICE_EXPERTS_DEPTH_MAX ? SLUICE_EXPERTS_DEPTH_MAX
                                                    : (int)wanted;
        depth *= options->layers[0].n_copies + 1;
    }
    uint64_t sweep = SLUICE_EXPERTS_SWEEP_BYTES / experts->slot_bytes;
    int capacity = sweep > SLUICE_EXPERTS_SWEEP_MAX ? SLUICE_EXPERTS_SWEEP_MAX : (int)sweep;
    if (capacity < depth) capacity = depth;
    experts->depth = depth;
    SLUICE_TRY(sluice_io_open(options->io ? options->io : "auto", capacity, options->layers[0].path,
                              &experts->io, err));
    experts->owns_io = true;
    return SLUICE_OK;
}

/* Opens each distinct file once; layers of one file usually follow each other. */
static sluice_status open_source(sluice_experts *experts, int32_t index, const char *path,
                                 sluice_error *err)
{
    sluice_cache_layer *layer = &experts->layers[index];
    if (layer->n_sources > SLUICE_EXPERTS_COPIES_MAX)
        return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d copies of a file", path,
                           SLUICE_EXPERTS_COPIES_MAX);
    sluice_cache_source *source = &layer->sources[layer->n_sources];
    source->path = strdup(path);
    if (!source->path)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tables of the expert cache");
    int32_t home = sluice_homes_of(&experts->homes, source->path);
    layer->homes[layer->n_sources++] = (uint8_t)home;
    if (home < 0)
        return sluice_fail(err, SLUICE_LIMIT, "%s: experts in more than %d folders", path,
                           SLUICE_HOMES_MAX);
    for (int32_t other = index - 1; other >= 0; other--)
        for (int32_t i = 0; i < experts->layers[other].n_sources; i++) {
            if (strcmp(experts->layers[other].sources[i].path, path)) continue;
            source->file = experts->layers[other].sources[i].file;
            return SLUICE_OK;
        }
    return experts->io->add_file(experts->io, path, &source->file, err);
}

static sluice_status open_layer(sluice_experts *experts, const sluice_experts_layer *from,
                                int32_t index, sluice_error *err)
{
    sluice_cache_layer *layer = &experts->layers[index];
    layer->first_key = index ? layer[-1].first_key + layer[-1].count : 0;
    layer->count = from->count;
    layer->offset = from->offset;
    layer->stride = from->stride;
    layer->bytes = (size_t)from->bytes;
    uint32_t *crc32c = NULL;
    if (from->crc32c) {
        size_t bytes = (size_t)from->count * sizeof *crc32c;
        layer->crc32c = crc32c = malloc(bytes);
        if (crc32c) memcpy(crc32c, from->crc32c, bytes);
    }
    if (from->crc32c && !crc32c)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tables of the expert cache");
    SLUICE_TRY(open_source(experts, index, from->path, err));
    for (int32_t i = 0; i < from->n_copies; i++)
        SLUICE_TRY(open_source(experts, index, from->copies[i], err));
    return SLUICE_OK;
}

static sluice_status take_tables(sluice_experts *experts, sluice_error *err)
{
    size_t slots = (size_t)experts->n_slots, keys = (size_t)experts->n_keys;
    size_t capacity = (size_t)experts->io->capacity;
    experts->slots = calloc(slots, sizeof *experts->slots);
    experts->links = calloc(slots, sizeof *experts->links);
    experts->slot_of = malloc(keys * sizeof *experts->slot_of);
    experts->ticket.pending = malloc(keys * sizeof *experts->ticket.pending);
    experts->batch = calloc(capacity, sizeof *experts->batch);
    experts->done = calloc(capacity, sizeof *experts->done);
    if (!experts->slots || !experts->links || !experts->slot_of || !experts->ticket.pending ||
        !experts->batch || !experts->done)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tables of the expert cache");
    experts->unused = experts->returned = experts->ticket.arrived = SLUICE_INDEX_LIST_EMPTY;
    for (int i = 0; i < SLUICE_EXPERTS_PRIORITIES; i++)
        experts->queues[i] = SLUICE_INDEX_LIST_EMPTY;
    for (int32_t i = 0; i < experts->n_slots; i++)
        sluice_index_list_push_back(&experts->unused, experts->links, i);
    for (int32_t i = 0; i < experts->n_keys; i++)
        experts->slot_of[i] = -1;
    return SLUICE_OK;
}

/* Keys of every layer, if all have as many; else policies do not tell layers apart. */
static int32_t layer_keys(const sluice_experts *experts)
{
    for (int32_t i = 1; i < experts->n_layers; i++)
        if (experts->layers[i].count != experts->layers[0].count) return experts->n_keys;
    return experts->layers[0].count;
}

/* The last slots of a small cache would lie in 4 KiB pages, into which a direct read takes twice as
 * long (doc/measurements/io.md): up to half a huge page more is taken, if the budget has it. */
static sluice_status take_memory(sluice_experts *experts, sluice_error *err)
{
    const size_t page = SLUICE_MEMORY_HUGE_PAGE;
    const size_t needed = (size_t)experts->n_slots * experts->slot_bytes, last = needed % page;
    const bool fill = needed > page && last >= page / 2;
    void *memory;
    experts->memory_bytes = fill ? needed - last + page : needed;
    sluice_status status =
        sluice_memory_new(experts->budget, experts->memory_bytes, TAG, &memory, err);
    if (status == SLUICE_NO_MEMORY && fill) {
        experts->memory_bytes = needed;
        status = sluice_memory_new(experts->budget, needed, TAG, &memory, err);
    }
    if (status == SLUICE_OK) experts->memory = memory;
    return status;
}

static sluice_status fill_in(sluice_experts *experts, const sluice_experts_options *options,
                             sluice_error *err)
{
    SLUICE_TRY(plan(experts, options, err));
    experts->layers = calloc((size_t)options->n_layers, sizeof *experts->layers);
    if (!experts->layers)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the tables of the expert cache");
    SLUICE_TRY(open_io(experts, options, err));
    for (int32_t i = 0; i < options->n_layers; i++)
        SLUICE_TRY(open_layer(experts, &options->layers[i], i, err));
    SLUICE_TRY(take_tables(experts, err));
    const sluice_cache_sizes sizes = {experts->n_slots, experts->n_keys, layer_keys(experts)};
    SLUICE_TRY(sluice_cache_policy_new(options->policy, &sizes, &experts->policy, err));
    return take_memory(experts, err);
}

sluice_status sluice_experts_open(const sluice_experts_options *options, sluice_experts **out,
                                  sluice_error *err)
{
    sluice_experts *experts = calloc(1, sizeof *experts);
    if (!experts) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the expert cache");
    sluice_status status = fill_in(experts, options, err);
    if (status != SLUICE_OK) {
        sluice_experts_close(experts);
        return status;
    }
    *out = experts;
    return SLUICE_OK;
}

void sluice_experts_close(sluice_experts *experts)
{
    if (!experts) return;
    /* The disk writes into the slots until the last read has ended. */
    while (experts->in_flight)
        experts->in_flight -= experts->io->wait(experts->io, experts->done, experts->in_flight,
                                                experts->io->capacity);
    if (experts->owns_io) experts->io->free(experts->io);
    if (experts->policy) experts->policy->free(experts->policy);
    sluice_memory_free(experts->budget, experts->memory, experts->memory_bytes, TAG);
    for (int32_t i = 0; experts->layers && i < experts->n_layers; i++) {
        for (int32_t s = 0; s < experts->layers[i].n_sources; s++)
            free((char *)experts->layers[i].sources[s].path);
        free((uint32_t *)experts->layers[i].crc32c);
    }
    free(experts->layers);
    free(experts->slots);
    free(experts->links);
    free(experts->slot_of);
    free(experts->ticket.pending);
    free(experts->batch);
    free(experts->done);
    free(experts);
}
