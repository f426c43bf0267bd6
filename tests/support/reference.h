/* Reference outputs (reference.json) and how an engine is held to them. */
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_H
#define SLUICE_TESTS_SUPPORT_REFERENCE_H

#include "sluice/sluice.h"

#define REFERENCE_LAYERS_MAX 64

typedef struct reference_case {
    int32_t count; /* tokens */
    int32_t *ids, *argmax;
    double *argmax_margin;
    double mean_nll; /* NaN where there is none */
    int32_t top_count, *top_ids;
    double *top_logits;
    int32_t greedy_count, *greedy;
    double *greedy_margin; /* NULL where the file has none */
    int32_t layers, k;     /* 0 where the file has no routes */
    int32_t *routes[REFERENCE_LAYERS_MAX];
    double *router_probs[REFERENCE_LAYERS_MAX];
    int32_t hidden_count;
    double *hidden[REFERENCE_LAYERS_MAX]; /* the first values of each layer's last row */
} reference_case;

typedef struct reference_text {
    char name[64];
    int32_t window, windows;
    double *nll; /* [windows], sums over window - 1 predictions */
    double perplexity;
} reference_text;

typedef struct reference {
    int32_t cases_count, texts_count;
    reference_case *cases;
    reference_text *texts;
} reference;

/* Fails the test if the file cannot be read. */
reference *reference_load(const char *path);
void reference_free(reference *reference);

/* Each fails the test with the case, the position and both values. */
void reference_check_logits(sluice_engine *engine, const reference_case *expected);
void reference_check_greedy(sluice_engine *engine, const reference_case *expected);
void reference_check_routes(sluice_engine *engine, const reference_case *expected);
/* The first windows of the text, tokenised from a file; every window where SLUICE_TEST_LONG is set.
 */
void reference_check_text(sluice_engine *engine, const reference_text *expected, const char *path);

#endif
