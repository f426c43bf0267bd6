/* See random_layer.h. */
#include "support/random_layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *take(random_layer *layer, size_t bytes)
{
    void *block = NULL;
    if (layer->n_blocks == RANDOM_LAYER_BLOCKS || posix_memalign(&block, 64, bytes + 64)) abort();
    memset(block, 0, bytes + 64);
    layer->blocks[layer->n_blocks++] = block;
    return block;
}

float random_normal(sluice_rng *rng)
{
    const double radius = sqrt(-2.0 * log(1.0 - sluice_rng_unit(rng)));
    return (float)(radius * cos(6.283185307179586 * sluice_rng_unit(rng)));
}

float *random_floats(random_layer *layer, int64_t n, float mean, float deviation)
{
    float *floats = take(layer, (size_t)n * sizeof *floats);
    for (int64_t i = 0; i < n; i++)
        floats[i] = mean + deviation * random_normal(&layer->rng);
    return floats;
}

static void quantize(random_layer *layer, sluice_weight_format format, int32_t rows, int32_t cols,
                     float *plain, void *panels)
{
    const size_t codes_row = (size_t)cols * format.bits / 8, groups = (size_t)(cols / format.group);
    const size_t scale_bytes = format.scale == SLUICE_WEIGHT_F32 ? 4 : 2;
    unsigned char *codes = take(layer, (size_t)rows * codes_row);
    unsigned char *scales = take(layer, (size_t)rows * groups * scale_bytes);
    unsigned char *biases = take(layer, (size_t)rows * groups * scale_bytes);
    for (int32_t r = 0; r < rows; r++) {
        const size_t row = (size_t)r;
        if (sluice_weight_quantize_row(format, cols, plain + row * (size_t)cols,
                                       codes + row * codes_row, scales + row * groups * scale_bytes,
                                       biases + row * groups * scale_bytes, NULL))
            abort();
    }
    sluice_weight_pack_affine(format, rows, cols, codes, scales, biases, panels);
    const sluice_weight weight = {format, rows, cols, panels, NULL};
    for (int32_t r = 0; r < rows; r++)
        sluice_weight_unpack_row(&weight, r, plain + (size_t)r * (size_t)cols);
    for (int i = 0; i < 3; i++)
        free(layer->blocks[--layer->n_blocks]);
}

/* A random matrix; *reference holds the values that the packed form stands for. */
static sluice_weight matrix(random_layer *layer, int32_t rows, int32_t cols,
                            const float **reference)
{
    const sluice_weight_format format = layer->format;
    float *plain = random_floats(layer, (int64_t)rows * cols, 0.0f, 1.5f / sqrtf((float)cols));
    void *panels = take(layer, sluice_weight_bytes(format, rows, cols));
    *reference = plain;
    if (format.kind == SLUICE_WEIGHT_AFFINE)
        quantize(layer, format, rows, cols, plain, panels);
    else
        sluice_weight_pack_plain(format, rows, cols, plain, panels);
    return (sluice_weight){format, rows, cols, panels, NULL};
}

static void init_attention(random_layer *layer)
{
    const sluice_geometry *g = &layer->geometry;
    reference_attention *r = &layer->attention_reference;
    sluice_attention_weights *w = &layer->attention;
    const int32_t queries = g->heads * g->head_dim, keys = g->kv_heads * g->head_dim;
    w->q = matrix(layer, 2 * queries, g->hidden, &r->q);
    w->k = matrix(layer, keys, g->hidden, &r->k);
    w->v = matrix(layer, keys, g->hidden, &r->v);
    w->o = matrix(layer, g->hidden, queries, &r->o);
    r->norm = w->norm = random_floats(layer, g->hidden, 1.0f, 0.2f);
    r->q_norm = w->q_norm = random_floats(layer, g->head_dim, 1.0f, 0.2f);
    r->k_norm = w->k_norm = random_floats(layer, g->head_dim, 1.0f, 0.2f);
}

static void init_gdn(random_layer *layer)
{
    const sluice_geometry *g = &layer->geometry;
    reference_gdn *r = &layer->gdn_reference;
    sluice_gdn_weights *w = &layer->gdn;
    const int32_t values = g->gdn_v_heads * g->gdn_v_dim;
    const int32_t channels = 2 * g->gdn_k_heads * g->gdn_k_dim + values;
    w->qkv = matrix(layer, channels, g->hidden, &r->qkv);
    w->z = matrix(layer, values, g->hidden, &r->z);
    w->b = matrix(layer, g->gdn_v_heads, g->hidden, &r->b);
    w->a = matrix(layer, g->gdn_v_heads, g->hidden, &r->a);
    w->out = matrix(layer, g->hidden, values, &r->out);
    r->norm = w->norm = random_floats(layer, g->hidden, 1.0f, 0.2f);
    r->conv = w->conv = random_floats(layer, (int64_t)channels * g->conv_width, 0.0f, 0.5f);
    float *decay = random_floats(layer, g->gdn_v_heads, 0.0f, 1.0f);
    for (int32_t i = 0; i < g->gdn_v_heads; i++)
        decay[i] = -expf(decay[i] - 2.0f);
    r->decay = w->decay = decay;
    r->dt_bias = w->dt_bias = random_floats(layer, g->gdn_v_heads, 0.0f, 1.0f);
    r->out_norm = w->out_norm = random_floats(layer, g->gdn_v_dim, 1.0f, 0.2f);
}

static sluice_expert_weights expert(random_layer *layer, int32_t width, const float *reference[3])
{
    const int32_t hidden = layer->geometry.hidden;
    sluice_expert_weights w;
    w.gate = matrix(layer, width, hidden, &reference[0]);
    w.up = matrix(layer, width, hidden, &reference[1]);
    w.down = matrix(layer, hidden, width, &reference[2]);
    return w;
}

void random_layer_init(random_layer *layer, const sluice_geometry *geometry,
                       sluice_weight_format format, uint64_t seed)
{
    const sluice_geometry *g = geometry;
    *layer = (random_layer){.geometry = *geometry, .format = format};
    sluice_rng_seed(&layer->rng, seed);
    init_attention(layer);
    init_gdn(layer);
    layer->router.norm = random_floats(layer, g->hidden, 1.0f, 0.2f);
    layer->router.router = matrix(layer, g->experts, g->hidden, &layer->router_reference);
    layer->expert = expert(layer, g->expert_width, layer->expert_reference);
    layer->shared.expert = expert(layer, g->shared_width, layer->shared_reference);
    layer->shared.gate = matrix(layer, 1, g->hidden, &layer->shared_gate_reference);
    layer->head = matrix(layer, g->vocab, g->hidden, &layer->head_reference);
}

void random_layer_free(random_layer *layer)
{
    while (layer->n_blocks > 0)
        free(layer->blocks[--layer->n_blocks]);
}
