/* Which tokens end an answer: the family's two by their text, and what generation_config.json adds.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/status.h"
#include "engine/engine.h"
#include "os/file.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)

static void add(int64_t id, int32_t vocab, int32_t *ids, int32_t *count)
{
    if (id < 0 || id >= vocab || *count == SLUICE_STOP_IDS_MAX) return;
    for (int32_t i = 0; i < *count; i++)
        if (ids[i] == id) return;
    ids[(*count)++] = (int32_t)id;
}

/* eos_token_id: a number, a list of numbers, or null. */
static sluice_status add_configured(const char *path, const char *text, size_t bytes, int32_t vocab,
                                    int32_t *ids, int32_t *count, sluice_error *err)
{
    json_error_t json_err;
    json_t *root = json_loadb(text, bytes, 0, &json_err);
    if (!json_is_object(root)) {
        json_decref(root);
        return sluice_fail(err, SLUICE_CORRUPT, "%s: line %d: %s", path, root ? 1 : json_err.line,
                           root ? "not an object" : json_err.text);
    }
    const json_t *eos = json_object_get(root, "eos_token_id");
    if (json_is_integer(eos)) add(json_integer_value(eos), vocab, ids, count);
    for (size_t i = 0; i < json_array_size(eos); i++)
        if (json_is_integer(json_array_get(eos, i)))
            add(json_integer_value(json_array_get(eos, i)), vocab, ids, count);
    json_decref(root);
    return SLUICE_OK;
}

sluice_status sluice_stop_ids_load(const char *dir, const sluice_tokenizer *tokenizer,
                                   int32_t vocab, int32_t *ids, int32_t *count, sluice_error *err)
{
    *count = 0;
    if (tokenizer) {
        add(sluice_tokenizer_find(tokenizer, "<|im_end|>"), vocab, ids, count);
        add(sluice_tokenizer_find(tokenizer, "<|endoftext|>"), vocab, ids, count);
    }
    char *path = sluice_file_join(dir, "generation_config.json"), *text;
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = SLUICE_OK;
    if (sluice_file_exists(path)) {
        size_t bytes;
        status = sluice_file_load(path, CONFIG_BYTES_MAX, &text, &bytes, err);
        if (status == SLUICE_OK) {
            status = add_configured(path, text, bytes, vocab, ids, count, err);
            free(text);
        }
    }
    free(path);
    return status;
}
