/* Training samples: a JSONL file read, rendered, tokenised and marked with what is to be learnt.
 *
 * What: each line is an object in one of the forms that instruction sets have:
 *   {"messages": [...], "tools"?: [...]}             rendered by the model's chat template
 *   {"instruction", "input"?, "output"}              (Alpaca) one user turn and its answer
 *   {"instruction" or "question", "response" or "answer"}
 *   {"question", "call": [name, arguments], "tools"} an answer that is a tool call, as eval takes
 *   {"prompt", "completion"}                         text and its continuation, no template
 *   {"text"}                                         plain text, all of it learnt
 * In a conversation the assistant's tokens are learnt, with the <|im_end|> that ends them; what
 * the template itself puts before an answer is not. Every text that a model would see as a prompt
 * is tokenised apart from what follows it, as when serving, and only the template's own markers
 * become special tokens.
 *
 * Anything else in a line is SLUICE_BAD_INPUT and names file and line. Tokens are kept in one
 * block, four bytes each, charged as "samples".
 *
 * What it does not do: order and packing (packer.h). */
#ifndef SLUICE_TRAIN_SAMPLES_H
#define SLUICE_TRAIN_SAMPLES_H

#include "base/memory.h"
#include "sluice/text.h"

/* A token, and whether it is to be predicted. */
#define SLUICE_SAMPLE_LEARN ((uint32_t)1 << 31)

typedef struct sluice_sample {
    size_t at;     /* into tokens */
    int32_t count; /* tokens, 2 to the limit */
    int32_t learn; /* of them, that are to be predicted; never the first token */
    int32_t line;
} sluice_sample;

typedef struct sluice_samples {
    uint32_t *tokens;
    size_t count, capacity;
    sluice_sample *samples;
    int32_t n, n_max;
    int64_t cut;  /* samples that were over the limit and lost their end */
    int64_t lost; /* of them, those that had nothing left to learn, and are not here */
    sluice_budget *budget;
} sluice_samples;

typedef struct sluice_samples_options {
    int32_t tokens_max; /* of a sample */
    bool all_tokens;    /* learn prompts too */
    bool refuse_long;   /* SLUICE_LIMIT instead of cutting */
} sluice_samples_options;

sluice_status sluice_samples_load(const char *path, const sluice_tokenizer *tokenizer,
                                  const sluice_samples_options *options, sluice_budget *budget,
                                  sluice_samples *out, sluice_error *err);
/* The same from the file's bytes. */
sluice_status sluice_samples_parse(const char *text, size_t bytes, const char *file,
                                   const sluice_tokenizer *tokenizer,
                                   const sluice_samples_options *options, sluice_budget *budget,
                                   sluice_samples *out, sluice_error *err);
void sluice_samples_free(sluice_samples *samples);

/* ---- for samples*.c ---- */

/* Text whose spans are learnt or not; spans are consecutive and cover it. */
typedef struct sluice_sample_part {
    size_t begin, end;
    bool learn;
} sluice_sample_part;

typedef struct sluice_sample_text {
    sluice_prompt prompt; /* text and the template's own spans */
    sluice_sample_part *parts;
    size_t n_parts;
    bool ends; /* <|endoftext|> follows and is learnt */
} sluice_sample_text;

/* One line as text. what: "FILE:LINE". */
sluice_status sluice_sample_text_read(const char *line, size_t bytes, const char *what,
                                      sluice_sample_text *out, sluice_error *err);
void sluice_sample_text_free(sluice_sample_text *text);

#endif
