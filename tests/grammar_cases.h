/* Grammars and texts for the tests of grammars: every failure names the text. */
#ifndef SLUICE_TESTS_GRAMMAR_CASES_H
#define SLUICE_TESTS_GRAMMAR_CASES_H

#include "text_cases.h"

#include "sluice/grammar.h"

static inline sluice_grammar *grammar_new(const sluice_answer *answer)
{
    sluice_grammar *grammar;
    sluice_error err = {0};
    if (sluice_grammar_new(answer, &grammar, &err) != SLUICE_OK) {
        fail_msg("refused: %s: %.200s", err.detail, answer->source ? answer->source : "");
    }
    return grammar;
}

static inline sluice_grammar *grammar_of(sluice_answer_content content, const char *source)
{
    sluice_answer answer = {.content = content, .source = source, .source_length = strlen(source)};
    return grammar_new(&answer);
}

static inline sluice_fit grammar_fit(const sluice_grammar *grammar, const char *text, size_t length)
{
    sluice_fit fit;
    sluice_error err = {0};
    if (sluice_grammar_match(grammar, text, length, &fit, &err) != SLUICE_OK) {
        fail_msg("%s", err.detail);
    }
    return fit;
}

/* Texts up to a NULL: those that are in the grammar; with wanted false, those that are not. */
static inline void grammar_check_texts(const sluice_grammar *grammar, const char *name, bool wanted,
                                       const char *const *texts)
{
    for (; *texts; texts++) {
        bool fits = grammar_fit(grammar, *texts, strlen(*texts)) == SLUICE_FIT_WHOLE;
        if (fits != wanted) {
            fail_msg("%s: '%s' is %s", name, *texts, fits ? "accepted" : "refused");
        }
    }
}

#define GRAMMAR_TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A source, the texts that it describes and texts that it does not. */
static inline void grammar_check(sluice_answer_content content, const char *source,
                                 const char *const *good, const char *const *bad)
{
    sluice_grammar *grammar = grammar_of(content, source);
    grammar_check_texts(grammar, source, true, good);
    grammar_check_texts(grammar, source, false, bad);
    sluice_grammar_free(grammar);
}

/* What is refused, with a status and with words that the sentence must hold. */
static inline void grammar_check_refused(const sluice_answer *answer, sluice_status status,
                                         const char *words)
{
    sluice_grammar *grammar;
    sluice_error err = {0};
    const char *what = answer->source ? answer->source : answer->tools;
    sluice_status got = sluice_grammar_new(answer, &grammar, &err);
    if (got == SLUICE_OK) fail_msg("accepted: %s", what);
    assert_null(grammar);
    if (!strstr(err.detail, words)) fail_msg("%s: '%s' lacks '%s'", what, err.detail, words);
    if (got != status) {
        fail_msg("%s: %s, not %s", what, sluice_status_name(got), sluice_status_name(status));
    }
}

#endif
