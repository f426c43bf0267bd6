/* See convert_mix.h. */
#include "format/convert_mix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/convert_pack.h"
#include "format/convert_weigh.h"

#define SAMPLES 8 /* experts of a layer, a panel of rows of each matrix */
#define LINE_BYTES 64
#define PARTS 3
enum { GATE, UP, DOWN };

const uint8_t sluice_mix_bits[SLUICE_MIX_LEVELS] = {2, 3, 4, 5, 6, 8};

/* The best step up from a level: what it removes for each bit. False: no step within `room` bits
 * removes anything. */
static bool best_step(const double *errors, int32_t level, double room, int32_t *to, double *gain)
{
    *gain = 0;
    for (int32_t next = level + 1; next < SLUICE_MIX_LEVELS; next++) {
        double bits = sluice_mix_bits[next] - sluice_mix_bits[level];
        double each = (errors[level] - errors[next]) / bits;
        if (bits > room || !(each > *gain)) continue;
        *gain = each;
        *to = next;
    }
    return *gain > 0;
}

void sluice_mix_allocate(const double *errors, int32_t count, double mean, int32_t *levels)
{
    double room = (mean - sluice_mix_bits[0]) * count + 1e-9;
    memset(levels, 0, (size_t)count * sizeof *levels);
    for (;;) {
        int32_t best = -1, best_to = 0;
        double best_gain = 0;
        for (int32_t i = 0; i < count; i++) {
            int32_t to = 0;
            double gain;
            if (!best_step(errors + (ptrdiff_t)i * SLUICE_MIX_LEVELS, levels[i], room, &to, &gain))
                continue;
            if (best >= 0 && !(gain > best_gain)) continue;
            best = i;
            best_to = to;
            best_gain = gain;
        }
        if (best < 0) return;
        room -= sluice_mix_bits[best_to] - sluice_mix_bits[levels[best]];
        levels[best] = best_to;
    }
}

typedef struct mixer {
    const sluice_source *source;
    sluice_target to;
    sluice_weigh *weigh;
    sluice_weigh_room room;
    void *scratch, *packed; /* of a panel */
    float *exact, *rounded; /* [rows, cols] of it */
    float *check;           /* [2, cols] */
    double stream;          /* mean square of what experts have added to the stream so far */
} mixer;

