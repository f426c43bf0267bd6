/* CSV (see csv.h). */
#include "eval/csv.h"

#include <string.h>

sluice_csv sluice_csv_open(const char *path, char *text, size_t bytes)
{
    bool mark = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    return (sluice_csv){.path = path, .text = text, .bytes = bytes, .at = mark ? 3 : 0, .line = 1};
}

static sluice_status bad(const sluice_csv *csv, int32_t line, const char *what, sluice_error *err)
{
    return sluice_fail(err, SLUICE_BAD_INPUT, "%s: line %d: %s", csv->path, line, what);
}

/* The field at csv->at, which begins with a quote, up to behind the closing one. */
static sluice_status take_quoted(sluice_csv *csv, sluice_csv_field *field, sluice_error *err)
{
    int32_t begun = csv->line;
    char *to = csv->text + csv->at;
    *field = (sluice_csv_field){.text = to};
    for (size_t at = csv->at + 1;; at++) {
        if (at >= csv->bytes) return bad(csv, begun, "a quote is opened and never closed", err);
        if (csv->text[at] == '"') {
            if (at + 1 >= csv->bytes || csv->text[at + 1] != '"') {
                csv->at = at + 1;
                break;
            }
            at++;
        }
        if (csv->text[at] == '\n') csv->line++;
        *to++ = csv->text[at];
    }
    field->length = (size_t)(to - field->text);
    return SLUICE_OK;
}

static sluice_status take_bare(sluice_csv *csv, sluice_csv_field *field, sluice_error *err)
{
    const char *text = csv->text + csv->at;
    size_t length = 0;
    while (csv->at + length < csv->bytes && (!text[length] || !strchr(",\r\n", text[length]))) {
        if (text[length] == '"')
            return bad(csv, csv->line, "a quote within a field that does not begin with one", err);
        length++;
    }
    *field = (sluice_csv_field){text, length};
    csv->at += length;
    return SLUICE_OK;
}

/* Steps over what stands behind a field, and ends the field there; *last: it was a line's end. */
static sluice_status take_separator(sluice_csv *csv, const sluice_csv_field *field, bool *last,
                                    sluice_error *err)
{
    size_t at = csv->at;
    bool over = at >= csv->bytes;
    size_t step = over ? 0 : 1;
    if (!over && csv->text[at] == '\r') {
        if (at + 1 < csv->bytes && csv->text[at + 1] != '\n')
            return bad(csv, csv->line, "a carriage return that does not end the line", err);
        step = at + 1 < csv->bytes ? 2 : 1;
    } else if (!over && csv->text[at] != ',' && csv->text[at] != '\n') {
        return bad(csv, csv->line, "text behind a closing quote", err);
    }
    *last = over || csv->text[at] != ',';
    if (*last && !over) csv->line++;
    csv->at += step;
    csv->text[(size_t)(field->text - csv->text) + field->length] = '\0';
    return SLUICE_OK;
}

sluice_status sluice_csv_next(sluice_csv *csv, sluice_csv_record *record, bool *more,
                              sluice_error *err)
{
    *record = (sluice_csv_record){.line = csv->line};
    *more = csv->at < csv->bytes;
    for (bool last = !*more; !last;) {
        sluice_csv_field *field = &record->fields[record->count];
        if (record->count == SLUICE_CSV_FIELDS_MAX)
            return bad(csv, record->line, "more columns than any data set here has", err);
        if (csv->at < csv->bytes && csv->text[csv->at] == '"')
            SLUICE_TRY(take_quoted(csv, field, err));
        else
            SLUICE_TRY(take_bare(csv, field, err));
        if (memchr(field->text, '\0', field->length))
            return bad(csv, record->line, "a NUL byte", err);
        SLUICE_TRY(take_separator(csv, field, &last, err));
        record->count++;
    }
    return SLUICE_OK;
}
