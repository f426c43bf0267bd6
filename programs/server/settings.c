/* Settings that change answers; see settings.h. */
#include "server/settings.h"

#include <stdlib.h>
#include <string.h>

#include "model_flags.h"
#include "server/hash.h"
#include "sluice/snapshot.h"

json_t *server_settings_json(const server *s)
{
    const sluice_model_info *info = s->info;
    return json_pack("{s:i, s:i, s:s, s:s, s:s}", "k", info->k, "k_of_the_model", info->top_k,
                     "activations", s->model->int8 ? "int8" : "f32", "lossy", info->lossy,
                     "adapters", info->adapters);
}

uint32_t server_identity(const server *s)
{
    json_t *settings = server_settings_json(s);
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    uint32_t model = sluice_engine_fingerprint(s->engine);
    uint64_t hash = server_hash(SERVER_HASH_START, &model, sizeof model);
    if (text) hash = server_hash(hash, text, strlen(text));
    free(text);
    json_decref(settings);
    return (uint32_t)(hash ^ hash >> 32);
}
