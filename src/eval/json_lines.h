/* JSONL: one JSON object on each line. */
#ifndef SLUICE_EVAL_JSON_LINES_H
#define SLUICE_EVAL_JSON_LINES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A line and its object, which is borrowed. */
typedef struct sluice_json_line {
    const char *path;
    int32_t number; /* from 1 */
    const char *text;
    size_t length; /* without the line's end */
    json_t *object;
} sluice_json_line;
typedef sluice_status (*sluice_json_line_fn)(void *context, const sluice_json_line *line,
                                             sluice_error *err);

/* SLUICE_BAD_INPUT "path: line n: ...": empty, no JSON, no object, or a member that is there twice.
 * lines_max: only so many; 0: all. Stops at the first failure, its own or fn's. */
sluice_status sluice_json_lines_read(const char *path, const char *text, size_t bytes,
                                     int32_t lines_max, sluice_json_line_fn fn, void *context,
                                     sluice_error *err);

/* The same from the file, which may be gzip (data_file.h). */
sluice_status sluice_json_lines_load(const char *path, int32_t lines_max, sluice_json_line_fn fn,
                                     void *context, sluice_error *err);

/* SLUICE_BAD_INPUT "path: line n: what". */
sluice_status sluice_json_line_bad(const sluice_json_line *line, const char *what,
                                   sluice_error *err);

/* The object's member: a string with more than white space. NULL, and err says so, if it is not. */
const char *sluice_json_line_text(const sluice_json_line *line, const char *name,
                                  sluice_error *err);

/* Whether value is a string with more than white space. */
bool sluice_json_is_text(const json_t *value);

#endif
