/* See convert_weigh.h. */
#include "format/convert_weigh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Less, and what text showed often is fitted at the cost of what it showed seldom: at 2 bits this
 * has the least divergence on text and tool calls that were not measured on (doc/quantisation.md).
 */
#define DAMPING 0.1f
#define ROWS_PRIOR 32.0f /* what the layer's mean counts beside an expert's own rows */

typedef struct entry {
    int32_t layer, place; /* layer -1: empty */
    uint64_t used;
    sluice_moment *moment;
} entry;

struct sluice_weigh {
    const sluice_importance *importance;
    const sluice_config *config;
    entry *entries;
    int32_t kept;
    uint64_t clock;
};

sluice_status sluice_weigh_new(const sluice_importance *importance, const sluice_config *config,
                               int32_t kept, sluice_weigh **out, sluice_error *err)
{
    sluice_weigh *weigh = calloc(1, sizeof *weigh);
    if (weigh) weigh->entries = calloc((size_t)kept, sizeof *weigh->entries);
    if (!weigh || !weigh->entries) {
        free(weigh);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for importances");
    }
    weigh->importance = importance;
    weigh->config = config;
    weigh->kept = kept;
    for (int32_t i = 0; i < kept; i++)
        weigh->entries[i].layer = -1;
    *out = weigh;
    return SLUICE_OK;
}

void sluice_weigh_free(sluice_weigh *weigh)
{
    if (!weigh) return;
    for (int32_t i = 0; i < weigh->kept; i++)
        sluice_moment_free(weigh->entries[i].moment);
    free(weigh->entries);
    free(weigh);
}

/* Names the tensor of a problem that quant/ found. */
static sluice_status name_moment(const sluice_importance *importance, int32_t layer,
                                 sluice_importance_place place, sluice_status status,
                                 const sluice_error *inner, sluice_error *err)
{
    char name[48];
    if (status == SLUICE_OK) return status;
    sluice_importance_name(layer, place, name, sizeof name);
    return sluice_fail(err, status, "%s: %s: %.300s", importance->path, name, inner->detail);
}

static sluice_status load(const sluice_weigh *weigh, int32_t layer, sluice_importance_place place,
                          sluice_moment **out, sluice_error *err)
{
    int64_t shape[2];
    sluice_error inner = {0};
    sluice_importance_shape(weigh->config, &weigh->importance->blocks, layer, place, shape);
    float *products = malloc((size_t)(shape[0] * shape[1]) * sizeof *products);
    if (!products) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a moment");
    sluice_moment *moment = NULL;
    sluice_status status =
        sluice_importance_read(weigh->importance, layer, place, 0, shape[0], products, err);
    if (status == SLUICE_OK)
        status = sluice_moment_new((int32_t)shape[0], (int32_t)shape[1], &moment, err);
    if (status == SLUICE_OK)
        status = name_moment(weigh->importance, layer, place,
                             sluice_moment_set(moment, products, DAMPING, &inner), &inner, err);
    free(products);
    if (status == SLUICE_OK)
        *out = moment;
    else
        sluice_moment_free(moment);
    return status;
}

static sluice_fit_weights weights_of(const sluice_moment *moment)
{
    return (sluice_fit_weights){moment->block, moment->correlation, moment->factor, moment->scale};
}

/* The moment of a place, from memory or from the file; the one not used for longest makes room. */
static sluice_status get(sluice_weigh *weigh, int32_t layer, sluice_importance_place place,
                         sluice_fit_weights *weights, sluice_error *err)
{
    entry *at = &weigh->entries[0];
    for (int32_t i = 0; i < weigh->kept; i++) {
        entry *other = &weigh->entries[i];
        if (other->layer == layer && other->place == (int32_t)place) {
            at = other;
            break;
        }
        if (other->used < at->used) at = other;
    }
    if (at->layer != layer || at->place != (int32_t)place) {
        sluice_moment_free(at->moment);
        *at = (entry){.layer = -1};
        SLUICE_TRY(load(weigh, layer, place, &at->moment, err));
        at->layer = layer;
        at->place = (int32_t)place;
    }
    at->used = ++weigh->clock;
    *weights = weights_of(at->moment);
    return SLUICE_OK;
}

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

