/* Reading reference outputs, and comparing (see reference.h). */
#include "support/reference.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/file.h"
#include "sluice/sluice.h"
#include "support/engines.h"

#define NLL_TOLERANCE 1e-3
#define TIE 1e-3
#define LOGIT_TOLERANCE 0.02
#define PROBABILITY_TOLERANCE 1e-3
#define HIDDEN_TOLERANCE 0.02
#define PERPLEXITY_TOLERANCE 1e-3 /* relative */

static void *take(size_t n, size_t bytes)
{
    void *memory = calloc(n ? n : 1, bytes);
    assert_non_null(memory);
    return memory;
}

static int32_t *integers(const json_t *array, int32_t *count)
{
    size_t n = json_array_size(array);
    int32_t *values = take(n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (int32_t)json_integer_value(json_array_get(array, i));
    if (count) *count = (int32_t)n;
    return values;
}

static double *numbers(const json_t *array, int32_t *count)
{
    size_t n = json_array_size(array);
    double *values = take(n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = json_number_value(json_array_get(array, i));
    if (count) *count = (int32_t)n;
    return values;
}

static void load_case(const json_t *json, reference_case *c)
{
    const json_t *routes = json_object_get(json, "last_routes");
    const json_t *probs = json_object_get(json, "last_router_probs");
    const json_t *hidden = json_object_get(json, "hidden_last");
    const json_t *nll = json_object_get(json, "mean_nll");
    c->ids = integers(json_object_get(json, "ids"), &c->count);
    c->argmax = integers(json_object_get(json, "argmax"), NULL);
    c->argmax_margin = numbers(json_object_get(json, "argmax_margin"), NULL);
    c->mean_nll = json_is_number(nll) ? json_number_value(nll) : NAN;
    c->top_ids = integers(json_object_get(json, "top_ids"), &c->top_count);
    c->top_logits = numbers(json_object_get(json, "top_logits"), NULL);
    c->greedy = integers(json_object_get(json, "greedy"), &c->greedy_count);
    if (json_object_get(json, "greedy_margin"))
        c->greedy_margin = numbers(json_object_get(json, "greedy_margin"), NULL);
    c->layers = (int32_t)json_array_size(routes);
    assert_true(c->layers <= REFERENCE_LAYERS_MAX);
    for (int32_t i = 0; i < c->layers; i++) {
        c->routes[i] = integers(json_array_get(routes, (size_t)i), &c->k);
        c->router_probs[i] = numbers(json_array_get(probs, (size_t)i), NULL);
        c->hidden[i] = numbers(json_array_get(hidden, (size_t)i), &c->hidden_count);
    }
}

reference *reference_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) fail_msg("%s: %s", path, error.text);
    const json_t *cases = json_object_get(root, "cases");
    const json_t *texts = json_object_get(root, "perplexity");
    reference *loaded = take(1, sizeof *loaded);
    loaded->cases_count = (int32_t)json_array_size(cases);
    loaded->cases = take((size_t)loaded->cases_count, sizeof *loaded->cases);
    for (int32_t i = 0; i < loaded->cases_count; i++)
        load_case(json_array_get(cases, (size_t)i), &loaded->cases[i]);
    loaded->texts_count = (int32_t)json_array_size(texts);
    loaded->texts = take((size_t)loaded->texts_count, sizeof *loaded->texts);
    for (int32_t i = 0; i < loaded->texts_count; i++) {
        const json_t *json = json_array_get(texts, (size_t)i);
        reference_text *text = &loaded->texts[i];
        snprintf(text->name, sizeof text->name, "%s",
                 json_string_value(json_object_get(json, "text")));
        text->window = (int32_t)json_integer_value(json_object_get(json, "window"));
        text->perplexity = json_number_value(json_object_get(json, "perplexity"));
        text->nll = numbers(json_object_get(json, "nll_per_window"), &text->windows);
    }
    json_decref(root);
    assert_true(loaded->cases_count > 0);
    return loaded;
}

