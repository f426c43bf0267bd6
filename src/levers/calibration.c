/* The sums of a calibration in memory (see calibration.h). */
#include "levers/calibration.h"

#include <math.h>
#include <stdlib.h>

float sluice_calibration_mass(int32_t i)
{
    return (float)(i + 1) / (float)(SLUICE_CALIBRATION_MASSES + 1);
}

/* One block: | layers | by_k of all layers | by_mass | gate | uses | */
sluice_status sluice_calibration_new(int32_t layers, int32_t experts, int32_t top_k,
                                     sluice_calibration **out, sluice_error *err)
{
    size_t n = (size_t)layers, ks = (size_t)top_k + 1, masses = SLUICE_CALIBRATION_MASSES;
    size_t bytes = sizeof(sluice_calibration) + n * sizeof(sluice_calibration_layer) +
                   n * ((ks + masses) * sizeof(sluice_calibration_choice) +
                        (size_t)top_k * sizeof(double) + (size_t)experts * sizeof(int64_t));
    sluice_calibration *c = calloc(1, bytes);
    if (!c) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a calibration");
    c->layers = layers;
    c->experts = experts;
    c->top_k = top_k;
    sluice_calibration_choice *choices = (sluice_calibration_choice *)(void *)(c->layer + n);
    double *gates = (double *)(void *)(choices + n * (ks + masses));
    int64_t *uses = (int64_t *)(void *)(gates + n * (size_t)top_k);
    for (size_t i = 0; i < n; i++) {
        sluice_calibration_layer *layer = &c->layer[i];
        layer->by_k = choices + i * (ks + masses);
        layer->by_mass = layer->by_k + ks;
        layer->gate = gates + i * (size_t)top_k;
        layer->uses = uses + i * (size_t)experts;
        for (size_t j = 0; j < ks + masses; j++)
            layer->by_k[j].effect = -1;
    }
    *out = c;
    return SLUICE_OK;
}

void sluice_calibration_free(sluice_calibration *calibration)
{
    free(calibration);
}

double sluice_calibration_gain(const sluice_calibration_choice *choice)
{
    double gain = choice->part_squared > 0 ? choice->dot / choice->part_squared : 0;
    return gain > 0 ? fmin(gain, SLUICE_GAIN_MAX) : 0;
}

double sluice_calibration_gain_error(const sluice_calibration_layer *layer,
                                     const sluice_calibration_choice *choice)
{
    double gain = sluice_calibration_gain(choice);
    /* Without experts the error is all that they add. */
    double left =
        layer->by_k[0].error_squared - gain * (2 * choice->dot - gain * choice->part_squared);
    return left > 0 ? left : 0;
}

double sluice_calibration_tokens(const sluice_calibration *c)
{
    return (double)c->windows_done * c->window;
}

double sluice_calibration_pairs(const sluice_calibration *c)
{
    return (double)c->windows_done * (c->window - 1);
}

double sluice_calibration_effect_tokens(const sluice_calibration *c)
{
    return (double)c->effects_done * c->effect_window;
}
