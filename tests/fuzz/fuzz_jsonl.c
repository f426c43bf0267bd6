/* Any bytes as a data set: inflated if they are gzip, read as JSONL, and as the text of an answer
 * that ends with a number. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eval/data_file.h"
#include "eval/json_lines.h"
#include "eval/last_number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sluice_status on_line(void *context, const sluice_json_line *line, sluice_error *err)
{
    int32_t *lines = context;
    if (line->number != ++*lines || !json_is_object(line->object)) abort();
    const char *text = sluice_json_line_text(line, "question", err);
    return text && !*text ? SLUICE_INTERNAL : SLUICE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char number[SLUICE_NUMBER_BYTES], again[SLUICE_NUMBER_BYTES], *text;
    size_t bytes;
    int32_t lines = 0;
    sluice_error err = {0};
    if (size > 1 << 16) return 0;
    /* A number is itself. */
    if (sluice_last_number((const char *)data, size, number) &&
        (!sluice_last_number(number, strlen(number), again) || strcmp(number, again) != 0))
        abort();
    sluice_status status =
        sluice_json_lines_read("fuzz.jsonl", (const char *)data, size, 0, on_line, &lines, &err);
    if (status != SLUICE_OK && status != SLUICE_BAD_INPUT) abort();
    if (sluice_data_inflate("fuzz.gz", (const char *)data, size, &text, &bytes, NULL) == SLUICE_OK)
        free(text);
    return 0;
}
