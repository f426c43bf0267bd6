/* JSONL (see json_lines.h). */
#include "eval/json_lines.h"

#include <stdlib.h>
#include <string.h>

#include "eval/data_file.h"

sluice_status sluice_json_line_bad(const sluice_json_line *line, const char *what,
                                   sluice_error *err)
{
    return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: %s", line->path, line->number, what);
}

bool sluice_json_is_text(const json_t *value)
{
    return json_is_string(value) &&
           strspn(json_string_value(value), " \t\r\n") < json_string_length(value);
}

const char *sluice_json_line_text(const sluice_json_line *line, const char *name, sluice_error *err)
{
    const json_t *value = json_object_get(line->object, name);
    if (sluice_json_is_text(value)) return json_string_value(value);
    sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: \"%s\" must be a text that is not empty",
                line->path, line->number, name);
    return NULL;
}

static sluice_status read_line(sluice_json_line *line, sluice_json_line_fn fn, void *context,
                               sluice_error *err)
{
    json_error_t why;
    line->object = json_loadb(line->text, line->length, JSON_REJECT_DUPLICATES, &why);
    if (!line->object) return sluice_json_line_bad(line, line->length ? why.text : "empty", err);
    sluice_status status = json_is_object(line->object)
                               ? fn(context, line, err)
                               : sluice_json_line_bad(line, "not a JSON object", err);
    json_decref(line->object);
    return status;
}

sluice_status sluice_json_lines_read(const char *path, const char *text, size_t bytes,
                                     int32_t lines_max, sluice_json_line_fn fn, void *context,
                                     sluice_error *err)
{
    const char *at = text, *end = text + bytes;
    sluice_json_line line = {.path = path};
    while (at < end && (lines_max <= 0 || line.number < lines_max)) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        line.text = at;
        line.length = (size_t)((stop ? stop : end) - at);
        if (line.length && at[line.length - 1] == '\r') line.length--;
        if (line.number == INT32_MAX)
            return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d lines", path, INT32_MAX);
        line.number++;
        SLUICE_TRY(read_line(&line, fn, context, err));
        at = stop ? stop + 1 : end;
    }
    return SLUICE_OK;
}

sluice_status sluice_json_lines_load(const char *path, int32_t lines_max, sluice_json_line_fn fn,
                                     void *context, sluice_error *err)
{
    char *text;
    size_t bytes;
    SLUICE_TRY(sluice_data_load(path, &text, &bytes, err));
    sluice_status status = sluice_json_lines_read(path, text, bytes, lines_max, fn, context, err);
    free(text);
    return status;
}
