/* A calibration as JSON (see calibration.h). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levers/calibration.h"
#include "os/file.h"

static json_t *choices_json(const sluice_calibration_choice *choices, int32_t n)
{
    json_t *loads = json_array(), *cosine = json_array(), *stream = json_array(),
           *error = json_array(), *part = json_array(), *dot = json_array(), *effect = json_array();
    for (int32_t i = 0; i < n; i++) {
        json_array_append_new(loads, json_real(choices[i].loads));
        json_array_append_new(cosine, json_real(choices[i].cosine));
        json_array_append_new(stream, json_real(choices[i].cosine_stream));
        json_array_append_new(error, json_real(choices[i].error_squared));
        json_array_append_new(part, json_real(choices[i].part_squared));
        json_array_append_new(dot, json_real(choices[i].dot));
        json_array_append_new(effect,
                              choices[i].effect < 0 ? json_null() : json_real(choices[i].effect));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "loads", loads, "cosine", cosine,
                     "cosine_stream", stream, "error_squared", error, "part_squared", part, "dot",
                     dot, "effect", effect);
}

static json_t *layer_json(const sluice_calibration *c, int32_t index)
{
    const sluice_calibration_layer *layer = &c->layer[index];
    json_t *gate = json_array(), *uses = json_array();
    for (int32_t i = 0; i < c->top_k; i++)
        json_array_append_new(gate, json_real(layer->gate[i]));
    for (int32_t i = 0; i < c->experts; i++)
        json_array_append_new(uses, json_integer(layer->uses[i]));
    return json_pack("{s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "output_squared",
                     layer->output_squared, "stream_squared", layer->stream_squared, "entropy",
                     layer->entropy, "overlap", layer->overlap, "gate", gate, "uses", uses, "by_k",
                     choices_json(layer->by_k, c->top_k + 1), "by_mass",
                     choices_json(layer->by_mass, SLUICE_CALIBRATION_MASSES));
}

static json_t *calibration_json(const sluice_calibration *c)
{
    char fingerprint[16], crc[16];
    snprintf(fingerprint, sizeof fingerprint, "%08x", c->fingerprint);
    snprintf(crc, sizeof crc, "%08x", c->text_crc);
    json_t *layers = json_array(), *masses = json_array();
    for (int32_t i = 0; i < SLUICE_CALIBRATION_MASSES; i++)
        json_array_append_new(masses, json_real((double)sluice_calibration_mass(i)));
    for (int32_t i = 0; i < c->layers; i++)
        json_array_append_new(layers, layer_json(c, i));
    return json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o}",
                     "calibration", 1, "model", c->model, "fingerprint", fingerprint, "text_crc",
                     crc, "layers", c->layers, "experts", c->experts, "top_k", c->top_k, "window",
                     c->window, "windows", c->windows, "windows_done", c->windows_done,
                     "effect_window", c->effect_window, "effect_windows", c->effect_windows,
                     "effects_done", c->effects_done, "masses", masses, "sums", layers);
}

sluice_status sluice_calibration_write(const sluice_calibration *c, const char *path,
                                       sluice_error *err)
{
    json_t *root = calibration_json(c);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to write it", path);
    sluice_status status = sluice_file_save(path, text, strlen(text), err);
    free(text);
    return status;
}
