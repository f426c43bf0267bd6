/* Sampling as requests ask for it; see sampling.h. */
#include "server/sampling.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

const char *const server_sampling_names[] = {
    "temperature",        "top_p", "min_p", "top_k", "presence_penalty", "frequency_penalty",
    "repetition_penalty", "seed",  NULL};

void server_sampling_read(const server_fields *fields, server_sampling *out)
{
    *out = (server_sampling){NAN, NAN, NAN, NAN, NAN, NAN, -1, -1};
    server_field_number(fields, "temperature", 0, 2, &out->temperature);
    server_field_number(fields, "top_p", 0, 1, &out->top_p);
    server_field_number(fields, "min_p", 0, 1, &out->min_p);
    server_field_number(fields, "presence_penalty", -2, 2, &out->presence);
    server_field_number(fields, "frequency_penalty", -2, 2, &out->frequency);
    server_field_number(fields, "repetition_penalty", 0.01, 100, &out->repetition);
    server_field_integer(fields, "top_k", 0, INT32_MAX, &out->top_k);
    server_field_integer(fields, "seed", 0, INT64_MAX, &out->seed);
    if (out->top_p == 0) out->top_p = 1e-6; /* the likeliest alone */
}

static void set(float *to, double asked)
{
    if (!isnan(asked)) *to = (float)asked;
}

sluice_sampling server_sampling_resolve(const server_sampling *asked, sluice_sampling base)
{
    if (asked->temperature == 0) base = sluice_sampling_greedy();
    set(&base.temperature, asked->temperature);
    set(&base.top_p, asked->top_p);
    set(&base.min_p, asked->min_p);
    set(&base.presence_penalty, asked->presence);
    set(&base.frequency_penalty, asked->frequency);
    set(&base.repetition_penalty, asked->repetition);
    if (asked->top_k >= 0) base.top_k = (int32_t)asked->top_k;
    base.seed = (uint64_t)asked->seed;
    if (asked->seed < 0 && getrandom(&base.seed, sizeof base.seed, 0) != sizeof base.seed)
        base.seed = (uint64_t)time(NULL);
    return base;
}

static void add_stop(const server_fields *fields, const char *name, json_t *value,
                     server_job_request *out)
{
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        strlen(json_string_value(value)) != json_string_length(value)) {
        server_field_refuse(fields, name, "must hold strings that are not empty");
        return;
    }
    if (out->n_stops == SERVER_STOPS_MAX) {
        server_field_refuse(fields, name, "holds more than %d strings", SERVER_STOPS_MAX);
        return;
    }
    char *stop = strdup(json_string_value(value));
    if (!stop)
        server_error_set(fields->err, 503, "overloaded", NULL, "no memory for the request");
    else
        out->stops[out->n_stops++] = stop;
}

void server_stops_read(const server_fields *fields, const char *name, server_job_request *out)
{
    json_t *value = server_field(fields, name), *item;
    size_t i;
    if (!value) return;
    if (!json_is_array(value)) {
        add_stop(fields, name, value, out);
        return;
    }
    json_array_foreach(value, i, item) add_stop(fields, name, item, out);
}
