/* Measuring importances (see sluice/importance.h; the file is format/importance.h).
 *
 * An observer of the backend gets every row that enters a matrix. All matrices that read the same
 * rows share a sum, which the first of them is the key of. The sums of experts are per expert. */
#include "sluice/importance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/engine.h"
#include "eval/importance_file.h"
#include "eval/moments.h"
#include "eval/windows.h"

#define BLOCK_DEFAULT 512
#define EXPERT_BLOCK_DEFAULT 128
#define EXPERT_IN_BYTES ((uint64_t)1 << 30) /* by default not more for what enters experts */

/* A matrix whose input is measured. */
typedef struct input {
    const sluice_weight *reader;
    float *sum;
    int32_t cols, block;
} input;

typedef struct measure {
    sluice_engine *engine;
    const sluice_config *config;
    sluice_importance_sums sums;
    input *inputs; /* in the order in which a step meets them */
    int32_t input_count, next;
    float *scaled; /* [chunk, widest]: rows times their share */
} measure;

static sluice_importance_blocks blocks_of(const sluice_engine *engine,
                                          const sluice_importance_options *options)
{
    const sluice_config *config = engine->model->config;
    sluice_importance_blocks blocks = {
        options->block ? options->block : BLOCK_DEFAULT,
        options->expert_block ? options->expert_block : EXPERT_BLOCK_DEFAULT, options->expert_in};
    if (blocks.expert_in) return blocks;
    int64_t shape[2];
    blocks.expert_in = BLOCK_DEFAULT;
    sluice_importance_shape(config, &blocks, 0, SLUICE_IMPORTANCE_EXPERT_IN, shape);
    uint64_t bytes = (uint64_t)shape[0] * (uint64_t)shape[1] * (uint64_t)config->layers * 4;
    if (bytes > EXPERT_IN_BYTES) blocks.expert_in = 1;
    return blocks;
}

uint64_t sluice_importance_bytes(const sluice_engine *engine,
                                 const sluice_importance_options *options)
{
    const sluice_importance_blocks blocks = blocks_of(engine, options);
    return sluice_importance_floats(engine->model->config, &blocks) * sizeof(float);
}

static void add_input(measure *m, const sluice_weight *reader, int32_t layer,
                      sluice_importance_place place)
{
    int64_t shape[2];
    sluice_importance_shape(m->config, &m->sums.blocks, layer, place, shape);
    m->inputs[m->input_count++] = (input){reader, sluice_importance_sum(&m->sums, layer, place),
                                          reader->cols, (int32_t)shape[1]};
}

static void list_inputs(measure *m)
{
    const sluice_model *model = m->engine->model;
    for (int32_t i = 0; i < m->config->layers; i++) {
        const sluice_model_layer *layer = &model->layers[i];
        bool attention = layer->mixer == SLUICE_MIXER_ATTENTION;
        add_input(m, attention ? &layer->attention.q : &layer->gdn.qkv, i,
                  SLUICE_IMPORTANCE_MIXER_IN);
        add_input(m, attention ? &layer->attention.o : &layer->gdn.out, i,
                  SLUICE_IMPORTANCE_MIXER_OUT);
        add_input(m, &layer->router.router, i, SLUICE_IMPORTANCE_MOE_IN);
    }
    add_input(m, &model->head, 0, SLUICE_IMPORTANCE_HEAD_IN);
}

/* Matrices come in the order of the list, again and again. */
static void on_matrix(void *context, const sluice_weight *w, int32_t n, const float *x)
{
    measure *m = context;
    for (int32_t i = 0; i < m->input_count; i++) {
        int32_t at = m->next + i < m->input_count ? m->next + i : m->next + i - m->input_count;
        const input *in = &m->inputs[at];
        if (in->reader != w) continue;
        sluice_moments_add(m->engine->pool, n, in->cols, in->block, x, in->sum);
        m->next = at;
        return;
    }
}

