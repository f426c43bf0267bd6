/* sluice_inspect: what a model is and what it will cost, from headers alone. A source is described
 * as the container that it would become. */
#include "sluice/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/convert_plan.h"
#include "format/json.h"
#include "os/file.h"

/* Bytes per weight format, in order of first appearance. */
typedef struct tally {
    struct {
        char name[24];
        uint64_t weights, bytes;
    } formats[16];
    int count;
} tally;

static void count_format(tally *to, sluice_weight_format format, uint64_t weights, uint64_t bytes)
{
    char name[24];
    sluice_weight_format_name(format, name);
    int i = 0;
    while (i < to->count && strcmp(to->formats[i].name, name) != 0)
        i++;
    if (i == 16) return;
    if (i == to->count) memcpy(to->formats[to->count++].name, name, sizeof name);
    to->formats[i].weights += weights;
    to->formats[i].bytes += bytes;
}

/* "q4/64/bf16", or "q4/64/bf16 97%, q8/64/bf16 3%" by weights. */
static void print_formats(const tally *from, char *text, size_t bytes)
{
    uint64_t all = 0;
    size_t at = 0;
    for (int i = 0; i < from->count; i++)
        all += from->formats[i].weights;
    text[0] = '\0';
    for (int i = 0; i < from->count && at < bytes; i++) {
        int n = from->count == 1 ? snprintf(text, bytes, "%s", from->formats[i].name)
                                 : snprintf(text + at, bytes - at, "%s%s %.3g%%", i ? ", " : "",
                                            from->formats[i].name,
                                            100.0 * (double)from->formats[i].weights / (double)all);
        at += n > 0 ? (size_t)n : 0;
    }
}

static void describe_config(const sluice_config *config, sluice_inspection *to)
{
    to->layers = config->layers;
    for (int32_t i = 0; i < config->layers; i++)
        if (config->mixer[i] == SLUICE_MIXER_ATTENTION) to->attention_layers++;
    to->gdn_layers = config->layers - to->attention_layers;
    to->mtp_layers = config->mtp_layers;
    to->hidden = config->hidden;
    to->vocab = config->vocab;
    to->experts = config->experts;
    to->top_k = config->top_k;
    to->expert_width = config->expert_width;
    to->shared_width = config->shared_width;
    to->heads = config->heads;
    to->kv_heads = config->kv_heads;
    to->head_dim = config->head_dim;
    to->rotary_dim = config->rotary_dim;
    to->gdn_k_heads = config->gdn_k_heads;
    to->gdn_v_heads = config->gdn_v_heads;
    to->gdn_k_dim = config->gdn_k_dim;
    to->gdn_v_dim = config->gdn_v_dim;
    to->conv_width = config->conv_width;
    to->context_max = config->context_max;
    to->tied = config->tied;

    uint64_t kv = 2 * (uint64_t)config->kv_heads * (uint64_t)config->head_dim * sizeof(float);
    uint64_t keys = (uint64_t)config->gdn_k_heads * (uint64_t)config->gdn_k_dim;
    uint64_t values = (uint64_t)config->gdn_v_heads * (uint64_t)config->gdn_v_dim;
    uint64_t state = values * (uint64_t)config->gdn_k_dim;
    uint64_t window = (2 * keys + values) * (uint64_t)(config->conv_width - 1);
    to->kv_bytes_per_token = kv * (uint64_t)to->attention_layers;
    to->state_bytes = (state + window) * sizeof(float) * (uint64_t)to->gdn_layers;
}

static void describe_trunk(const sluice_trunk_tensor *tensors, int32_t count, sluice_inspection *to)
{
    tally formats = {0};
    for (int32_t i = 0; i < count; i++) {
        uint64_t weights = (uint64_t)tensors[i].rows * (uint64_t)tensors[i].cols;
        to->weights += weights;
        to->trunk_bytes += sluice_trunk_file_bytes(&tensors[i]);
        if (tensors[i].packed) count_format(&formats, tensors[i].format, weights, tensors[i].bytes);
    }
    print_formats(&formats, to->trunk_formats, sizeof to->trunk_formats);
}

static void describe_record(const sluice_record_layout *record, const sluice_config *config,
                            int32_t layer, tally *formats, sluice_inspection *to)
{
    uint64_t experts = (uint64_t)config->experts;
    uint64_t weights = (uint64_t)config->hidden * (uint64_t)config->expert_width * experts;
    to->weights += 3 * weights;
    to->expert_bytes += record->bytes * experts;
    if (to->record_bytes < record->bytes) to->record_bytes = record->bytes;
    count_format(formats, record->gate, weights, 0);
    count_format(formats, record->up, weights, 0);
    count_format(formats, record->down, weights, 0);
    for (int32_t k = 1; layer < config->layers && k <= config->top_k; k++)
        to->token_bytes[k] += (uint64_t)k * record->bytes;
}

