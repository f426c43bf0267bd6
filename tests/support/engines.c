/* Engines and sessions for tests (see engines.h). */
#include "support/engines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/sluice.h"

sluice_engine_options engines_options(void)
{
    sluice_engine_options options = sluice_engine_options_default();
    options.threads = 2;
    options.exact = true;
    return options;
}

sluice_engine *engines_open(const char *model, const sluice_engine_options *options)
{
    sluice_engine_options defaults = engines_options();
    sluice_engine *engine = NULL;
    sluice_error err = {0};
    if (sluice_engine_open(model, options ? options : &defaults, &engine, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    return engine;
}

sluice_session *engines_session(sluice_engine *engine)
{
    sluice_session *session = NULL;
    sluice_error err = {0};
    if (sluice_session_open(engine, &session, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return session;
}

void engines_step(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                  sluice_logits_fn on_logits, void *context)
{
    sluice_error err = {0};
    if (sluice_engine_step(engine, inputs, n, on_logits, context, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
}

void engines_generate(sluice_session *session, const int32_t *prompt, int32_t prompt_count,
                      int32_t tokens_max, int32_t *ids, int32_t *count)
{
    sluice_generation generation = {.prompt = prompt,
                                    .prompt_count = prompt_count,
                                    .tokens_max = tokens_max,
                                    .sampling = sluice_sampling_greedy(),
                                    .ignore_stop = true};
    sluice_finish finish;
    sluice_error err = {0};
    if (sluice_generate(session, &generation, ids, count, &finish, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
}

static const char *path_below(const char *folder, const char *name)
{
    static char paths[2][4096];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

const char *engines_source_path(const char *name)
{
    const char *folder = getenv("SLUICE_SOURCE_DIR");
    return path_below(folder ? folder : SLUICE_SOURCE_DIR, name);
}

const char *engines_shared_path(const char *name)
{
    const char *folder = getenv("SLUICE_SHARED");
    return path_below(folder ? folder : SLUICE_SHARED, name);
}

engines_rows engines_rows_new(const sluice_engine *engine, int32_t capacity)
{
    engines_rows rows = {.vocab = sluice_engine_info(engine)->vocab, .capacity = capacity};
    rows.logits = calloc((size_t)capacity * (size_t)rows.vocab, sizeof *rows.logits);
    assert_non_null(rows.logits);
    return rows;
}

void engines_rows_free(engines_rows *rows)
{
    free(rows->logits);
}

sluice_status engines_rows_keep(void *context, int32_t input, int32_t token, const float *logits)
{
    engines_rows *rows = context;
    (void)input;
    (void)token;
    assert_true(rows->count < rows->capacity);
    memcpy(rows->logits + (size_t)rows->count++ * (size_t)rows->vocab, logits,
           (size_t)rows->vocab * sizeof *logits);
    return SLUICE_OK;
}
