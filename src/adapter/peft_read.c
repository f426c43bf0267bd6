/* Reading a PEFT adapter (see peft.h).
 *
 * Two passes over the table of tensors: the first pairs A with B and finds what is adapted, every
 * size checked against the model; the second reads the values into the set. Fused experts are taken
 * apart on the way: of each expert only the rank's rows with something in B are kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "format/safetensors.h"
#include "os/file.h"
#include "quant/weight.h"

/* A pair of tensors: one matrix, or all experts' of a layer. */
typedef struct pair {
    sluice_peft_name name; /* of the one that came first */
    bool down;             /* fused: down_proj, else gate_up_proj */
    const sluice_safetensor *a, *b;
} pair;

typedef struct reader {
    const char *file;
    int fd;
    const sluice_config *config;
    sluice_peft_config peft;
    float scale;
    sluice_safetensors table;
    pair *pairs;
    size_t n_pairs;
    sluice_adapter_key *keys;
    int32_t n_keys, keys_max;
    float *a, *b; /* of the pair under way */
    size_t a_count, b_count;
} reader;

static sluice_status other_model(const reader *in, const sluice_safetensor *tensor,
                                 sluice_error *err)
{
    return sluice_fail(err, SLUICE_BAD_INPUT,
                       "%s is an adapter for another model: tensor %s, %lld x %lld, fits no matrix "
                       "of this one",
                       in->file, tensor->name, (long long)tensor->shape[0],
                       (long long)tensor->shape[tensor->dims > 1]);
}

static int compare_pairs(const void *x, const void *y)
{
    const pair *a = x, *b = y;
    const int32_t keys[2][4] = {
        {a->name.layer, (int32_t)a->name.module, a->name.expert, a->name.fused ? 1 + a->down : 0},
        {b->name.layer, (int32_t)b->name.module, b->name.expert, b->name.fused ? 1 + b->down : 0}};
    for (int i = 0; i < 4; i++)
        if (keys[0][i] != keys[1][i]) return keys[0][i] < keys[1][i] ? -1 : 1;
    return 0;
}

/* What a tensor is half of; fused ones tell gate_up from down by their wide side. */
static sluice_status half_pair(const reader *in, const sluice_safetensor *tensor, pair *out,
                               sluice_error *err)
{
    const sluice_config *c = in->config;
    *out = (pair){0};
    if (!sluice_peft_name_parse(tensor->name, &out->name))
        return sluice_fail(err, SLUICE_BAD_INPUT,
                           "%s: %s is not a low-rank tensor of this family of models", in->file,
                           tensor->name);
    if (tensor->dims != 2 || tensor->shape[0] < 1 || tensor->shape[1] < 1 ||
        (tensor->dtype != SLUICE_DTYPE_F32 && tensor->dtype != SLUICE_DTYPE_F16 &&
         tensor->dtype != SLUICE_DTYPE_BF16))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: tensor %s is not a matrix of f32, f16 or bf16", in->file,
                           tensor->name);
    if (out->name.layer >= c->layers) return other_model(in, tensor, err);
    if (out->name.fused) {
        const int64_t wide = out->name.b ? tensor->shape[0] : tensor->shape[1];
        const int64_t down = out->name.b ? c->hidden : c->expert_width;
        const int64_t gate_up = out->name.b ? 2 * c->expert_width : c->hidden;
        const bool inner = strstr(tensor->name, ".base_layer.") != NULL;
        if (wide != down && wide != gate_up) {
            if (wide == (out->name.b ? c->expert_width : 2 * c->expert_width))
                return sluice_fail(
                    err, SLUICE_UNSUPPORTED,
                    "%s: tensor %s has inputs and outputs of fused experts exchanged, "
                    "as PEFT before 0.19.1 had them; such adapters are not read",
                    in->file, tensor->name);
            return other_model(in, tensor, err);
        }
        out->down = down == gate_up ? !inner : wide == down;
    }
    *(out->name.b ? &out->b : &out->a) = tensor;
    return SLUICE_OK;
}

