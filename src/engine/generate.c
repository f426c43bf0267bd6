/* Generation: prefill, then one step a token, each drawn from the last logits. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "engine/engine.h"

typedef struct generator {
    sluice_session *session;
    sluice_engine *engine;
    const sluice_generation *generation;
    int32_t token; /* drawn from the last logits */
    int32_t left;  /* tokens that may still come */
    float *masked; /* [vocab]: logits under the constraint; NULL without one */
    sluice_error *err;
} generator;

static sluice_status draw(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)input;
    (void)token;
    generator *g = context;
    sluice_constraint *constraint = g->generation->constraint;
    int32_t vocab = g->engine->info.vocab;
    if (!constraint) return sluice_sampler_draw(g->engine->sampler, logits, &g->token, g->err);
    memcpy(g->masked, logits, (size_t)vocab * sizeof *logits);
    SLUICE_TRY(sluice_constraint_filter(constraint, g->left, g->masked, vocab, g->err));
    SLUICE_TRY(sluice_sampler_draw(g->engine->sampler, g->masked, &g->token, g->err));
    return sluice_constraint_accept(constraint, g->token, g->err);
}

static bool is_stop(const sluice_engine *engine, int32_t token)
{
    for (int32_t i = 0; i < engine->info.n_stop_ids; i++)
        if (engine->stop_ids[i] == token) return true;
    return false;
}

/* Runs tokens and draws the next one. */
static sluice_status advance(generator *g, const int32_t *tokens, int32_t count)
{
    sluice_input input = {g->session, tokens, count, count - 1};
    return sluice_step_run(g->engine, &input, 1, draw, g, g->err);
}

/* The prompt, or the pending token of an answer that goes on. */
static sluice_status prefill(generator *g)
{
    const sluice_generation *generation = g->generation;
    sluice_session *session = g->session;
    uint64_t start = sluice_clock_us();
    int32_t seen, count = generation->prompt_count, last = 0;
    const int32_t *tokens = sluice_session_tokens(session, &seen);
    sluice_sampler_see(g->engine->sampler, tokens, seen, false);
    if (count > 0) {
        sluice_status status = SLUICE_OK;
        for (int32_t i = 0; i < count && status == SLUICE_OK; i++)
            if (generation->prompt[i] < 0 || generation->prompt[i] >= g->engine->info.vocab)
                status = sluice_fail(g->err, SLUICE_BAD_INPUT,
                                     "the prompt's token %d is not in the "
                                     "vocabulary of %d",
                                     generation->prompt[i], g->engine->info.vocab);
        SLUICE_TRY(status);
        sluice_sampler_see(g->engine->sampler, generation->prompt, count, false);
        SLUICE_TRY(advance(g, generation->prompt, count));
    } else if (session->pending) {
        last = tokens[seen - 1];
        session->pending = false;
        count = 1;
        sluice_status status = advance(g, &last, 1);
        if (status != SLUICE_OK) {
            /* It has not run, or it has and its logits were of no use: then it is no longer owed.
             */
            session->pending = session->state->position < seen;
            return status;
        }
    } else {
        return sluice_fail(g->err, SLUICE_USAGE, "nothing to go on from: give a prompt");
    }
    g->engine->stats.prompt_tokens += (uint64_t)count;
    g->engine->stats.prompt_us += sluice_clock_us() - start;
    return SLUICE_OK;
}

/* Notes the drawn token as generated but not run. */
static void hold(generator *g)
{
    sluice_state *state = g->session->state;
    state->tokens[state->position] = g->token;
    g->session->pending = true;
    sluice_sampler_see(g->engine->sampler, &g->token, 1, true);
}

static sluice_status decode(generator *g)
{
    uint64_t start = sluice_clock_us();
    int32_t token = g->token;
    g->session->pending = false;
    sluice_status status = advance(g, &token, 1);
    if (status != SLUICE_OK) {
        g->session->pending = g->session->done <= 0;
        return status;
    }
    g->engine->stats.decode_tokens++;
    g->engine->stats.decode_us += sluice_clock_us() - start;
    return SLUICE_OK;
}

static sluice_status run(generator *g, int32_t *ids, int32_t *count, sluice_finish *finish)
{
    const sluice_generation *generation = g->generation;
    uint64_t start = sluice_clock_us();
    sluice_session_prompt(g->session, generation->prompt_count);
    if (generation->tokens_max <= 0) {
        sluice_input input = {g->session, generation->prompt, generation->prompt_count,
                              generation->prompt_count};
        return sluice_step_run(g->engine, &input, 1, NULL, NULL, g->err);
    }
    SLUICE_TRY(sluice_sampler_begin(g->engine->sampler, &generation->sampling, g->err));
    SLUICE_TRY(prefill(g));
    g->engine->stats.first_token_us = sluice_clock_us() - start;
    for (;;) {
        if (!generation->ignore_stop && is_stop(g->engine, g->token)) {
            *finish = SLUICE_FINISH_STOP;
            return SLUICE_OK;
        }
        if (g->session->state->position >= g->engine->info.context) return SLUICE_OK;
        hold(g);
        ids[(*count)++] = g->token;
        g->left--;
        if (generation->on_token && !generation->on_token(generation->context, g->token)) {
            *finish = SLUICE_FINISH_CANCELLED;
            return SLUICE_OK;
        }
        if (*count == generation->tokens_max) return SLUICE_OK;
        SLUICE_TRY(decode(g));
    }
}

static size_t masked_bytes(const generator *g)
{
    return (size_t)g->engine->info.vocab * sizeof *g->masked;
}

/* How many tokens may come, and room for masked logits if there is a constraint. */
static sluice_status begin(generator *g)
{
    const sluice_generation *generation = g->generation;
    int32_t seen;
    sluice_session_tokens(g->session, &seen);
    g->left = g->engine->info.context - seen - generation->prompt_count;
    if (generation->tokens_max < g->left) g->left = generation->tokens_max;
    if (!generation->constraint) return SLUICE_OK;
    if (generation->ignore_stop) {
        return sluice_fail(g->err, SLUICE_USAGE,
                           "an answer under a constraint ends with a stop token, which cannot be "
                           "ignored");
    }
    void *memory;
    SLUICE_TRY(
        sluice_memory_new(g->engine->budget, masked_bytes(g), "constraint", &memory, g->err));
    g->masked = memory;
    return SLUICE_OK;
}

sluice_status sluice_generate(sluice_session *session, const sluice_generation *generation,
                              int32_t *ids, int32_t *count, sluice_finish *finish,
                              sluice_error *err)
{
    generator g = {
        .session = session, .engine = session->engine, .generation = generation, .err = err};
    *count = 0;
    *finish = SLUICE_FINISH_LENGTH;
    SLUICE_TRY(begin(&g));
    sluice_status status = run(&g, ids, count, finish);
    if (g.masked) {
        sluice_memory_free(g.engine->budget, g.masked, masked_bytes(&g), "constraint");
    }
    if (status == SLUICE_CANCELLED) {
        *finish = SLUICE_FINISH_CANCELLED;
        return SLUICE_OK;
    }
    return status;
}