sluice_status sluice_weigh_trunk(sluice_weigh *weigh, const char *name, sluice_fit_weights *weights,
                                 sluice_error *err)
{
    static const struct {
        const char *part;
        sluice_importance_place place;
    } readers[] = {{"in_proj_qkv.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"in_proj_z.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"in_proj_b.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"in_proj_a.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"self_attn.q_proj.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"self_attn.k_proj.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"self_attn.v_proj.weight", SLUICE_IMPORTANCE_MIXER_IN},
                   {"self_attn.o_proj.weight", SLUICE_IMPORTANCE_MIXER_OUT},
                   {"linear_attn.out_proj.weight", SLUICE_IMPORTANCE_MIXER_OUT},
                   {"mlp.gate.weight", SLUICE_IMPORTANCE_MOE_IN},
                   {"mlp.shared_expert.gate_proj.weight", SLUICE_IMPORTANCE_MOE_IN},
                   {"mlp.shared_expert.up_proj.weight", SLUICE_IMPORTANCE_MOE_IN},
                   {"mlp.shared_expert_gate.weight", SLUICE_IMPORTANCE_MOE_IN},
                   {"mlp.shared_expert.down_proj.weight", SLUICE_IMPORTANCE_SHARED_INNER}};
    int32_t layer = -1;
    *weights = (sluice_fit_weights){0};
    if (strcmp(name, weigh->config->tied ? "embed_tokens.weight" : "lm_head.weight") == 0)
        return get(weigh, 0, SLUICE_IMPORTANCE_HEAD_IN, weights, err);
    if (sscanf(name, "layers.%d.", &layer) != 1) return SLUICE_OK;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (ends_in(name, readers[i].part))
            return get(weigh, layer, readers[i].place, weights, err);
    return SLUICE_OK;
}

sluice_status sluice_weigh_layer(sluice_weigh *weigh, int32_t layer, sluice_fit_weights *weights,
                                 sluice_error *err)
{
    *weights = (sluice_fit_weights){0};
    if (layer >= weigh->config->layers) return SLUICE_OK;
    return get(weigh, layer, SLUICE_IMPORTANCE_MOE_IN, weights, err);
}

static int32_t inner_block(const sluice_weigh *weigh)
{
    int32_t block = weigh->importance->blocks.expert_block, width = weigh->config->expert_width;
    return block < width ? block : width;
}

static int32_t in_block(const sluice_weigh *weigh)
{
    int32_t block = weigh->importance->blocks.expert_in, hidden = weigh->config->hidden;
    return block < hidden ? block : hidden;
}

sluice_status sluice_weigh_room_new(const sluice_weigh *weigh, sluice_weigh_room *out,
                                    sluice_error *err)
{
    int32_t width = weigh->config->expert_width, hidden = weigh->config->hidden;
    int32_t block = inner_block(weigh), entering = in_block(weigh);
    size_t inner = (size_t)width * (size_t)block, in = (size_t)hidden * (size_t)entering;
    sluice_weigh_room room = {
        .scale = malloc((size_t)hidden * sizeof(float)),
        .products = malloc((in > inner ? in : inner) * sizeof(float)),
    };
    sluice_status status =
        room.scale && room.products
            ? sluice_moment_new(width, block, &room.inner, err)
            : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for an expert's importances");
    if (status == SLUICE_OK && entering > 1)
        status = sluice_moment_new(hidden, entering, &room.in, err);
    if (status == SLUICE_OK)
        *out = room;
    else
        sluice_weigh_room_free(&room);
    return status;
}

void sluice_weigh_room_free(sluice_weigh_room *room)
{
    free(room->scale);
    free(room->products);
    sluice_moment_free(room->in);
    sluice_moment_free(room->inner);
    *room = (sluice_weigh_room){0};
}

/* Mean square of a column. */
static double mean_square(const float *products, int32_t cols, int32_t block)
{
    double sum = 0;
    for (int32_t i = 0; i < cols; i++)
        sum += (double)products[(ptrdiff_t)i * block + i % block] / cols;
    return sum;
}

/* The layer's product of two columns, of correlations with a damped diagonal. */
static float layer_product(const sluice_fit_weights *layer, int32_t i, int32_t j)
{
    int32_t first = i / layer->block * layer->block;
    float scales = layer->scale[i] * layer->scale[j];
    if (i == j) return scales;
    if (j < first || j >= first + layer->block) return 0.0f;
    return layer->correlation[(ptrdiff_t)i * layer->block + (j - first)] * scales;
}

