/* What a tokenizer consists of: filled by tokenizer_file.c, used by encode.c and detokenize.c. */
#ifndef SLUICE_TOKENIZER_TOKENIZER_H
#define SLUICE_TOKENIZER_TOKENIZER_H

#include "sluice/text.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include "tokenizer/vocab.h"

#define SLUICE_SPLITS_MAX 8

struct sluice_tokenizer {
    sluice_vocab vocab; /* with the added tokens */
    sluice_bpe bpe;
    bool nfc;
    sluice_split *splits[SLUICE_SPLITS_MAX]; /* each cuts the pieces of the one before */
    int split_count;
    sluice_added_token *added;
    size_t added_count;
    sluice_matcher raw;        /* added tokens that are looked for before normalisation */
    sluice_matcher normalized; /* those looked for behind it, themselves normalised */
    sluice_matcher all;        /* all of them, for texts with trusted parts */
};

/* Fills a zeroed tokenizer from a tokenizer.json; on failure what was filled remains. */
sluice_status sluice_tokenizer_read(sluice_tokenizer *tokenizer, const char *name, const char *json,
                                    size_t length, sluice_error *err);

/* The added token with this id, or NULL. */
const sluice_added_token *sluice_tokenizer_added(const sluice_tokenizer *tokenizer, int32_t id);

#endif
