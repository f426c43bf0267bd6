/* Constrained decoding: grammars that an answer must follow, and the masks of tokens that keep it
 * to them.
 *
 * A grammar says what bytes an answer may be made of: any text, any JSON object, JSON by a schema,
 * or a grammar of the caller's own (GBNF), with the tool calls of the Qwen3.5 family around it.
 * doc/grammar.md lists what is supported; everything else is refused by name and place, never
 * ignored. A constraint holds one answer to a grammar: before each draw it says which tokens may
 * come, and it is told which one did. An answer that is held to a grammar until a stop token comes
 * is in the grammar, whatever the model prefers.
 *
 * Grammars and tries are immutable and may be shared by any number of threads. A constraint and its
 * copies belong to one thread at a time. */
#ifndef SLUICE_GRAMMAR_H
#define SLUICE_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"
#include "sluice/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_grammar sluice_grammar;

/* What an answer says when it calls no tool. */
typedef enum sluice_answer_content {
    SLUICE_ANSWER_TEXT,   /* any text */
    SLUICE_ANSWER_OBJECT, /* any JSON object */
    SLUICE_ANSWER_SCHEMA, /* JSON by the schema that is the source */
    SLUICE_ANSWER_GBNF    /* what the grammar that is the source describes, from its rule root on */
} sluice_answer_content;

typedef enum sluice_tool_choice {
    SLUICE_TOOLS_AUTO,     /* content, then calls; either may be missing */
    SLUICE_TOOLS_NONE,     /* content alone: no call opens */
    SLUICE_TOOLS_REQUIRED, /* calls alone, at least one */
    SLUICE_TOOLS_NAMED     /* as required, and every call is of the tool that is named */
} sluice_tool_choice;

/* White space within JSON. All forms are bounded: a model cannot go on writing white space. */
typedef enum sluice_json_space {
    SLUICE_JSON_SPACE_ONE,  /* at most one space behind a comma or colon, as models write */
    SLUICE_JSON_SPACE_NONE, /* compact */
    SLUICE_JSON_SPACE_LINES /* also line breaks with up to 32 spaces, as in indented JSON */
} sluice_json_space;

/* The rules of an answer; zero-initialise, then set what differs. Nothing is kept. */
typedef struct sluice_answer {
    sluice_answer_content content;
    const char *source; /* of a schema or a GBNF grammar */
    size_t source_length;
    const char *tools; /* JSON as for sluice_tools_open; NULL: no tools */
    size_t tools_length;
    sluice_tool_choice tool_choice;
    const char *tool_name; /* for SLUICE_TOOLS_NAMED, NUL-terminated */
    bool single_call;      /* one call at most */
    bool thinking; /* the answer begins within <think> (sluice_prompt.thinking): whatever comes
                      before </think> is free */
    sluice_json_space space;
} sluice_answer;

/* SLUICE_BAD_INPUT: a source or the tools are malformed; SLUICE_UNSUPPORTED: valid, but beyond the
 * subset; SLUICE_LIMIT: too large. The detail names the place: a JSON pointer into the schema
 * ("the schema at /properties/age: ...", "the tools at /0/function/parameters/..."), or a line of
 * the GBNF. *out is NULL after a failure. */
sluice_status sluice_grammar_new(const sluice_answer *answer, sluice_grammar **out,
                                 sluice_error *err);
void sluice_grammar_free(sluice_grammar *grammar); /* NULL is allowed */

/* How far a text gets in a grammar. Tags such as <tool_call> count as text. */
typedef enum sluice_fit {
    SLUICE_FIT_NONE,   /* no continuation of it is in the grammar */
    SLUICE_FIT_PREFIX, /* it is not in the grammar, but can be continued so that it is */
    SLUICE_FIT_WHOLE   /* it is in the grammar */
} sluice_fit;
sluice_status sluice_grammar_match(const sluice_grammar *grammar, const char *text, size_t length,
                                   sluice_fit *fit, sluice_error *err);

/* All tokens of a vocabulary as a trie of their bytes: made once for a tokenizer (30 ms and 20 MB
 * for 250,000 tokens), which must outlive it. */
typedef struct sluice_token_trie sluice_token_trie;
sluice_status sluice_token_trie_new(const sluice_tokenizer *tokenizer, sluice_token_trie **out,
                                    sluice_error *err);
void sluice_token_trie_free(sluice_token_trie *trie); /* NULL is allowed */

typedef struct sluice_constraint sluice_constraint;

/* A constraint at the beginning of an answer. stop_ids: the tokens that end an answer
 * (sluice_model_info); they may come exactly where the grammar may end. Grammar and trie must
 * outlive the constraint. */
sluice_status sluice_constraint_new(const sluice_grammar *grammar, const sluice_token_trie *trie,
                                    const int32_t *stop_ids, int32_t n_stop_ids,
                                    sluice_constraint **out, sluice_error *err);
void sluice_constraint_free(sluice_constraint *constraint); /* NULL is allowed */

/* Another constraint at the same place, which shares the caches of the first (and so its thread);
 * either may be freed first. sluice_constraint_set moves a constraint to where another copy is,
 * without allocating: for drafts that may be taken back. */
sluice_status sluice_constraint_copy(const sluice_constraint *from, sluice_constraint **out,
                                     sluice_error *err);
void sluice_constraint_set(sluice_constraint *to, const sluice_constraint *from);
void sluice_constraint_restart(sluice_constraint *constraint); /* back to the beginning */

/* The tokens that may come next: bit id % 32 of word id / 32, for all ids below
 * sluice_tokenizer_vocab; valid until the next call for this constraint or a copy of it.
 *
 * tokens_left: how many more tokens the answer may have, the stop token not counted. When it gets
 * scarce, only tokens remain after which the answer can still be completed, so that an answer also
 * ends well when it is cut off: always if it starts with enough tokens and no single token opens
 * more than the grammar's largest rule takes to close. INT32_MAX: no limit.
 *
 * SLUICE_LIMIT: the grammar is too ambiguous to follow; SLUICE_USAGE: the answer is over. */
sluice_status sluice_constraint_mask(sluice_constraint *constraint, int32_t tokens_left,
                                     const uint32_t **mask, sluice_error *err);

/* The same applied to logits [vocab]: what may not come becomes -INFINITY, all ids beyond the
 * tokenizer's included. */
sluice_status sluice_constraint_filter(sluice_constraint *constraint, int32_t tokens_left,
                                       float *logits, int32_t vocab, sluice_error *err);

/* Goes on past a token; a stop token ends the answer. SLUICE_BAD_INPUT: the token may not come, and
 * the constraint stays where it is. */
sluice_status sluice_constraint_accept(sluice_constraint *constraint, int32_t token,
                                       sluice_error *err);

/* Whether the answer may end here. */
bool sluice_constraint_is_complete(const sluice_constraint *constraint);

#ifdef __cplusplus
}
#endif
#endif