static sluice_status pair_up(reader *in, sluice_error *err)
{
    size_t n = 0;
    in->pairs = calloc(in->table.count + 1, sizeof *in->pairs);
    if (!in->pairs) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read %s", in->file);
    for (size_t i = 0; i < in->table.count; i++)
        SLUICE_TRY(half_pair(in, &in->table.tensors[i], &in->pairs[i], err));
    qsort(in->pairs, in->table.count, sizeof *in->pairs, compare_pairs);
    for (size_t i = 0; i < in->table.count; i += 2) {
        pair *one = &in->pairs[i], *two = &in->pairs[i + 1];
        const sluice_safetensor *first = one->a ? one->a : one->b;
        if (i + 1 == in->table.count || compare_pairs(one, two) || !one->a == !two->a)
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: tensor %s stands alone: lora_A and lora_B come in pairs",
                               in->file, first->name);
        if (!one->a) one->a = two->a;
        if (!one->b) one->b = two->b;
        in->pairs[n++] = *one;
    }
    in->n_pairs = n;
    return n ? SLUICE_OK : sluice_fail(err, SLUICE_BAD_INPUT, "%s has no tensors", in->file);
}

static sluice_status read_floats(const reader *in, const sluice_safetensor *tensor, float *to,
                                 sluice_error *err)
{
    const size_t n = (size_t)(tensor->shape[0] * tensor->shape[1]);
    const size_t element = sluice_dtype_bytes(tensor->dtype);
    uint16_t bits;
    SLUICE_TRY(sluice_file_read(in->fd, in->file, tensor->offset, (char *)to + n * (4 - element),
                                n * element, err));
    for (size_t i = 0; i < n; i++) {
        if (element == 2) {
            memcpy(&bits, (char *)to + n * 2 + i * 2, 2);
            to[i] = tensor->dtype == SLUICE_DTYPE_BF16 ? sluice_bf16_to_float(bits)
                                                       : sluice_half_to_float(bits);
        }
        if (!isfinite(to[i]))
            return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s holds a value that is no number",
                               in->file, tensor->name);
    }
    return SLUICE_OK;
}

/* Both tensors of a pair into memory. */
static sluice_status read_pair(reader *in, const pair *p, sluice_error *err)
{
    const size_t a = (size_t)(p->a->shape[0] * p->a->shape[1]);
    const size_t b = (size_t)(p->b->shape[0] * p->b->shape[1]);
    if (a > in->a_count || b > in->b_count) {
        free(in->a);
        free(in->b);
        in->a_count = a;
        in->b_count = b;
        in->a = malloc(a * sizeof *in->a);
        in->b = malloc(b * sizeof *in->b);
        if (!in->a || !in->b) {
            in->a_count = in->b_count = 0;
            return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read %s", in->file);
        }
    }
    SLUICE_TRY(read_floats(in, p->a, in->a, err));
    return read_floats(in, p->b, in->b, err);
}

static sluice_status add_key(reader *in, sluice_adapter_key key, sluice_error *err)
{
    if (in->n_keys == in->keys_max) {
        const int32_t most = in->keys_max ? in->keys_max * 2 : 256;
        void *keys = realloc(in->keys, (size_t)most * sizeof *in->keys);
        if (!keys) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read %s", in->file);
        in->keys = keys;
        in->keys_max = most;
    }
    in->keys[in->n_keys++] = key;
    return SLUICE_OK;
}

static void target_of(const pair *p, char *text, size_t size)
{
    const char *name = sluice_adapter_module_name(p->name.module);
    if (p->name.fused) name = p->down ? "mlp.experts.down_proj" : "mlp.experts.gate_up_proj";
    if (p->name.expert >= 0)
        snprintf(text, size, "layers.%d.mlp.experts.%d%s", p->name.layer, p->name.expert,
                 strrchr(name, '.'));
    else
        snprintf(text, size, "layers.%d.%s", p->name.layer, name);
}

static float scale_of(const reader *in, const pair *p, int32_t rank)
{
    char target[128];
    target_of(p, target, sizeof target);
    return in->scale * sluice_peft_config_scale(&in->peft, target, rank);
}

/* Where one expert's part of a fused pair is: rank rows of A, and columns of B j * E + e for
 * outputs [first, first + out). */
typedef struct slice {
    const float *a, *b;
    int32_t rank, experts, expert, in, out;
} slice;

