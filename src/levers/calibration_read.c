/* Reading a calibration that anybody may have written (see calibration.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "levers/calibration.h"
#include "os/file.h"

#define FILE_BYTES_MAX ((size_t)256 << 20)
#define EXPERTS_MAX 65536
#define WINDOW_MAX (1 << 24)
#define SUM_MAX 1e300

typedef struct reader {
    const char *name; /* of the file */
    int32_t layer;
    sluice_error *err;
} reader;

static sluice_status wrong(const reader *r, const char *key, const char *what)
{
    return sluice_fail(r->err, SLUICE_CORRUPT, "%s: layer %d: \"%s\" %s", r->name, r->layer, key,
                       what);
}

static sluice_status get_array(const reader *r, const json_t *object, const char *key, int32_t n,
                               const json_t **array)
{
    *array = sluice_jansson_get(object, key);
    if (!json_is_array(*array) || json_array_size(*array) != (size_t)n)
        return wrong(r, key, "is missing or has another length");
    return SLUICE_OK;
}

/* Entry i of an array into a number of [low, SUM_MAX]. */
static sluice_status get_real(const reader *r, const json_t *array, size_t i, const char *key,
                              double low, double *value)
{
    const json_t *entry = json_array_get(array, i);
    double number = json_number_value(entry);
    if (!json_is_number(entry) || !isfinite(number) || number < low || number > SUM_MAX)
        return wrong(r, key, "holds what is not a sum");
    *value = number;
    return SLUICE_OK;
}

/* loads_max: all experts of all tokens. */
static sluice_status read_choices(const reader *r, const json_t *object, const char *key, int32_t n,
                                  double loads_max, sluice_calibration_choice *choices)
{
    const json_t *by = sluice_jansson_get(object, key), *loads, *cosine, *stream, *error, *part,
                 *dot, *effect;
    if (!json_is_object(by)) return wrong(r, key, "is missing or no object");
    SLUICE_TRY(get_array(r, by, "loads", n, &loads));
    SLUICE_TRY(get_array(r, by, "cosine", n, &cosine));
    SLUICE_TRY(get_array(r, by, "cosine_stream", n, &stream));
    SLUICE_TRY(get_array(r, by, "error_squared", n, &error));
    SLUICE_TRY(get_array(r, by, "part_squared", n, &part));
    SLUICE_TRY(get_array(r, by, "dot", n, &dot));
    SLUICE_TRY(get_array(r, by, "effect", n, &effect));
    for (size_t i = 0; i < (size_t)n; i++) {
        SLUICE_TRY(get_real(r, loads, i, "loads", 0, &choices[i].loads));
        if (choices[i].loads > loads_max) return wrong(r, "loads", "are more than all experts");
        SLUICE_TRY(get_real(r, cosine, i, "cosine", -SUM_MAX, &choices[i].cosine));
        SLUICE_TRY(get_real(r, stream, i, "cosine_stream", -SUM_MAX, &choices[i].cosine_stream));
        SLUICE_TRY(get_real(r, error, i, "error_squared", 0, &choices[i].error_squared));
        SLUICE_TRY(get_real(r, part, i, "part_squared", 0, &choices[i].part_squared));
        SLUICE_TRY(get_real(r, dot, i, "dot", -SUM_MAX, &choices[i].dot));
        if (!json_is_null(json_array_get(effect, i)))
            SLUICE_TRY(get_real(r, effect, i, "effect", 0, &choices[i].effect));
    }
    return SLUICE_OK;
}

static sluice_status read_sum(const reader *r, const json_t *object, const char *key, double *value)
{
    if (!sluice_jansson_get(object, key)) return wrong(r, key, "is missing");
    return sluice_jansson_real(object, key, r->name, 0, SUM_MAX, value, r->err);
}

static sluice_status read_layer(const reader *r, const json_t *from, sluice_calibration *c)
{
    sluice_calibration_layer *layer = &c->layer[r->layer];
    const json_t *gate, *uses;
    if (!json_is_object(from))
        return sluice_fail(r->err, SLUICE_CORRUPT, "%s: layer %d is no object", r->name, r->layer);
    SLUICE_TRY(read_sum(r, from, "output_squared", &layer->output_squared));
    SLUICE_TRY(read_sum(r, from, "stream_squared", &layer->stream_squared));
    SLUICE_TRY(read_sum(r, from, "entropy", &layer->entropy));
    SLUICE_TRY(read_sum(r, from, "overlap", &layer->overlap));
    SLUICE_TRY(get_array(r, from, "gate", c->top_k, &gate));
    for (int32_t i = 0; i < c->top_k; i++)
        SLUICE_TRY(get_real(r, gate, (size_t)i, "gate", 0, &layer->gate[i]));
    SLUICE_TRY(get_array(r, from, "uses", c->experts, &uses));
    for (int32_t i = 0; i < c->experts; i++) {
        const json_t *entry = json_array_get(uses, (size_t)i);
        if (!json_is_integer(entry) || json_integer_value(entry) < 0)
            return wrong(r, "uses", "holds what is not a count");
        layer->uses[i] = json_integer_value(entry);
    }
    double loads_max = sluice_calibration_tokens(c) * c->top_k;
    SLUICE_TRY(read_choices(r, from, "by_k", c->top_k + 1, loads_max, layer->by_k));
    return read_choices(r, from, "by_mass", SLUICE_CALIBRATION_MASSES, loads_max, layer->by_mass);
}

