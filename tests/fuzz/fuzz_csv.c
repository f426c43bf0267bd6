/* Any bytes as CSV: every record is within the text, and lines never run backwards. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eval/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    sluice_csv csv = sluice_csv_open("fuzz.csv", text, size);
    sluice_csv_record record;
    int32_t line = 1;
    for (bool more = true; more;) {
        if (sluice_csv_next(&csv, &record, &more, NULL) != SLUICE_OK) break;
        if (!more) break;
        if (record.count < 1 || record.line < line) abort();
        line = record.line;
        for (int32_t i = 0; i < record.count; i++) {
            const sluice_csv_field *f = &record.fields[i];
            if (f->text < text || f->text + f->length > text + size) abort();
            if (f->text[f->length] != '\0' || strlen(f->text) != f->length) abort();
        }
    }
    free(text);
    return 0;
}