static slice slice_of(const reader *in, const pair *p, int32_t expert, sluice_adapter_module module)
{
    const sluice_config *c = in->config;
    slice s = {.experts = c->experts, .expert = expert};
    s.rank = (int32_t)(p->a->shape[0] / c->experts);
    s.in = (int32_t)p->a->shape[1];
    s.out = p->down ? c->hidden : c->expert_width;
    s.a = in->a + (size_t)expert * (size_t)s.rank * (size_t)s.in;
    s.b = in->b;
    if (module == SLUICE_ADAPTER_EXPERT_UP)
        s.b += (size_t)s.out * (size_t)s.rank * (size_t)s.experts;
    return s;
}

static float slice_b(const slice *s, int32_t j, int32_t o)
{
    return s->b[((size_t)o * (size_t)s->rank + (size_t)j) * (size_t)s->experts + (size_t)s->expert];
}

static bool slice_has(const slice *s, int32_t j)
{
    for (int32_t o = 0; o < s->out; o++)
        if (slice_b(s, j, o) != 0.0f) return true;
    return false;
}

static int32_t slice_rank(const slice *s)
{
    int32_t rank = 0;
    for (int32_t j = 0; j < s->rank; j++)
        rank += slice_has(s, j);
    return rank;
}

/* fn for each matrix of a fused pair, that is in memory. */
typedef sluice_status (*slice_fn)(reader *in, const pair *p, sluice_adapter_key key, const slice *s,
                                  void *context, sluice_error *err);

static sluice_status each_slice(reader *in, const pair *p, slice_fn fn, void *context,
                                sluice_error *err)
{
    const int first = p->down ? SLUICE_ADAPTER_EXPERT_DOWN : SLUICE_ADAPTER_EXPERT_GATE;
    const int last = p->down ? SLUICE_ADAPTER_EXPERT_DOWN : SLUICE_ADAPTER_EXPERT_UP;
    for (int32_t e = 0; e < in->config->experts; e++)
        for (int m = first; m <= last; m++) {
            const slice s = slice_of(in, p, e, (sluice_adapter_module)m);
            const sluice_adapter_key key = {p->name.layer, (sluice_adapter_module)m, e,
                                            slice_rank(&s), scale_of(in, p, s.rank)};
            if (key.rank) SLUICE_TRY(fn(in, p, key, &s, context, err));
        }
    return SLUICE_OK;
}

static sluice_status list_slice(reader *in, const pair *p, sluice_adapter_key key, const slice *s,
                                void *context, sluice_error *err)
{
    (void)p, (void)s, (void)context;
    return add_key(in, key, err);
}

static sluice_status fill_slice(reader *in, const pair *p, sluice_adapter_key key, const slice *s,
                                void *context, sluice_error *err)
{
    const sluice_adapter *adapter = context;
    sluice_adapter_entry *entry = sluice_adapter_find(adapter, key.layer, key.module, key.expert);
    float *a = entry->a, *b = entry->b;
    (void)in, (void)p, (void)err;
    for (int32_t j = 0; j < s->rank; j++) {
        if (!slice_has(s, j)) continue;
        memcpy(a, s->a + (size_t)j * (size_t)s->in, (size_t)s->in * sizeof *a);
        for (int32_t o = 0; o < s->out; o++)
            b[o] = slice_b(s, j, o);
        a += s->in;
        b += s->out;
    }
    return SLUICE_OK;
}

static sluice_status check_fused(const reader *in, const pair *p, sluice_error *err)
{
    const sluice_config *c = in->config;
    const int64_t wide_in = p->down ? c->expert_width : c->hidden;
    const int64_t wide_out = p->down ? c->hidden : 2 * c->expert_width;
    if (c->experts < 1 || p->a->shape[1] != wide_in || p->a->shape[0] % c->experts ||
        p->a->shape[0] / c->experts > SLUICE_ADAPTER_RANK_MAX)
        return other_model(in, p->a, err);
    if (p->b->shape[0] != wide_out || p->b->shape[1] != p->a->shape[0])
        return other_model(in, p->b, err);
    return SLUICE_OK;
}