/* The expert's products and its layer's, each of mean square 1, by the rows that the expert saw:
 * as many as a block has columns, and some, for it to count half. */
static void blend_in(const sluice_fit_weights *layer, int32_t hidden, int32_t block, float rows,
                     float *products)
{
    double own = mean_square(products, hidden, block), all = 0;
    for (int32_t i = 0; i < hidden; i++)
        all += (double)layer->scale[i] * (double)layer->scale[i] / hidden;
    float share = own > 0 ? rows / (rows + ROWS_PRIOR + (float)(block - 1)) : 0.0f;
    float mine = own > 0 ? (float)(share / own) : 0.0f, mean = (1.0f - share) / (float)all;
    for (int32_t i = 0; i < hidden; i++) {
        int32_t first = i / block * block;
        for (int32_t j = first; j < first + block && j < hidden; j++) {
            float *at = &products[(ptrdiff_t)i * block + (j - first)];
            *at = mine * *at + mean * layer_product(layer, i, j);
        }
    }
}

/* The expert's products, drawn to independent columns of equal weight. */
static void blend_inner(int32_t width, int32_t block, float rows, float *products)
{
    double own = mean_square(products, width, block);
    float share = own > 0 ? rows / (rows + ROWS_PRIOR) : 0.0f;
    for (int32_t i = 0; i < width; i++)
        for (int32_t j = 0; j < block; j++) {
            float *at = &products[(ptrdiff_t)i * block + j];
            *at *= share;
            if (j == i % block) *at += (1.0f - share) * (own > 0 ? (float)own : 1.0f);
        }
}

static sluice_status weigh_in(const sluice_weigh *weigh, int32_t index, int32_t expert, float rows,
                              const sluice_fit_weights *layer, sluice_weigh_room *room,
                              sluice_fit_weights *in, sluice_error *err)
{
    int32_t hidden = weigh->config->hidden, block = in_block(weigh);
    sluice_error detail = {0};
    SLUICE_TRY(sluice_importance_read(weigh->importance, index, SLUICE_IMPORTANCE_EXPERT_IN,
                                      (int64_t)expert * hidden, hidden, room->products, err));
    blend_in(layer, hidden, block, rows, room->products);
    if (block > 1) {
        SLUICE_TRY(name_moment(weigh->importance, index, SLUICE_IMPORTANCE_EXPERT_IN,
                               sluice_moment_set(room->in, room->products, DAMPING, &detail),
                               &detail, err));
        *in = weights_of(room->in);
        return SLUICE_OK;
    }
    sluice_moment_set_scale(room->products, hidden, room->scale);
    *in = *layer;
    in->scale = room->scale;
    return SLUICE_OK;
}

sluice_status sluice_weigh_expert(const sluice_weigh *weigh, int32_t index, int32_t expert,
                                  const sluice_fit_weights *layer, sluice_weigh_room *room,
                                  sluice_fit_weights *in, sluice_fit_weights *inner,
                                  sluice_error *err)
{
    int32_t width = weigh->config->expert_width;
    float rows = 0;
    sluice_error detail = {0};
    *in = *inner = (sluice_fit_weights){0};
    if (!layer->scale) return SLUICE_OK;
    SLUICE_TRY(sluice_importance_read(weigh->importance, index, SLUICE_IMPORTANCE_EXPERT_ROWS,
                                      expert, 1, &rows, err));
    SLUICE_TRY(weigh_in(weigh, index, expert, rows, layer, room, in, err));
    SLUICE_TRY(sluice_importance_read(weigh->importance, index, SLUICE_IMPORTANCE_EXPERT_INNER,
                                      (int64_t)expert * width, width, room->products, err));
    blend_inner(width, inner_block(weigh), rows, room->products);
    SLUICE_TRY(name_moment(weigh->importance, index, SLUICE_IMPORTANCE_EXPERT_INNER,
                           sluice_moment_set(room->inner, room->products, DAMPING, &detail),
                           &detail, err));
    *inner = weights_of(room->inner);
    return SLUICE_OK;
}
