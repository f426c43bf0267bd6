/* Traces of routing (see sluice/routes.h). */
#include "sluice/routes.h"

#include <stdlib.h>

#include "base/status.h"
#include "experts/policy.h"
#include "experts/replay.h"
#include "os/file.h"

#define TRACE_BYTES_MAX ((size_t)1 << 32)
#define NUMBER_MAX 100000 /* of a layer or an expert */

struct sluice_routes {
    sluice_routes_info info;
    int32_t *layers; /* [steps] */
    int64_t *starts; /* [steps + 1] */
    int32_t *keys;   /* [requests] */
};

/* A number and the blanks after it; false if there is none. */
static bool read_number(const char **text, int32_t *value)
{
    int64_t number = 0;
    const char *at = *text;
    for (; *at >= '0' && *at <= '9' && number <= NUMBER_MAX; at++)
        number = number * 10 + (*at - '0');
    if (at == *text || number > NUMBER_MAX) return false;
    while (*at == ' ' || *at == '\t' || *at == '\r')
        at++;
    *text = at;
    *value = (int32_t)number;
    return true;
}

static bool read_line(sluice_routes *routes, const char **text)
{
    sluice_routes_info *info = &routes->info;
    int32_t value;
    if (!read_number(text, &value)) return false;
    if (value >= info->layers) info->layers = value + 1;
    routes->layers[info->steps] = value;
    while (**text && **text != '\n') {
        if (!read_number(text, &value)) return false;
        if (value >= info->experts) info->experts = value + 1;
        routes->keys[info->requests++] = value;
    }
    *text += **text == '\n';
    routes->starts[++info->steps] = info->requests;
    return true;
}

/* Keys over all layers, once it is known how many experts there are. */
static void number_keys(sluice_routes *routes)
{
    for (int32_t step = 0; step < routes->info.steps; step++)
        for (int64_t i = routes->starts[step]; i < routes->starts[step + 1]; i++)
            routes->keys[i] += routes->layers[step] * routes->info.experts;
}

static sluice_status read_all(sluice_routes *routes, const char *path, const char *text,
                              size_t bytes, sluice_error *err)
{
    /* Numbers and line ends never outnumber the characters of the text. */
    routes->layers = malloc((bytes + 1) * sizeof *routes->layers);
    routes->starts = malloc((bytes + 2) * sizeof *routes->starts);
    routes->keys = malloc((bytes + 1) * sizeof *routes->keys);
    if (!routes->layers || !routes->starts || !routes->keys)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the trace", path);
    routes->starts[0] = 0;
    while (*text)
        if (routes->info.steps == INT32_MAX || !read_line(routes, &text))
            return sluice_fail(err, SLUICE_BAD_INPUT,
                               "%s: line %d is not a layer and its experts, numbers up to %d", path,
                               routes->info.steps + 1, NUMBER_MAX);
    if ((int64_t)routes->info.layers * routes->info.experts > INT32_MAX)
        return sluice_fail(err, SLUICE_LIMIT, "%s: %d layers of %d experts are too many", path,
                           routes->info.layers, routes->info.experts);
    number_keys(routes);
    return SLUICE_OK;
}

sluice_status sluice_routes_load(const char *path, sluice_routes **out, sluice_error *err)
{
    char *text;
    size_t bytes;
    SLUICE_TRY(sluice_file_load(path, TRACE_BYTES_MAX, &text, &bytes, err));
    sluice_routes *routes = calloc(1, sizeof *routes);
    sluice_status status = routes ? read_all(routes, path, text, bytes, err)
                                  : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a trace");
    free(text);
    if (status == SLUICE_OK)
        *out = routes;
    else
        sluice_routes_free(routes);
    return status;
}

void sluice_routes_free(sluice_routes *routes)
{
    if (!routes) return;
    free(routes->layers);
    free(routes->starts);
    free(routes->keys);
    free(routes);
}

sluice_routes_info sluice_routes_describe(const sluice_routes *routes)
{
    return routes->info;
}

sluice_status sluice_routes_replay(const sluice_routes *routes, const char *policy, int32_t slots,
                                   int32_t first, int64_t *requests, int64_t *hits,
                                   sluice_error *err)
{
    const sluice_trace trace = {routes->info.steps, routes->info.layers * routes->info.experts,
                                routes->starts, routes->keys, routes->info.experts};
    sluice_cache_replay_result result;
    SLUICE_TRY(sluice_cache_replay(&trace, policy, slots, first, &result, err));
    *requests = (int64_t)result.requests;
    *hits = (int64_t)result.hits;
    return SLUICE_OK;
}

const char *const *sluice_cache_policies(void)
{
    return sluice_cache_policy_names();
}
