/* The parts of a tokenizer.json that are small enough for a tree: everything but the model. */
#ifndef SLUICE_TOKENIZER_TOKENIZER_FILE_H
#define SLUICE_TOKENIZER_TOKENIZER_FILE_H

#include "tokenizer/json_value.h"
#include "tokenizer/tokenizer.h"

typedef struct sluice_tokenizer_parts {
    sluice_json_document added_tokens, normalizer, pre_tokenizer, decoder, post_processor;
} sluice_tokenizer_parts;

/* Reads the parts into a tokenizer whose vocabulary and merges are complete. */
sluice_status sluice_tokenizer_read_parts(sluice_tokenizer *tokenizer, const char *name,
                                          const sluice_tokenizer_parts *parts, sluice_error *err);

/* Reads the model, whose first token reader has just given: vocabulary and merges. */
sluice_status sluice_tokenizer_read_model(sluice_tokenizer *tokenizer, sluice_json_reader *reader,
                                          sluice_json_token first, sluice_error *err);

#endif
