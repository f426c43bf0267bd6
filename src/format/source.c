/* The table of source formats, and what is common to all; see source.h. */
#include "format/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

static const sluice_source_kind *const kinds[] = {
    &sluice_source_hf,
    &sluice_source_container,
};

static sluice_status load_config(const char *dir, sluice_source *source, sluice_error *err)
{
    char *path = sluice_file_join(dir, "config.json");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to open it", dir);
    sluice_status status =
        sluice_file_load(path, CONFIG_BYTES_MAX, &source->config_text, &source->config_bytes, err);
    if (status == SLUICE_OK)
        status = sluice_config_parse(source->config_text, source->config_bytes, path,
                                     &source->config, err);
    free(path);
    return status;
}

sluice_status sluice_source_open(const char *dir, const char *headers_dir, sluice_source **out,
                                 sluice_error *err)
{
    if (!sluice_file_is_dir(dir))
        return sluice_fail(err, SLUICE_NOT_FOUND, "%s: no such folder", dir);
    const sluice_source_kind *kind = kinds[0]; /* says what is missing where nothing is found */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i]->probe(dir)) kind = kinds[i];
    sluice_source *source = calloc(1, sizeof *source);
    if (!source) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to open it", dir);
    sluice_status status = load_config(dir, source, err);
    if (status == SLUICE_OK) status = kind->open(dir, headers_dir, source, err);
    if (status == SLUICE_OK)
        *out = source;
    else
        sluice_source_close(source);
    return status;
}

/* FNV-1a. */
static uint64_t hash(uint64_t state, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        state = (state ^ at[i]) * UINT64_C(0x100000001b3);
    return state;
}

void sluice_source_print(sluice_source *source)
{
    uint64_t state = hash(UINT64_C(0xcbf29ce484222325), source->config_text, source->config_bytes);
    for (int32_t i = 0; i < source->files->shard_count; i++) {
        const sluice_shard *shard = &source->files->shards[i];
        state = hash(state, shard->name, strlen(shard->name) + 1);
        state = hash(state, &shard->bytes, sizeof shard->bytes);
        state = hash(state, shard->header, shard->header_bytes);
    }
    snprintf(source->fingerprint, sizeof source->fingerprint, "%016llx", (unsigned long long)state);
}

void sluice_source_close(sluice_source *source)
{
    if (!source) return;
    sluice_checkpoint_close(source->files);
    free(source->config_text);
    free(source->catalog);
    free(source->trunk);
    free(source->experts);
    free(source->holds_left_out);
    free(source);
}
