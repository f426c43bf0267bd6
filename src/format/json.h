/* Reading JSON that somebody else wrote, with sentences for what is wrong with it.
 *
 * Thin helpers over jansson for the files of a model folder. Every getter names the file and the
 * field when a value is missing, has another type or lies outside its range. Internal to format/
 * and adapter/.
 */
#ifndef SLUICE_FORMAT_JSON_H
#define SLUICE_FORMAT_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The document must be an object; duplicate keys and bad UTF-8 are refused (with line and column).
 * The caller releases *root with json_decref. */
sluice_status sluice_jansson_parse(const char *text, size_t bytes, const char *file, json_t **root,
                                   sluice_error *err);

/* NULL if absent or JSON null. */
json_t *sluice_jansson_get(const json_t *object, const char *key);

/* An integer in [low, high]. Absent: *value becomes `missing`, or it is an error if that is
 * SLUICE_JSON_REQUIRED. */
#define SLUICE_JSON_REQUIRED INT64_MIN
sluice_status sluice_jansson_int(const json_t *object, const char *key, const char *file,
                                 int64_t low, int64_t high, int64_t missing, int64_t *value,
                                 sluice_error *err);

/* A finite number in [low, high]; if absent, *value keeps what it held. */
sluice_status sluice_jansson_real(const json_t *object, const char *key, const char *file,
                                  double low, double high, double *value, sluice_error *err);

/* If absent, *value keeps what it held. */
sluice_status sluice_jansson_bool(const json_t *object, const char *key, const char *file,
                                  bool *value, sluice_error *err);

/* Borrowed from the object; must be present. */
sluice_status sluice_jansson_string(const json_t *object, const char *key, const char *file,
                                    const char **value, sluice_error *err);

#endif
