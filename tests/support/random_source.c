/* See random_source.h. The geometry is fixed: sizes that are multiples of 128, so that every group
 * divides, and otherwise as uneven as the family allows. */
#include "support/random_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/folders.h"
#include "support/raw_safetensors.h"

enum {
    HIDDEN = 128,
    VOCAB = 37,
    LAYERS = 3,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD_DIM = 32,
    K_HEADS = 2,
    V_HEADS = 4,
    K_DIM = 16,
    V_DIM = 32,
    EXPERTS = 5,
    WIDTH = 128,
    SHARED = 256,
    SHARDS_MAX = 8
};

typedef struct writer {
    const random_source *source;
    sluice_rng rng;
    raw_file files[SHARDS_MAX];
} writer;

static raw_file *any_file(writer *to)
{
    return &to->files[sluice_rng_below(&to->rng, (uint64_t)to->source->shards)];
}

/* A random finite value of about the given size. */
static void put_element(writer *to, const char *dtype, double size, unsigned char *at)
{
    float value = (float)((sluice_rng_unit(&to->rng) * 2 - 1) * size);
    uint32_t word;
    memcpy(&word, &value, 4);
    if (strcmp(dtype, "F32") == 0) {
        memcpy(at, &word, 4);
    } else if (strcmp(dtype, "BF16") == 0) {
        uint16_t bits = (uint16_t)(word >> 16);
        memcpy(at, &bits, 2);
    } else { /* any half with a small exponent */
        uint16_t bits = (uint16_t)(sluice_rng_next(&to->rng) & 0xbbff);
        memcpy(at, &bits, 2);
    }
}

static void plain(writer *to, const char *name, const char *dtype, const int64_t *shape,
                  double size)
{
    size_t count = 1, element = strcmp(dtype, "F32") == 0 ? 4 : 2;
    for (const int64_t *s = shape; *s; s++)
        count *= (size_t)*s;
    unsigned char *data = malloc(count * element);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++)
        put_element(to, dtype, size, data + i * element);
    raw_file_add(any_file(to), name, dtype, shape, data, count * element);
    free(data);
}

static void full_name(const writer *to, const char *name, char *full, size_t bytes)
{
    bool bare = strncmp(name, "mtp.", 4) == 0 || strncmp(name, "lm_head", 7) == 0;
    const char *prefix = to->source->mlx ? "language_model.model." : "model.language_model.";
    if (bare) prefix = to->source->mlx ? "language_model." : "";
    snprintf(full, bytes, "%s%s", prefix, name);
}

static void vector(writer *to, const char *name, int64_t size, const char *dtype)
{
    char full[256];
    full_name(to, name, full, sizeof full);
    plain(to, full, dtype, (int64_t[]){size, 0}, 1.0);
}

static void affine(writer *to, const char *base, const int64_t *shape, int dims, int bits,
                   int group)
{
    char name[300];
    int64_t words[4] = {0}, groups[4] = {0};
    size_t count = 4;
    for (int i = 0; i < dims; i++) {
        words[i] = groups[i] = shape[i];
        if (i == dims - 1) {
            words[i] = shape[i] * bits / 32;
            groups[i] = shape[i] / group;
        }
        count *= (size_t)words[i];
    }
    unsigned char *codes = malloc(count);
    assert_non_null(codes);
    for (size_t i = 0; i < count; i++)
        codes[i] = (unsigned char)sluice_rng_next(&to->rng);
    snprintf(name, sizeof name, "%s.weight", base);
    raw_file_add(any_file(to), name, "U32", words, codes, count);
    free(codes);
    snprintf(name, sizeof name, "%s.scales", base);
    plain(to, name, to->source->dtype, groups, 0.01);
    snprintf(name, sizeof name, "%s.biases", base);
    plain(to, name, to->source->dtype, groups, 0.1);
}

/* [count,] rows, cols; suffix is "" for the fused tensors of Hugging Face, which have no .weight.
 */
static void stacked(writer *to, const char *name, int64_t count, int64_t rows, int64_t cols,
                    int bits, const char *suffix)
{
    char full[256], with_suffix[300];
    int64_t shape[4] = {count, rows, cols, 0}, *from = count ? shape : shape + 1;
    full_name(to, name, full, sizeof full);
    if (bits) {
        affine(to, full, from, count ? 3 : 2, bits, to->source->group);
        return;
    }
    snprintf(with_suffix, sizeof with_suffix, "%s%s", full, suffix);
    plain(to, with_suffix, to->source->dtype, from, 0.1);
}

