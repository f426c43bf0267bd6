/* Writes a JSON value as Python's json.dumps(value, ensure_ascii=False) does, which is what the
 * filter tojson of chat templates is, and scalars as Python's str does. */
#ifndef SLUICE_TOKENIZER_JSON_WRITE_H
#define SLUICE_TOKENIZER_JSON_WRITE_H

#include "tokenizer/json_value.h"
#include "tokenizer/text_buffer.h"

typedef enum sluice_json_numbers {
    SLUICE_JSON_NUMBERS_PYTHON, /* floats as repr writes them: 1e5 becomes 100000.0 */
    SLUICE_JSON_NUMBERS_KEPT    /* as they were written */
} sluice_json_numbers;

void sluice_json_write(sluice_text_buffer *to, const sluice_json_value *value,
                       sluice_json_numbers numbers);

/* A quoted string with escapes. */
void sluice_json_write_string(sluice_text_buffer *to, const char *text, size_t length);

/* str() of a scalar: True, None, a number, or the string itself. Containers are written as JSON. */
void sluice_json_write_str(sluice_text_buffer *to, const sluice_json_value *value);

#endif