static sluice_status read_int(const reader *r, const json_t *root, const char *key, int64_t low,
                              int64_t high, int32_t *value)
{
    int64_t number;
    SLUICE_TRY(
        sluice_jansson_int(root, key, r->name, low, high, SLUICE_JSON_REQUIRED, &number, r->err));
    *value = (int32_t)number;
    return SLUICE_OK;
}

static sluice_status read_hex(const reader *r, const json_t *root, const char *key, uint32_t *value)
{
    const char *text;
    char *end;
    SLUICE_TRY(sluice_jansson_string(root, key, r->name, &text, r->err));
    *value = (uint32_t)strtoul(text, &end, 16);
    if (strlen(text) != 8 || *end)
        return sluice_fail(r->err, SLUICE_CORRUPT, "%s: \"%s\" is not eight hexadecimal digits",
                           r->name, key);
    return SLUICE_OK;
}

static sluice_status read_header(const reader *r, const json_t *root, sluice_calibration *c)
{
    const char *model;
    SLUICE_TRY(sluice_jansson_string(root, "model", r->name, &model, r->err));
    snprintf(c->model, sizeof c->model, "%s", model);
    SLUICE_TRY(read_hex(r, root, "fingerprint", &c->fingerprint));
    SLUICE_TRY(read_hex(r, root, "text_crc", &c->text_crc));
    SLUICE_TRY(read_int(r, root, "window", 2, WINDOW_MAX, &c->window));
    SLUICE_TRY(read_int(r, root, "windows", 1, INT32_MAX, &c->windows));
    SLUICE_TRY(read_int(r, root, "windows_done", 0, c->windows, &c->windows_done));
    SLUICE_TRY(read_int(r, root, "effect_window", 2, WINDOW_MAX, &c->effect_window));
    SLUICE_TRY(read_int(r, root, "effect_windows", 0, INT32_MAX, &c->effect_windows));
    return read_int(r, root, "effects_done", 0, c->effect_windows, &c->effects_done);
}

/* What is measured is written down in the file, so that another version's is not misread. */
static sluice_status check_masses(const reader *r, const json_t *root)
{
    const json_t *masses = sluice_jansson_get(root, "masses");
    bool same =
        json_is_array(masses) && json_array_size(masses) == (size_t)SLUICE_CALIBRATION_MASSES;
    for (size_t i = 0; same && i < SLUICE_CALIBRATION_MASSES; i++)
        same = fabs(json_number_value(json_array_get(masses, i)) -
                    (double)sluice_calibration_mass((int32_t)i)) < 1e-6;
    return same ? SLUICE_OK
                : sluice_fail(r->err, SLUICE_UNSUPPORTED,
                              "%s: made by another version (\"masses\" differ): calibrate again",
                              r->name);
}

static sluice_status read_root(reader *r, const json_t *root, sluice_calibration **out)
{
    int32_t version, layers, experts, top_k;
    SLUICE_TRY(read_int(r, root, "calibration", 1, 1, &version));
    SLUICE_TRY(read_int(r, root, "layers", 1, SLUICE_LAYERS_MAX, &layers));
    SLUICE_TRY(read_int(r, root, "experts", 1, EXPERTS_MAX, &experts));
    SLUICE_TRY(read_int(r, root, "top_k", 1, SLUICE_TOP_K_MAX, &top_k));
    SLUICE_TRY(check_masses(r, root));
    const json_t *sums = sluice_jansson_get(root, "sums");
    if (!json_is_array(sums) || json_array_size(sums) != (size_t)layers)
        return sluice_fail(r->err, SLUICE_CORRUPT, "%s: \"sums\" are not those of %d layers",
                           r->name, layers);
    /* Each layer lists its experts, or nothing is taken: no file makes more memory than its size.
     */
    for (r->layer = 0; r->layer < layers; r->layer++) {
        const json_t *uses;
        SLUICE_TRY(get_array(r, json_array_get(sums, (size_t)r->layer), "uses", experts, &uses));
    }
    SLUICE_TRY(sluice_calibration_new(layers, experts, top_k, out, r->err));
    SLUICE_TRY(read_header(r, root, *out));
    for (r->layer = 0; r->layer < layers; r->layer++)
        SLUICE_TRY(read_layer(r, json_array_get(sums, (size_t)r->layer), *out));
    return SLUICE_OK;
}

sluice_status sluice_calibration_parse(const char *json, size_t bytes, const char *name,
                                       sluice_calibration **out, sluice_error *err)
{
    reader r = {.name = name, .err = err};
    sluice_calibration *c = NULL;
    json_t *root;
    SLUICE_TRY(sluice_jansson_parse(json, bytes, name, &root, err));
    sluice_status status = read_root(&r, root, &c);
    json_decref(root);
    if (status != SLUICE_OK) {
        sluice_calibration_free(c);
        return status;
    }
    *out = c;
    return SLUICE_OK;
}

sluice_status sluice_calibration_read(const char *path, sluice_calibration **out, sluice_error *err)
{
    char *text;
    size_t bytes;
    SLUICE_TRY(sluice_file_load(path, FILE_BYTES_MAX, &text, &bytes, err));
    sluice_status status = sluice_calibration_parse(text, bytes, path, out, err);
    free(text);
    return status;
}