static void *lines(size_t bytes)
{
    return aligned_alloc(LINE_BYTES, (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
}

static sluice_status new_mixer(mixer *m, const sluice_importance *importance, sluice_error *err)
{
    const sluice_config *config = &m->source->config;
    const sluice_weight_format widest = {.kind = SLUICE_WEIGHT_F32, .bits = 32};
    size_t scratch = 0, cols = 0;
    for (int part = 0; part < PARTS; part++) {
        const sluice_source_matrix *from = sluice_source_expert(m->source, 0, 0, part);
        sluice_target to = {.bits = 8, .group = m->to.group};
        size_t bytes =
            sluice_pack_scratch(from, sluice_target_choose(from, to, false), SLUICE_PANEL_ROWS);
        if (scratch < bytes) scratch = bytes;
        if (cols < (size_t)from->cols) cols = (size_t)from->cols;
    }
    m->scratch = lines(scratch);
    m->packed = lines(sluice_weight_panel_bytes(widest, (int32_t)cols));
    m->exact = malloc(cols * SLUICE_PANEL_ROWS * sizeof *m->exact);
    m->rounded = malloc(cols * SLUICE_PANEL_ROWS * sizeof *m->rounded);
    m->check = malloc(2 * cols * sizeof *m->check);
    if (!m->scratch || !m->packed || !m->exact || !m->rounded || !m->check)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to choose a mix of bits");
    SLUICE_TRY(sluice_weigh_new(importance, config, 1, &m->weigh, err));
    return sluice_weigh_room_new(m->weigh, &m->room, err);
}

static void free_mixer(mixer *m)
{
    free(m->scratch);
    free(m->packed);
    free(m->exact);
    free(m->rounded);
    free(m->check);
    sluice_weigh_room_free(&m->room);
    sluice_weigh_free(m->weigh);
}

/* Rows of one panel in a format, as floats. */
static sluice_status read_panel(mixer *m, const sluice_source_matrix *from, int32_t row,
                                int32_t rows, sluice_weight_format format,
                                const sluice_fit_weights *weights, const char *name, float *out,
                                sluice_error *err)
{
    SLUICE_TRY(sluice_pack_rows(m->source->files, from, format, weights, NULL, row, rows, name,
                                m->scratch, m->packed, err));
    sluice_weight panel = {format, rows, from->cols, m->packed, NULL};
    for (int32_t i = 0; i < rows; i++)
        sluice_weight_unpack_row(&panel, i, out + (ptrdiff_t)i * from->cols);
    return SLUICE_OK;
}

/* Adds a panel of one expert's matrix: errors [levels], and what the rows make of their inputs. */
static sluice_status add_panel(mixer *m, int32_t layer, int32_t expert, int part, int32_t sample,
                               const sluice_fit_weights *weights, double *errors, double *energy,
                               sluice_error *err)
{
    const sluice_source_matrix *from = sluice_source_expert(m->source, layer, expert, part);
    int32_t panels = (from->rows + SLUICE_PANEL_ROWS - 1) / SLUICE_PANEL_ROWS;
    int32_t row = sample % panels * SLUICE_PANEL_ROWS;
    int32_t rows = from->rows - row < SLUICE_PANEL_ROWS ? from->rows - row : SLUICE_PANEL_ROWS;
    char name[64];
    snprintf(name, sizeof name, "layer %d, expert %d, matrix %d", layer, expert, part);
    SLUICE_TRY(read_panel(m, from, row, rows, from->format, NULL, name, m->exact, err));
    for (int32_t i = 0; i < rows; i++)
        *energy +=
            sluice_fit_square(weights, from->cols, m->exact + (ptrdiff_t)i * from->cols, m->check);
    for (int level = 0; level < SLUICE_MIX_LEVELS; level++) {
        sluice_target to = {.bits = sluice_mix_bits[level], .group = m->to.group};
        SLUICE_TRY(read_panel(m, from, row, rows, sluice_target_choose(from, to, false), weights,
                              name, m->rounded, err));
        for (int32_t i = 0; i < rows * from->cols; i++)
            m->rounded[i] = m->exact[i] - m->rounded[i];
        for (int32_t i = 0; i < rows; i++)
            errors[level] += sluice_fit_square(weights, from->cols,
                                               m->rounded + (ptrdiff_t)i * from->cols, m->check);
    }
    return SLUICE_OK;
}

/* errors: [3][levels], mean squares as a share of what the experts of this layer and of those
 * before it add to the stream: later layers see it normalised, and it grows, so that the same error
 * weighs less the later it is made. */
static sluice_status measure_layer(mixer *m, int32_t layer, double *errors, sluice_error *err)
{
    const sluice_config *config = &m->source->config;
    int32_t samples = config->experts < SAMPLES ? config->experts : SAMPLES;
    double energy[PARTS] = {0};
    sluice_fit_weights shared, weights[2];
    SLUICE_TRY(sluice_weigh_layer(m->weigh, layer, &shared, err));
    for (int32_t i = 0; i < samples; i++) {
        int32_t expert = (int32_t)((int64_t)i * config->experts / samples);
        SLUICE_TRY(sluice_weigh_expert(m->weigh, layer, expert, &shared, &m->room, &weights[0],
                                       &weights[1], err));
        for (int part = 0; part < PARTS; part++)
            SLUICE_TRY(add_panel(m, layer, expert, part, i, &weights[part / 2],
                                 errors + part * SLUICE_MIX_LEVELS, &energy[part], err));
    }
    m->stream += energy[DOWN];
    for (int part = 0; part < PARTS; part++)
        for (int level = 0; level < SLUICE_MIX_LEVELS && energy[part] > 0 && m->stream > 0; level++)
            errors[part * SLUICE_MIX_LEVELS + level] *= energy[DOWN] / m->stream / energy[part];
    return SLUICE_OK;
}

sluice_status sluice_mix_choose(const sluice_source *source, const sluice_importance *importance,
                                sluice_target to, uint8_t *bits, sluice_error *err)
{
    mixer m = {.source = source, .to = to};
    const sluice_config *config = &source->config;
    int32_t count = config->layers * PARTS, floor = 0;
    double *errors = calloc((size_t)count * SLUICE_MIX_LEVELS, sizeof *errors);
    int32_t *levels = calloc((size_t)count, sizeof *levels);
    sluice_status status =
        errors && levels ? new_mixer(&m, importance, err)
                         : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to choose a mix of bits");
    for (int32_t layer = 0; layer < config->layers && status == SLUICE_OK; layer++)
        status =
            measure_layer(&m, layer, errors + (ptrdiff_t)layer * PARTS * SLUICE_MIX_LEVELS, err);
    if (status == SLUICE_OK) {
        while (floor + 1 < SLUICE_MIX_LEVELS && sluice_mix_bits[floor + 1] <= to.mix)
            floor++;
        sluice_mix_allocate(errors, count, to.mix, levels);
        for (int32_t i = 0; i < (config->layers + config->mtp_layers) * PARTS; i++)
            bits[i] = sluice_mix_bits[i < count ? levels[i] : floor];
    }
    free_mixer(&m);
    free(errors);
    free(levels);
    return status;
}