void reference_free(reference *loaded)
{
    for (int32_t i = 0; i < loaded->cases_count; i++) {
        reference_case *c = &loaded->cases[i];
        free(c->ids);
        free(c->argmax);
        free(c->argmax_margin);
        free(c->top_ids);
        free(c->top_logits);
        free(c->greedy);
        free(c->greedy_margin);
        for (int32_t l = 0; l < c->layers; l++) {
            free(c->routes[l]);
            free(c->router_probs[l]);
            free(c->hidden[l]);
        }
    }
    for (int32_t i = 0; i < loaded->texts_count; i++)
        free(loaded->texts[i].nll);
    free(loaded->cases);
    free(loaded->texts);
    free(loaded);
}

/* -log p(id) under logits, in double. */
static double nll_of(const float *logits, int32_t vocab, int32_t id)
{
    double top = -INFINITY, sum = 0.0;
    for (int32_t i = 0; i < vocab; i++)
        top = fmax(top, (double)logits[i]);
    for (int32_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum) - (double)logits[id];
}

static int32_t argmax_of(const float *logits, int32_t vocab)
{
    int32_t best = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

typedef struct score {
    const reference_case *expected;
    int32_t vocab;
    double nll;
} score;

static sluice_status score_row(void *context, int32_t input, int32_t token, const float *logits)
{
    score *s = context;
    const reference_case *expected = s->expected;
    int32_t best = argmax_of(logits, s->vocab), wanted = expected->argmax[token];
    (void)input;
    if (token + 1 < expected->count) s->nll += nll_of(logits, s->vocab, expected->ids[token + 1]);
    /* Of two tokens closer than a tie, either is right, but the reference's must still be near. */
    if (best != wanted && (expected->argmax_margin[token] >= TIE ||
                           fabs((double)(logits[best] - logits[wanted])) >= 2 * TIE))
        fail_msg("case of %d tokens, position %d: argmax %d (%.5f), not %d (%.5f), margin %g",
                 expected->count, token, best, (double)logits[best], wanted, (double)logits[wanted],
                 expected->argmax_margin[token]);
    if (token + 1 == expected->count)
        for (int32_t i = 0; i < expected->top_count; i++)
            if (fabs((double)logits[expected->top_ids[i]] - expected->top_logits[i]) >
                LOGIT_TOLERANCE)
                fail_msg("case of %d tokens: logit of %d is %.5f, not %.5f", expected->count,
                         expected->top_ids[i], (double)logits[expected->top_ids[i]],
                         expected->top_logits[i]);
    return SLUICE_OK;
}

void reference_check_logits(sluice_engine *engine, const reference_case *expected)
{
    score s = {expected, sluice_engine_info(engine)->vocab, 0.0};
    sluice_session *session = engines_session(engine);
    sluice_input input = {session, expected->ids, expected->count, 0};
    engines_step(engine, &input, 1, score_row, &s);
    sluice_session_close(session);
    if (expected->count < 2) return;
    double mean = s.nll / (expected->count - 1);
    if (!(fabs(mean - expected->mean_nll) <= NLL_TOLERANCE))
        fail_msg("case of %d tokens: mean NLL %.6f, not %.6f", expected->count, mean,
                 expected->mean_nll);
}

void reference_check_greedy(sluice_engine *engine, const reference_case *expected)
{
    int32_t ids[256], count;
    sluice_session *session = engines_session(engine);
    assert_true(expected->greedy_count > 0 && expected->greedy_count <= 256);
    engines_generate(session, expected->ids, expected->count, expected->greedy_count, ids, &count);
    assert_int_equal(count, expected->greedy_count);
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] == expected->greedy[i]) continue;
        /* From a tie on, two right continuations differ. */
        if (expected->greedy_margin && expected->greedy_margin[i] < TIE) break;
        fail_msg("case of %d tokens: greedy token %d is %d, not %d", expected->count, i, ids[i],
                 expected->greedy[i]);
    }
    sluice_session_close(session);
}

typedef struct watch {
    const reference_case *expected;
    int32_t hidden, seen;
    int32_t rows[REFERENCE_LAYERS_MAX]; /* so far: a long prompt comes in several batches */
} watch;

