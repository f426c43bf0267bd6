/* Engines and sessions for tests: every failure fails the test with its sentence. */
#ifndef SLUICE_TESTS_SUPPORT_ENGINES_H
#define SLUICE_TESTS_SUPPORT_ENGINES_H

#include "sluice/sluice.h"

/* options may be NULL: two threads, exact. model NULL is Nano. */
sluice_engine *engines_open(const char *model, const sluice_engine_options *options);
sluice_engine_options engines_options(void);
sluice_session *engines_session(sluice_engine *engine);
void engines_step(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                  sluice_logits_fn on_logits, void *context);

/* Greedy, past stop tokens. */
void engines_generate(sluice_session *session, const int32_t *prompt, int32_t prompt_count,
                      int32_t tokens_max, int32_t *ids, int32_t *count);

/* FOLDER/name below the source tree, or below the folder of shared reference data: valid until the
 * next call but one. */
const char *engines_source_path(const char *name);
const char *engines_shared_path(const char *name);

/* Copies the logits of every row asked for, one after the other. context is an engines_rows. */
typedef struct engines_rows {
    int32_t vocab, count, capacity;
    float *logits; /* [capacity, vocab] */
} engines_rows;
engines_rows engines_rows_new(const sluice_engine *engine, int32_t capacity);
void engines_rows_free(engines_rows *rows);
sluice_status engines_rows_keep(void *context, int32_t input, int32_t token, const float *logits);

#endif