/* Rows times their share in the sum of the layer: an error in what they become counts so. */
static void scale_rows(measure *m, int32_t n, int32_t cols, const float *x, const float *shares,
                       const int32_t *slots)
{
    for (int32_t i = 0; i < n; i++) {
        float share = shares[slots ? slots[i] : i];
        for (int32_t c = 0; c < cols; c++)
            m->scaled[(ptrdiff_t)i * cols + c] = share * x[(ptrdiff_t)i * cols + c];
    }
}

static int32_t shared_layer(const measure *m, const sluice_expert_weights *w)
{
    for (int32_t i = 0; i < m->config->layers; i++)
        if (w == &m->engine->model->layers[i].shared.expert) return i;
    return -1;
}

static void on_expert(void *context, const sluice_expert_weights *w, int32_t n, const float *x,
                      const float *inner, const float *shares, const int32_t *slots)
{
    measure *m = context;
    const sluice_config *config = m->config;
    sluice_pool *pool = m->engine->pool;
    if (!slots) {
        int32_t layer = shared_layer(m, w), width = config->shared_width;
        int32_t block = m->sums.blocks.block < width ? m->sums.blocks.block : width;
        if (layer < 0) return;
        scale_rows(m, n, width, inner, shares, slots);
        sluice_moments_add(pool, n, width, block, m->scaled,
                           sluice_importance_sum(&m->sums, layer, SLUICE_IMPORTANCE_SHARED_INNER));
        return;
    }
    int32_t width = config->expert_width, hidden = config->hidden;
    int32_t block = m->sums.blocks.expert_block < width ? m->sums.blocks.expert_block : width;
    int32_t in_block = m->sums.blocks.expert_in < hidden ? m->sums.blocks.expert_in : hidden;
    float *rows = sluice_importance_sum(&m->sums, w->layer, SLUICE_IMPORTANCE_EXPERT_ROWS);
    float *in = sluice_importance_sum(&m->sums, w->layer, SLUICE_IMPORTANCE_EXPERT_IN);
    float *products = sluice_importance_sum(&m->sums, w->layer, SLUICE_IMPORTANCE_EXPERT_INNER);
    rows[w->id] += (float)n;
    in += (ptrdiff_t)w->id * hidden * in_block;
    scale_rows(m, n, hidden, x, shares, slots);
    if (in_block > 1) sluice_moments_add(pool, n, hidden, in_block, m->scaled, in);
    for (int32_t i = 0; in_block == 1 && i < n; i++)
        for (int32_t c = 0; c < hidden; c++) {
            float value = m->scaled[(ptrdiff_t)i * hidden + c];
            in[c] += value * value;
        }
    scale_rows(m, n, width, inner, shares, slots);
    sluice_moments_add(pool, n, width, block, m->scaled,
                       products + (ptrdiff_t)w->id * width * block);
}

static sluice_status ignore_row(void *context, const sluice_window_row *row, sluice_error *err)
{
    (void)context;
    (void)row;
    (void)err;
    return SLUICE_OK;
}

/* Sums become means over the tokens, and square blocks get their left halves. */
static void finish(measure *m, int64_t tokens)
{
    const sluice_config *config = m->config;
    float scale = 1.0f / (float)tokens;
    for (int32_t i = 0; i < m->input_count; i++)
        sluice_moments_finish(m->inputs[i].cols, m->inputs[i].block, scale, m->inputs[i].sum);
    for (int32_t layer = 0; layer < config->layers; layer++) {
        int64_t shape[2];
        float *in = sluice_importance_sum(&m->sums, layer, SLUICE_IMPORTANCE_EXPERT_IN);
        sluice_importance_shape(config, &m->sums.blocks, layer, SLUICE_IMPORTANCE_EXPERT_IN, shape);
        for (int32_t e = 0; e < config->experts; e++)
            sluice_moments_finish(config->hidden, (int32_t)shape[1], scale,
                                  in + (int64_t)e * config->hidden * shape[1]);
        sluice_importance_shape(config, &m->sums.blocks, layer, SLUICE_IMPORTANCE_SHARED_INNER,
                                shape);
        if (config->shared_width)
            sluice_moments_finish(
                config->shared_width, (int32_t)shape[1], scale,
                sluice_importance_sum(&m->sums, layer, SLUICE_IMPORTANCE_SHARED_INNER));
        sluice_importance_shape(config, &m->sums.blocks, layer, SLUICE_IMPORTANCE_EXPERT_INNER,
                                shape);
        float *inner = sluice_importance_sum(&m->sums, layer, SLUICE_IMPORTANCE_EXPERT_INNER);
        for (int32_t e = 0; e < config->experts; e++)
            sluice_moments_finish(config->expert_width, (int32_t)shape[1], scale,
                                  inner + (int64_t)e * config->expert_width * shape[1]);
    }
}