static void watch_layer(void *context, int32_t layer, int32_t rows, int32_t k, const int32_t *ids,
                        const float *weights, const float *hidden)
{
    watch *w = context;
    const reference_case *expected = w->expected;
    assert_true(layer < expected->layers);
    assert_int_equal(k, expected->k);
    w->rows[layer] += rows;
    if (w->rows[layer] < expected->count) return;
    ids += (size_t)(rows - 1) * (size_t)k;
    weights += (size_t)(rows - 1) * (size_t)k;
    hidden += (size_t)(rows - 1) * (size_t)w->hidden;
    double sum = 0.0;
    for (int32_t j = 0; j < k; j++)
        sum += expected->router_probs[layer][j];
    for (int32_t j = 0; j < k; j++) {
        double weight = expected->router_probs[layer][j] / sum;
        if (ids[j] != expected->routes[layer][j] ||
            fabs((double)weights[j] - weight) > PROBABILITY_TOLERANCE)
            fail_msg("case of %d tokens, layer %d: route %d is expert %d (%.5f), not %d (%.5f)",
                     expected->count, layer, j, ids[j], (double)weights[j],
                     expected->routes[layer][j], weight);
    }
    for (int32_t i = 0; i < expected->hidden_count; i++)
        if (fabs((double)hidden[i] - expected->hidden[layer][i]) > HIDDEN_TOLERANCE)
            fail_msg("case of %d tokens, layer %d: output %d is %.5f, not %.5f", expected->count,
                     layer, i, (double)hidden[i], expected->hidden[layer][i]);
    w->seen++;
}

void reference_check_routes(sluice_engine *engine, const reference_case *expected)
{
    watch w = {.expected = expected, .hidden = sluice_engine_info(engine)->hidden};
    sluice_probe probe = {watch_layer, &w};
    sluice_session *session = engines_session(engine);
    sluice_input input = {session, expected->ids, expected->count, expected->count};
    sluice_engine_probe(engine, &probe);
    engines_step(engine, &input, 1, NULL, NULL);
    sluice_engine_probe(engine, NULL);
    sluice_session_close(session);
    assert_int_equal(w.seen, expected->layers);
}

typedef struct reading {
    const int32_t *ids;
    int32_t vocab;
    double nll;
} reading;

static sluice_status read_row(void *context, int32_t input, int32_t token, const float *logits)
{
    reading *r = context;
    (void)input;
    r->nll += nll_of(logits, r->vocab, r->ids[token + 1]);
    return SLUICE_OK;
}

/* Of the 16 windows of a text; all of them take a quarter of a minute on each form of the weights.
 */
#define WINDOWS 4

void reference_check_text(sluice_engine *engine, const reference_text *expected, const char *path)
{
    const int32_t windows = getenv("SLUICE_TEST_LONG") ? expected->windows : WINDOWS;
    sluice_error err = {0};
    sluice_ids ids;
    char *text;
    size_t bytes;
    if (sluice_file_load(path, (size_t)1 << 24, &text, &bytes, &err) != SLUICE_OK ||
        sluice_tokenizer_encode(sluice_engine_tokenizer(engine), text, bytes, SLUICE_SPECIAL_NEVER,
                                &ids, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_true(windows <= expected->windows);
    assert_true(ids.count >= (size_t)expected->window * (size_t)windows);

    sluice_session *session = engines_session(engine);
    double sum = 0.0;
    for (int32_t w = 0; w < windows; w++) {
        const int32_t *window = ids.ids + (size_t)w * (size_t)expected->window;
        reading r = {window, sluice_engine_info(engine)->vocab, 0.0};
        /* The last token predicts nothing and need not run. */
        sluice_input input = {session, window, expected->window - 1, 0};
        sluice_session_clear(session);
        engines_step(engine, &input, 1, read_row, &r);
        if (fabs(r.nll / expected->nll[w] - 1.0) > PERPLEXITY_TOLERANCE)
            fail_msg("%s, window %d: NLL %.3f, not %.3f", expected->name, w, r.nll,
                     expected->nll[w]);
        sum += r.nll;
    }
    double perplexity = exp(sum / (windows * (expected->window - 1.0)));
    print_message("%s: perplexity %.5f over %d windows (reference %.5f over %d)\n", expected->name,
                  perplexity, windows, expected->perplexity, expected->windows);
    if (windows == expected->windows &&
        fabs(perplexity / expected->perplexity - 1.0) > PERPLEXITY_TOLERANCE)
        fail_msg("that is not the reference's");
    sluice_session_close(session);
    sluice_ids_free(&ids);
    free(text);
}