static sluice_status list_pair(reader *in, const pair *p, sluice_error *err)
{
    int32_t wide_in, wide_out;
    if (p->name.fused) {
        SLUICE_TRY(check_fused(in, p, err));
        SLUICE_TRY(read_pair(in, p, err));
        return each_slice(in, p, list_slice, NULL, err);
    }
    if (!sluice_adapter_shape(in->config, p->name.layer, p->name.module, &wide_in, &wide_out) ||
        p->name.expert >= in->config->experts || p->a->shape[1] != wide_in ||
        p->a->shape[0] > SLUICE_ADAPTER_RANK_MAX)
        return other_model(in, p->a, err);
    if (p->b->shape[0] != wide_out || p->b->shape[1] != p->a->shape[0])
        return other_model(in, p->b, err);
    const int32_t rank = (int32_t)p->a->shape[0];
    return add_key(in,
                   (sluice_adapter_key){p->name.layer, p->name.module, p->name.expert, rank,
                                        scale_of(in, p, rank)},
                   err);
}

static sluice_status fill_pair(reader *in, const pair *p, sluice_adapter *adapter,
                               sluice_error *err)
{
    SLUICE_TRY(read_pair(in, p, err));
    if (p->name.fused) return each_slice(in, p, fill_slice, adapter, err);
    sluice_adapter_entry *entry =
        sluice_adapter_find(adapter, p->name.layer, p->name.module, p->name.expert);
    const int32_t rank = entry->key.rank;
    memcpy(entry->a, in->a, (size_t)rank * (size_t)entry->in * sizeof *in->a);
    for (int32_t o = 0; o < entry->out; o++)
        for (int32_t r = 0; r < rank; r++)
            entry->b[(size_t)r * (size_t)entry->out + (size_t)o] =
                in->b[(size_t)o * (size_t)rank + (size_t)r];
    return SLUICE_OK;
}

static sluice_status read_all(reader *in, sluice_budget *budget, sluice_adapter **out,
                              sluice_error *err)
{
    uint64_t bytes;
    SLUICE_TRY(sluice_file_open(in->file, &in->fd, &bytes, err));
    SLUICE_TRY(sluice_safetensors_read(in->fd, in->file, bytes, &in->table, NULL, NULL, err));
    SLUICE_TRY(pair_up(in, err));
    for (size_t i = 0; i < in->n_pairs; i++)
        SLUICE_TRY(list_pair(in, &in->pairs[i], err));
    if (in->n_keys == 0)
        return sluice_fail(err, SLUICE_BAD_INPUT, "%s changes nothing: all of it is zero",
                           in->file);
    sluice_adapter *adapter;
    SLUICE_TRY(sluice_adapter_new(in->config, in->keys, in->n_keys, false, budget, &adapter, err));
    for (size_t i = 0; i < in->n_pairs; i++) {
        const sluice_status status = fill_pair(in, &in->pairs[i], adapter, err);
        if (status == SLUICE_OK) continue;
        sluice_adapter_free(adapter);
        return status;
    }
    *out = adapter;
    return SLUICE_OK;
}

static sluice_status read_config(const char *dir, sluice_peft_config *config, sluice_error *err)
{
    char *path = sluice_file_join(dir, "adapter_config.json"), *text = NULL;
    size_t bytes = 0;
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = sluice_file_load(path, 1 << 20, &text, &bytes, err);
    if (status == SLUICE_OK) status = sluice_peft_config_parse(text, bytes, path, config, err);
    free(text);
    free(path);
    return status;
}

static void name_of(const char *dir, char *name, size_t size)
{
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    snprintf(name, size, "%.*s", (int)(length - start), dir + start);
}

sluice_status sluice_peft_read(const char *dir, const sluice_config *config, float scale,
                               sluice_budget *budget, sluice_adapter **out, sluice_error *err)
{
    reader in = {.config = config, .scale = scale, .fd = -1};
    SLUICE_TRY(read_config(dir, &in.peft, err));
    char *path = sluice_file_join(dir, "adapter_model.safetensors");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    in.file = path;
    sluice_status status = read_all(&in, budget, out, err);
    if (status == SLUICE_OK) name_of(dir, (*out)->name, sizeof(*out)->name);
    sluice_safetensors_free(&in.table);
    if (in.fd >= 0) sluice_file_close(in.fd);
    free(in.pairs);
    free(in.keys);
    free(in.a);
    free(in.b);
    free(path);
    return status;
}