static void matrix(writer *to, const char *prefix, const char *name, int64_t rows, int64_t cols)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    bool careful = strcmp(name, "mlp.gate") == 0 || strcmp(name, "mlp.shared_expert_gate") == 0;
    int bits = to->source->bits;
    stacked(to, full, 0, rows, cols, careful && bits ? 8 : bits, ".weight");
}

static void experts(writer *to, const char *prefix)
{
    static const char *const names[3] = {"gate_proj", "up_proj", "down_proj"};
    const random_source *source = to->source;
    char name[160];
    for (int part = 0; part < 3; part++) {
        int64_t rows = part == 2 ? HIDDEN : WIDTH, cols = part == 2 ? WIDTH : HIDDEN;
        if (source->layout == RANDOM_STACKED) {
            snprintf(name, sizeof name, "%smlp.switch_mlp.%s", prefix, names[part]);
            stacked(to, name, EXPERTS, rows, cols, source->bits, ".weight");
        } else if (source->layout == RANDOM_SPLIT) {
            for (int e = 0; e < EXPERTS; e++) {
                snprintf(name, sizeof name, "%smlp.experts.%d.%s", prefix, e, names[part]);
                stacked(to, name, 0, rows, cols, source->bits, ".weight");
            }
        } else if (part == 2) {
            snprintf(name, sizeof name, "%smlp.experts.down_proj", prefix);
            stacked(to, name, EXPERTS, rows, cols, source->bits, "");
        } else if (part == 0) {
            snprintf(name, sizeof name, "%smlp.experts.gate_up_proj", prefix);
            stacked(to, name, EXPERTS, 2 * rows, cols, source->bits, "");
        }
    }
}

static void prefixed_vector(writer *to, const char *prefix, const char *name, int64_t size,
                            const char *dtype)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    vector(to, full, size, dtype);
}

static void gdn(writer *to, const char *prefix)
{
    int64_t channels = 2 * K_HEADS * K_DIM + V_HEADS * V_DIM;
    char name[160], full[256];
    matrix(to, prefix, "linear_attn.in_proj_qkv", channels, HIDDEN);
    matrix(to, prefix, "linear_attn.in_proj_z", V_HEADS * V_DIM, HIDDEN);
    matrix(to, prefix, "linear_attn.in_proj_b", V_HEADS, HIDDEN);
    matrix(to, prefix, "linear_attn.in_proj_a", V_HEADS, HIDDEN);
    matrix(to, prefix, "linear_attn.out_proj", HIDDEN, V_HEADS * V_DIM);
    prefixed_vector(to, prefix, "linear_attn.A_log", V_HEADS, "F32");
    prefixed_vector(to, prefix, "linear_attn.dt_bias", V_HEADS, to->source->dtype);
    prefixed_vector(to, prefix, "linear_attn.norm.weight", V_DIM, "F32");
    snprintf(name, sizeof name, "%slinear_attn.conv1d.weight", prefix);
    full_name(to, name, full, sizeof full);
    plain(to, full, to->source->dtype,
          to->source->mlx ? (int64_t[]){channels, 4, 1, 0} : (int64_t[]){channels, 1, 4, 0}, 1.0);
}

