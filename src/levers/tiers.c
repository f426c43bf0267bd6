/* Three tiers, or a file of rules (see tiers.h). */
#include "levers/tiers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "os/file.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)

typedef struct tiers {
    const char *name;
    double skip_above, light_above;
    double light_share, full_share; /* of the model's k */
} tiers;

/* The first are the published thresholds and ks (2 and 5 of 10). */
static const tiers named[] = {{"aggressive", 0.995, 0.98, 0.2, 0.5},
                              {"balanced", 0.999, 0.99, 0.5, 1.0}};

static const tiers *find(const char *name)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!strcmp(named[i].name, name)) return &named[i];
    return NULL;
}

bool sluice_tiers_named(const char *name)
{
    return find(name) != NULL;
}

static int32_t k_of(int32_t wanted, double share, int32_t top_k)
{
    int32_t k = wanted > 0 ? wanted : (int32_t)lround(share * top_k);
    return k < 1 ? 1 : k > top_k ? top_k : k;
}

sluice_status sluice_tiers_cut(const sluice_levers *levers, const sluice_calibration *c,
                               sluice_policy_rule *rules, sluice_error *err)
{
    const tiers *t = find(levers->tiers);
    double skip = levers->skip_above > 0 ? (double)levers->skip_above : t->skip_above;
    double light = levers->light_above > 0 ? (double)levers->light_above : t->light_above;
    int32_t light_k = k_of(levers->light_k, t->light_share, c->top_k);
    int32_t full_k = k_of(levers->full_k, t->full_share, c->top_k);
    if (light > skip || light_k > full_k)
        return sluice_fail(err, SLUICE_USAGE,
                           "tiers that run %d experts above a cosine of %g, none above %g and %d "
                           "below contradict each other",
                           light_k, light, skip, full_k);
    double tokens = sluice_calibration_tokens(c);
    for (int32_t i = 0; i < c->layers; i++) {
        double cosine = c->layer[i].by_k[0].cosine_stream / tokens;
        rules[i] = (sluice_policy_rule){cosine > skip    ? 0
                                        : cosine > light ? light_k
                                                         : full_k,
                                        1, 0};
    }
    return SLUICE_OK;
}

/* An array of a number for each layer, which must be there if it is required; NULL: it is not. */
static sluice_status get_list(const json_t *root, const char *key, bool required, const char *name,
                              int32_t layers, const json_t **list, sluice_error *err)
{
    *list = sluice_jansson_get(root, key);
    if (!*list && !required) return SLUICE_OK;
    if (json_is_array(*list) && json_array_size(*list) == (size_t)layers) return SLUICE_OK;
    return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" must be a list of %d numbers, one a layer",
                       name, key, layers);
}

/* zero: whether the number may be that. */
static sluice_status get_number(const json_t *list, const char *key, int32_t layer, bool zero,
                                double most, const char *name, float *value, sluice_error *err)
{
    const json_t *entry = json_array_get(list, (size_t)layer);
    double number = json_number_value(entry);
    if (!json_is_number(entry) || !(number <= most && (number > 0 || (zero && number == 0))))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" of layer %d must be %s %g", name, key,
                           layer, zero ? "0 to" : "above 0 and up to", most);
    *value = (float)number;
    return SLUICE_OK;
}

static sluice_status read_rules(const json_t *root, const char *name, int32_t layers, int32_t top_k,
                                sluice_policy_rule *rules, sluice_error *err)
{
    const json_t *ks, *masses, *gains;
    SLUICE_TRY(get_list(root, "k", true, name, layers, &ks, err));
    SLUICE_TRY(get_list(root, "mass", false, name, layers, &masses, err));
    SLUICE_TRY(get_list(root, "gain", false, name, layers, &gains, err));
    for (int32_t i = 0; i < layers; i++) {
        const json_t *k = json_array_get(ks, (size_t)i);
        if (!json_is_integer(k) || json_integer_value(k) < 0 || json_integer_value(k) > top_k)
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: \"k\" of layer %d is no number of experts from 0 to %d", name,
                               i, top_k);
        rules[i] = (sluice_policy_rule){(int32_t)json_integer_value(k), 1, 0};
        if (masses) SLUICE_TRY(get_number(masses, "mass", i, false, 1, name, &rules[i].mass, err));
        if (gains)
            SLUICE_TRY(
                get_number(gains, "gain", i, true, SLUICE_GAIN_MAX, name, &rules[i].gain, err));
    }
    return SLUICE_OK;
}

sluice_status sluice_tiers_parse(const char *json, size_t bytes, const char *name, int32_t layers,
                                 int32_t top_k, sluice_policy_rule *rules, sluice_error *err)
{
    json_t *root;
    SLUICE_TRY(sluice_jansson_parse(json, bytes, name, &root, err));
    sluice_status status = read_rules(root, name, layers, top_k, rules, err);
    json_decref(root);
    return status;
}

sluice_status sluice_tiers_read(const char *path, int32_t layers, int32_t top_k,
                                sluice_policy_rule *rules, sluice_error *err)
{
    char *text;
    size_t bytes;
    SLUICE_TRY(sluice_file_load(path, FILE_BYTES_MAX, &text, &bytes, err));
    sluice_status status = sluice_tiers_parse(text, bytes, path, layers, top_k, rules, err);
    free(text);
    return status;
}
