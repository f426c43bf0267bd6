/* Strict reading of JSON objects; see fields.h. */
#include "server/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void place(const server_fields *fields, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", fields->path, fields->path[0] && name[0] ? "." : "", name);
}

bool server_field_refuse(const server_fields *fields, const char *name, const char *format, ...)
{
    char at[96], why[512];
    va_list args;
    place(fields, name, at, sizeof at);
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return server_error_set(fields->err, 400, NULL, at, "%s %s", at, why);
}

server_fields server_fields_of(json_t *value, const char *path, server_error *err)
{
    server_fields fields = {value, path, err};
    if (!json_is_object(value)) {
        server_error_set(err, 400, NULL, path, "%s must be an object",
                         path[0] ? path : "the request");
        fields.object = NULL;
    }
    return fields;
}

json_t *server_field(const server_fields *fields, const char *name)
{
    json_t *value = fields->err->status ? NULL : json_object_get(fields->object, name);
    return json_is_null(value) ? NULL : value;
}

void server_field_number(const server_fields *fields, const char *name, double min, double max,
                         double *out)
{
    json_t *value = server_field(fields, name);
    if (!value) return;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= min && number <= max))
        server_field_refuse(fields, name, "must be a number from %g to %g", min, max);
    else
        *out = number;
}

void server_field_integer(const server_fields *fields, const char *name, int64_t min, int64_t max,
                          int64_t *out)
{
    json_t *value = server_field(fields, name);
    if (!value) return;
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value))
        server_field_refuse(fields, name, "must be a whole number");
    else if (number < min || number > max)
        server_field_refuse(fields, name, "must be from %lld to %lld", (long long)min,
                            (long long)max);
    else
        *out = number;
}

void server_field_bool(const server_fields *fields, const char *name, bool *out)
{
    json_t *value = server_field(fields, name);
    if (!value) return;
    if (!json_is_boolean(value))
        server_field_refuse(fields, name, "must be true or false");
    else
        *out = json_is_true(value);
}

void server_field_string(const server_fields *fields, const char *name, const char **out)
{
    json_t *value = server_field(fields, name);
    if (!value) return;
    if (!json_is_string(value))
        server_field_refuse(fields, name, "must be a string");
    else if (strlen(json_string_value(value)) != json_string_length(value))
        server_field_refuse(fields, name, "must not contain NUL");
    else
        *out = json_string_value(value);
}

json_t *server_field_array(const server_fields *fields, const char *name)
{
    json_t *value = server_field(fields, name);
    if (!value || json_is_array(value)) return value;
    server_field_refuse(fields, name, "must be an array");
    return NULL;
}

json_t *server_field_object(const server_fields *fields, const char *name)
{
    json_t *value = server_field(fields, name);
    if (!value || json_is_object(value)) return value;
    server_field_refuse(fields, name, "must be an object");
    return NULL;
}

static bool listed(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name)) return true;
    return false;
}

void server_fields_only(const server_fields *fields, const char *const *names,
                        const char *const *more)
{
    const char *name;
    json_t *value;
    if (fields->err->status) return;
    json_object_foreach(fields->object, name, value)
    {
        if (listed(names, name) || listed(more, name)) continue;
        server_field_refuse(fields, name, "is not supported");
        return;
    }
}

void server_field_only_value(const server_fields *fields, const char *name, json_t *value)
{
    json_t *given = server_field(fields, name);
    if (given && !json_equal(given, value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        server_field_refuse(fields, name, "is supported only as %s", text ? text : "its default");
        free(text);
    }
    json_decref(value);
}