static sluice_status inspect_container(const char *dir, sluice_inspection *to, sluice_error *err)
{
    sluice_container *container = NULL;
    SLUICE_TRY(sluice_container_open(dir, &container, err));
    const sluice_config *config = sluice_container_config(container);
    int32_t count = 0;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(container, &count);
    tally formats = {0};
    to->kind = SLUICE_MODEL_CONTAINER;
    snprintf(to->layout, sizeof to->layout, "container");
    describe_config(config, to);
    describe_trunk(tensors, count, to);
    for (int32_t i = 0; i < sluice_container_expert_layers(container); i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        describe_record(&file->layout, config, i, &formats, to);
        to->file_bytes += file->offset + file->layout.bytes * (uint64_t)file->count;
    }
    print_formats(&formats, to->expert_formats, sizeof to->expert_formats);
    int fd = -1;
    uint64_t bytes = 0;
    sluice_status status =
        sluice_file_open(sluice_container_trunk_path(container), &fd, &bytes, err);
    sluice_file_close(fd);
    to->file_bytes += bytes;
    sluice_container_close(container);
    return status;
}

static sluice_status inspect_source(const char *dir, sluice_inspection *to, sluice_error *err)
{
    sluice_source *source = NULL;
    sluice_plan *plan = NULL;
    SLUICE_TRY(sluice_source_open(dir, NULL, &source, err));
    SLUICE_TRY(sluice_plan_new(source, NULL, NULL, &plan, err));
    tally formats = {0};
    to->kind = SLUICE_MODEL_SOURCE;
    snprintf(to->layout, sizeof to->layout, "%s", source->layout);
    to->tensors_left_out = source->left_out;
    describe_config(&source->config, to);
    describe_trunk(plan->trunk, source->trunk_count, to);
    for (int32_t i = 0; i < source->config.layers + source->config.mtp_layers; i++)
        describe_record(&plan->records[i], &source->config, i, &formats, to);
    print_formats(&formats, to->expert_formats, sizeof to->expert_formats);
    for (int32_t i = 0; i < source->files->shard_count; i++)
        to->file_bytes += source->files->shards[i].bytes;
    sluice_plan_free(plan);
    return SLUICE_OK;
}

sluice_model_kind sluice_model_kind_of(const char *dir)
{
    if (sluice_container_is(dir)) return SLUICE_MODEL_CONTAINER;
    return sluice_checkpoint_is(dir) ? SLUICE_MODEL_SOURCE : SLUICE_MODEL_NONE;
}

sluice_status sluice_inspect(const char *dir, sluice_inspection *inspection, sluice_error *err)
{
    sluice_inspection to = {0};
    sluice_status status = sluice_model_kind_of(dir) == SLUICE_MODEL_CONTAINER
                               ? inspect_container(dir, &to, err)
                               : inspect_source(dir, &to, err);
    if (status == SLUICE_OK) *inspection = to;
    return status;
}

static json_t *geometry(const sluice_inspection *from)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,"
                     "s:i,s:b}",
                     "layers", from->layers, "attention_layers", from->attention_layers,
                     "gdn_layers", from->gdn_layers, "mtp_layers", from->mtp_layers, "hidden",
                     from->hidden, "vocab", from->vocab, "experts", from->experts, "top_k",
                     from->top_k, "expert_width", from->expert_width, "shared_width",
                     from->shared_width, "heads", from->heads, "kv_heads", from->kv_heads,
                     "head_dim", from->head_dim, "rotary_dim", from->rotary_dim, "gdn_k_heads",
                     from->gdn_k_heads, "gdn_v_heads", from->gdn_v_heads, "gdn_k_dim",
                     from->gdn_k_dim, "gdn_v_dim", from->gdn_v_dim, "conv_width", from->conv_width,
                     "context_max", from->context_max, "tied", from->tied);
}

static json_t *sizes(const sluice_inspection *from)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "weights", (json_int_t)from->weights,
                     "file_bytes", (json_int_t)from->file_bytes, "trunk_bytes",
                     (json_int_t)from->trunk_bytes, "expert_bytes", (json_int_t)from->expert_bytes,
                     "record_bytes", (json_int_t)from->record_bytes, "kv_bytes_per_token",
                     (json_int_t)from->kv_bytes_per_token, "state_bytes",
                     (json_int_t)from->state_bytes);
}

sluice_status sluice_inspect_json(const char *dir, char **json, sluice_error *err)
{
    sluice_inspection from;
    SLUICE_TRY(sluice_inspect(dir, &from, err));
    json_t *per_token = json_object(), *root = NULL;
    for (int32_t k = 1; k <= from.top_k; k++) {
        char key[16];
        snprintf(key, sizeof key, "%d", k);
        json_object_set_new(per_token, key, json_integer((json_int_t)from.token_bytes[k]));
    }
    root =
        json_pack("{s:s,s:s,s:o,s:s,s:s,s:o,s:i,s:o}", "kind",
                  from.kind == SLUICE_MODEL_CONTAINER ? "container" : "source", "layout",
                  from.layout, "geometry", geometry(&from), "expert_formats", from.expert_formats,
                  "trunk_formats", from.trunk_formats, "sizes", sizes(&from), "tensors_left_out",
                  from.tensors_left_out, "bytes_read_per_token", per_token);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to describe it", dir);
    *json = text;
    return SLUICE_OK;
}