static void attention(writer *to, const char *prefix)
{
    matrix(to, prefix, "self_attn.q_proj", 2 * HEADS * HEAD_DIM, HIDDEN);
    matrix(to, prefix, "self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN);
    matrix(to, prefix, "self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN);
    matrix(to, prefix, "self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM);
    prefixed_vector(to, prefix, "self_attn.q_norm.weight", HEAD_DIM, to->source->dtype);
    prefixed_vector(to, prefix, "self_attn.k_norm.weight", HEAD_DIM, to->source->dtype);
}

static void layer(writer *to, const char *prefix, bool full_attention)
{
    prefixed_vector(to, prefix, "input_layernorm.weight", HIDDEN, to->source->dtype);
    prefixed_vector(to, prefix, "post_attention_layernorm.weight", HIDDEN, to->source->dtype);
    if (full_attention)
        attention(to, prefix);
    else
        gdn(to, prefix);
    matrix(to, prefix, "mlp.gate", EXPERTS, HIDDEN);
    matrix(to, prefix, "mlp.shared_expert_gate", 1, HIDDEN);
    matrix(to, prefix, "mlp.shared_expert.gate_proj", SHARED, HIDDEN);
    matrix(to, prefix, "mlp.shared_expert.up_proj", SHARED, HIDDEN);
    matrix(to, prefix, "mlp.shared_expert.down_proj", HIDDEN, SHARED);
    experts(to, prefix);
}

static void model(writer *to)
{
    char prefix[32];
    matrix(to, "", "embed_tokens", VOCAB, HIDDEN);
    if (!to->source->tied) matrix(to, "", "lm_head", VOCAB, HIDDEN);
    vector(to, "norm.weight", HIDDEN, to->source->dtype);
    for (int i = 0; i < LAYERS; i++) {
        snprintf(prefix, sizeof prefix, "layers.%d.", i);
        layer(to, prefix, i == 1);
    }
    for (int i = 0; i < to->source->mtp_layers; i++) {
        snprintf(prefix, sizeof prefix, "mtp.layers.%d.", i);
        layer(to, prefix, true);
    }
    if (!to->source->mtp_layers) return;
    matrix(to, "", "mtp.fc", HIDDEN, 2 * HIDDEN);
    vector(to, "mtp.norm.weight", HIDDEN, to->source->dtype);
    vector(to, "mtp.pre_fc_norm_embedding.weight", HIDDEN, to->source->dtype);
    vector(to, "mtp.pre_fc_norm_hidden.weight", HIDDEN, to->source->dtype);
}

static void write_config(const random_source *source, const char *dir)
{
    char text[2048];
    int n = snprintf(
        text, sizeof text,
        "{\"model_type\":\"qwen3_5_moe\",\"text_config\":{\"model_type\":\"qwen3_5_moe_text\","
        "\"num_hidden_layers\":%d,\"hidden_size\":%d,\"vocab_size\":%d,\"num_attention_heads\":%d,"
        "\"num_key_value_heads\":%d,\"head_dim\":%d,\"linear_num_key_heads\":%d,"
        "\"linear_num_value_heads\":%d,\"linear_key_head_dim\":%d,\"linear_value_head_dim\":%d,"
        "\"linear_conv_kernel_dim\":4,\"num_experts\":%d,\"num_experts_per_tok\":2,"
        "\"moe_intermediate_size\":%d,\"shared_expert_intermediate_size\":%d,"
        "\"mtp_num_hidden_layers\":%d,\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-06,"
        "\"layer_types\":[\"linear_attention\",\"full_attention\",\"linear_attention\"],"
        "\"rope_parameters\":{\"rope_theta\":10000.0,\"partial_rotary_factor\":0.5}},"
        "\"tie_word_embeddings\":%s%s}",
        LAYERS, HIDDEN, VOCAB, HEADS, KV_HEADS, HEAD_DIM, K_HEADS, V_HEADS, K_DIM, V_DIM, EXPERTS,
        WIDTH, SHARED, source->mtp_layers, source->tied ? "true" : "false",
        source->bits ? ",\"quantization\":{\"mode\":\"affine\",\"bits\":4,\"group_size\":64}" : "");
    folders_save(folders_path(dir, "config.json"), text, (size_t)n);
    folders_save(folders_path(dir, "tokenizer.json"), "{}", 2);
}

static void save_shards(writer *to, const char *dir, int count)
{
    json_t *map = json_object();
    for (int i = 0; i < count; i++) {
        char name[64];
        const char *tensor;
        json_t *entry;
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, count);
        json_object_foreach(to->files[i].header, tensor, entry)
            json_object_set_new(map, tensor, json_string(name));
        raw_file_save(&to->files[i], folders_path(dir, name));
    }
    json_t *index = json_pack("{s:o}", "weight_map", map);
    char *text = json_dumps(index, JSON_COMPACT);
    folders_save(folders_path(dir, "model.safetensors.index.json"), text, strlen(text));
    free(text);
    json_decref(index);
}

void random_source_write(const random_source *source, const char *dir)
{
    writer to = {.source = source};
    sluice_rng_seed(&to.rng, source->seed);
    int count = source->shards + source->vision;
    assert_in_range(source->shards, 1, SHARDS_MAX - 1);
    for (int i = 0; i < count; i++)
        to.files[i] = raw_file_new();
    model(&to);
    if (source->vision) {
        static const unsigned char zeros[64];
        raw_file_add(&to.files[count - 1],
                     source->mlx ? "vision_tower.patch_embed.proj.weight"
                                 : "model.visual.patch_embed.proj.weight",
                     "F32", (int64_t[]){4, 4, 0}, zeros, sizeof zeros);
    }
    write_config(source, dir);
    if (count == 1)
        raw_file_save(&to.files[0], folders_path(dir, "model.safetensors"));
    else
        save_shards(&to, dir, count);
    for (int i = 0; i < count; i++)
        raw_file_free(&to.files[i]);
}
