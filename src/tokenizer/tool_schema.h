/* The tools of a request, and the values of a call's parameters by their JSON schema.
 *
 * The template writes strings as they are and everything else as JSON or as Python's str, so the
 * text of a value does not say what it is; the schema does. */
#ifndef SLUICE_TOKENIZER_TOOL_SCHEMA_H
#define SLUICE_TOKENIZER_TOOL_SCHEMA_H

#include "sluice/text.h"
#include "tokenizer/json_value.h"
#include "tokenizer/text_buffer.h"

/* The kinds of value that a schema allows; 0: it does not say. */
enum {
    SLUICE_TYPE_NULL = 1,
    SLUICE_TYPE_BOOLEAN = 2,
    SLUICE_TYPE_INTEGER = 4,
    SLUICE_TYPE_NUMBER = 8,
    SLUICE_TYPE_STRING = 16,
    SLUICE_TYPE_ARRAY = 32,
    SLUICE_TYPE_OBJECT = 64
};

/* The kinds that a function's parameter may have; 0 for what is unknown. tools may be NULL. */
unsigned sluice_tools_types(const sluice_tools *tools, const char *function, size_t function_length,
                            const char *parameter, size_t parameter_length);

/* Appends a value as JSON. Where a schema allows strings and something else, what reads as
 * something else is that; what reads as nothing that is allowed stays a string. */
void sluice_tool_value_write(sluice_text_buffer *to, unsigned types, const char *text,
                             size_t length);

#endif
