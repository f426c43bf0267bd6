/* See json.h. */
#include "format/json.h"

#include <inttypes.h>
#include <math.h>

sluice_status sluice_jansson_parse(const char *text, size_t bytes, const char *file, json_t **root,
                                   sluice_error *err)
{
    json_error_t error;
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!value) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return sluice_fail(err, SLUICE_NO_MEMORY, "%s: not enough memory to read it", file);
        bool utf8 = json_error_code(&error) == json_error_invalid_utf8;
        return sluice_fail(err, SLUICE_CORRUPT, "%s: not valid %s: %s (line %d, column %d)", file,
                           utf8 ? "UTF-8" : "JSON", error.text, error.line, error.column);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return sluice_fail(err, SLUICE_CORRUPT, "%s: not a JSON object", file);
    }
    *root = value;
    return SLUICE_OK;
}

json_t *sluice_jansson_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

sluice_status sluice_jansson_int(const json_t *object, const char *key, const char *file,
                                 int64_t low, int64_t high, int64_t missing, int64_t *value,
                                 sluice_error *err)
{
    const json_t *field = sluice_jansson_get(object, key);
    if (!field) {
        if (missing == SLUICE_JSON_REQUIRED)
            return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is missing", file, key);
        *value = missing;
        return SLUICE_OK;
    }
    if (!json_is_integer(field))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is not a whole number", file, key);
    int64_t number = json_integer_value(field);
    if (number < low || number > high)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"%s\" is %" PRId64 ", outside %" PRId64 "..%" PRId64, file, key,
                           number, low, high);
    *value = number;
    return SLUICE_OK;
}

sluice_status sluice_jansson_real(const json_t *object, const char *key, const char *file,
                                  double low, double high, double *value, sluice_error *err)
{
    const json_t *field = sluice_jansson_get(object, key);
    if (!field) return SLUICE_OK;
    if (!json_is_number(field))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is not a number", file, key);
    double number = json_number_value(field);
    if (!(number >= low && number <= high))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is %g, outside %g..%g", file, key,
                           number, low, high);
    *value = number;
    return SLUICE_OK;
}

sluice_status sluice_jansson_bool(const json_t *object, const char *key, const char *file,
                                  bool *value, sluice_error *err)
{
    const json_t *field = sluice_jansson_get(object, key);
    if (!field) return SLUICE_OK;
    if (!json_is_boolean(field))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is neither true nor false", file, key);
    *value = json_is_true(field);
    return SLUICE_OK;
}

sluice_status sluice_jansson_string(const json_t *object, const char *key, const char *file,
                                    const char **value, sluice_error *err)
{
    const json_t *field = sluice_jansson_get(object, key);
    if (!field) return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is missing", file, key);
    if (!json_is_string(field))
        return sluice_fail(err, SLUICE_CORRUPT, "%s: \"%s\" is not a string", file, key);
    *value = json_string_value(field);
    return SLUICE_OK;
}