static void describe(const measure *m, const sluice_windows *windows,
                     sluice_importance_report *report)
{
    const sluice_config *config = m->config;
    *report = (sluice_importance_report){.windows = windows->count,
                                         .tokens = (int64_t)windows->count * windows->window,
                                         .bytes = m->sums.floats * sizeof(float),
                                         .experts = config->layers * config->experts,
                                         .rows_min = HUGE_VAL};
    for (int32_t layer = 0; layer < config->layers; layer++) {
        const float *rows = sluice_importance_sum(&m->sums, layer, SLUICE_IMPORTANCE_EXPERT_ROWS);
        for (int32_t e = 0; e < config->experts; e++) {
            report->unseen += rows[e] == 0.0f;
            report->rows_mean += (double)rows[e] / report->experts;
            if ((double)rows[e] < report->rows_min) report->rows_min = (double)rows[e];
        }
    }
}

static sluice_status prepare(measure *m, const sluice_importance_options *options,
                             sluice_error *err)
{
    const sluice_config *config = m->config;
    const sluice_importance_blocks blocks = blocks_of(m->engine, options);
    uint64_t bytes = sluice_importance_bytes(m->engine, options);
    int32_t widest = config->hidden > config->shared_width ? config->hidden : config->shared_width;
    if (widest < config->expert_width) widest = config->expert_width;
    SLUICE_TRY(sluice_importance_blocks_check(&blocks, err));
    if (options->bytes_max && bytes > options->bytes_max)
        return sluice_fail(err, SLUICE_LIMIT,
                           "the sums of blocks of %d, %d and %d columns need %.2f GB, more than "
                           "%.2f GB; smaller blocks need less",
                           blocks.block, blocks.expert_block, blocks.expert_in, (double)bytes / 1e9,
                           (double)options->bytes_max / 1e9);
    m->inputs = calloc((size_t)config->layers * 3 + 1, sizeof *m->inputs);
    m->scaled = malloc((size_t)m->engine->sizes.chunk * (size_t)widest * sizeof *m->scaled);
    if (!m->inputs || !m->scaled)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to measure importances");
    SLUICE_TRY(sluice_importance_sums_new(config, &blocks, &m->sums, err));
    list_inputs(m);
    return SLUICE_OK;
}

sluice_status sluice_importance_measure(sluice_engine *engine, const char *const *paths, int32_t n,
                                        const sluice_importance_options *options, const char *file,
                                        sluice_importance_report *report, sluice_error *err)
{
    measure m = {.engine = engine, .config = engine->model->config};
    sluice_windows windows = {0};
    const sluice_observer observer = {&m, on_matrix, on_expert};
    sluice_status status = sluice_windows_load(engine, paths, n, &options->text, &windows, err);
    if (status == SLUICE_OK) status = prepare(&m, options, err);
    if (status == SLUICE_OK) {
        engine->backend->observer = &observer;
        status = sluice_windows_run(engine, &windows, &options->text, ignore_row, NULL, err);
        engine->backend->observer = NULL;
    }
    if (status == SLUICE_OK) {
        int64_t tokens = (int64_t)windows.count * windows.window;
        finish(&m, tokens);
        status = sluice_importance_save(&m.sums, engine->info.name, tokens, file, err);
    }
    if (status == SLUICE_OK && report) describe(&m, &windows, report);
    sluice_importance_sums_free(&m.sums);
    sluice_windows_free(&windows);
    free(m.inputs);
    free(m.scaled);
    return status;
}
