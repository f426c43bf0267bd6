/* See model_files.h. */
#include "format/model_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/json.h"
#include "os/file.h"

#define FILE_BYTES_MAX ((size_t)512 << 20)

/* Everything that text goes through; the first is checked and maybe rewritten. */
static const char *const copied[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "added_tokens.json",
};

static sluice_status no_memory(const char *name, sluice_error *err)
{
    return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to copy it", name);
}

static void drop_quantization(json_t *object)
{
    json_object_del(object, "quantization");
    json_object_del(object, "quantization_config");
}

static sluice_status copy_config(const sluice_source *source, const char *to, bool requantised,
                                 sluice_error *err)
{
    char *path = sluice_file_join(to, "config.json");
    if (!path) return no_memory("config.json", err);
    sluice_status status = SLUICE_OK;
    if (!requantised) {
        status = sluice_file_save(path, source->config_text, source->config_bytes, err);
    } else {
        json_t *root = NULL;
        status = sluice_jansson_parse(source->config_text, source->config_bytes, "config.json",
                                      &root, err);
        if (status == SLUICE_OK) {
            drop_quantization(root);
            drop_quantization(json_object_get(root, "text_config"));
            char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
            status = text ? sluice_file_save(path, text, strlen(text), err)
                          : no_memory("config.json", err);
            free(text);
        }
        json_decref(root);
    }
    free(path);
    return status;
}

static sluice_status copy_file(const char *from_dir, const char *to_dir, const char *name,
                               sluice_error *err)
{
    char *from = sluice_file_join(from_dir, name), *to = sluice_file_join(to_dir, name);
    char *data = NULL;
    size_t bytes = 0;
    sluice_status status = from && to ? SLUICE_OK : no_memory(name, err);
    if (status == SLUICE_OK && sluice_file_exists(from)) {
        status = sluice_file_load(from, FILE_BYTES_MAX, &data, &bytes, err);
        if (status == SLUICE_OK) status = sluice_file_save(to, data, bytes, err);
    }
    free(data);
    free(from);
    free(to);
    return status;
}

sluice_status sluice_model_files_copy(const sluice_source *source, const char *to, bool requantised,
                                      sluice_error *err)
{
    SLUICE_TRY(copy_config(source, to, requantised, err));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        SLUICE_TRY(copy_file(source->files->dir, to, copied[i], err));
    return SLUICE_OK;
}

uint64_t sluice_model_files_bytes(const sluice_source *source)
{
    uint64_t bytes = source->config_bytes;
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        char *path = sluice_file_join(source->files->dir, copied[i]);
        struct stat info;
        if (path && stat(path, &info) == 0) bytes += (uint64_t)info.st_size;
        free(path);
    }
    return bytes;
}
