/* A step of any size: inputs cut into batches that the forward pass takes.
 *
 * Prompts are cut where positions are multiples of 64, counted from the start of the sequence, so
 * that how a prompt is cut never shows in its result. A batch takes what fits of each input in
 * order; decode rows of many sessions and a slice of a prompt share one.
 *
 * What it does not do: schedule. Fairness between sessions is the caller's. */
#include "base/clock.h"
#include "base/status.h"
#include "engine/engine.h"
#include "model/replay.h"

typedef struct step {
    sluice_engine *engine;
    const sluice_input *inputs;
    int32_t n;
    sluice_logits_fn on_logits;
    void *context;
} step;

/* Also resets how much of each session's input has run. */
static sluice_status check_inputs(const step *s, sluice_error *err)
{
    for (int32_t i = 0; i < s->n; i++)
        s->inputs[i].session->done = -1;
    for (int32_t i = 0; i < s->n; i++) {
        const sluice_input *input = &s->inputs[i];
        sluice_session *session = input->session;
        int32_t used = session->state->position + session->pending;
        int32_t capacity = s->engine->info.context;
        if (session->engine != s->engine || session->done >= 0)
            return sluice_fail(err, SLUICE_USAGE,
                               "input %d of a step has a session of another engine, "
                               "or one that is in the step already",
                               i);
        if (input->count < 0)
            return sluice_fail(err, SLUICE_USAGE, "input %d of a step has %d tokens", i,
                               input->count);
        if (input->count > capacity - used)
            return sluice_fail(err, SLUICE_LIMIT,
                               "%d more tokens after %d do not fit into a context of "
                               "%d",
                               input->count, used, capacity);
        for (int32_t t = 0; t < input->count; t++)
            if (input->tokens[t] < 0 || input->tokens[t] >= s->engine->info.vocab)
                return sluice_fail(err, SLUICE_BAD_INPUT,
                                   "token %d at position %d is not in the "
                                   "vocabulary of %d",
                                   input->tokens[t], used + t, s->engine->info.vocab);
        session->done = 0;
    }
    return SLUICE_OK;
}

static sluice_status deliver(void *context, int32_t part, int32_t token, const float *logits)
{
    const step *s = context;
    return s->on_logits(s->context, s->engine->part_inputs[part],
                        s->engine->part_offsets[part] + token, logits);
}

static void deliver_layer(void *context, int32_t layer, int32_t rows,
                          const sluice_moe_routes *routes, const float *hidden)
{
    const sluice_probe *probe = context;
    probe->layer(probe->context, layer, rows, routes->k, routes->ids, routes->weights, hidden);
}

/* How many of an input's next tokens go into room rows. */
static int32_t take(int32_t position, int32_t left, int32_t room)
{
    if (left <= room) return left;
    int32_t end = (position + room) / SLUICE_GDN_BLOCK * SLUICE_GDN_BLOCK;
    return end > position ? end - position : 0;
}

/* Fills the engine's parts with the next batch; returns how many, 0 when everything has run. */
static int32_t next_batch(const step *s)
{
    sluice_engine *engine = s->engine;
    int32_t parts = 0, room = engine->sizes.chunk;
    for (int32_t i = 0; i < s->n && room; i++) {
        const sluice_input *input = &s->inputs[i];
        int32_t done = input->session->done;
        int32_t count = take(input->session->state->position, input->count - done, room);
        if (!count) continue;
        int32_t from = s->on_logits ? input->logits_from - done : count;
        int32_t bulk = input->session->bulk_end - input->session->state->position;
        engine->parts[parts] = (sluice_forward_part){.state = input->session->state,
                                                     .tokens = input->tokens + done,
                                                     .count = count,
                                                     .logits_from = from < 0 ? 0 : from,
                                                     .bulk = bulk < 0       ? 0
                                                             : bulk < count ? bulk
                                                                            : count};
        engine->part_inputs[parts] = i;
        engine->part_offsets[parts++] = done;
        room -= count;
    }
    return parts;
}

static sluice_status run_batches(step *s, sluice_error *err)
{
    sluice_engine *engine = s->engine;
    sluice_forward_callbacks callbacks = {.logits = deliver, .context = s};
    if (engine->probe.layer) {
        callbacks.layer = deliver_layer;
        callbacks.layer_context = &engine->probe;
    }
    for (int32_t parts; (parts = next_batch(s)) > 0;) {
        if (engine->options.interrupted &&
            engine->options.interrupted(engine->options.callback_context))
            return sluice_fail(err, SLUICE_CANCELLED, "interrupted");
        SLUICE_TRY(sluice_forward_run(engine->forward, engine->parts, parts, &callbacks, err));
        for (int32_t p = 0; p < parts; p++)
            s->inputs[engine->part_inputs[p]].session->done += engine->parts[p].count;
    }
    return SLUICE_OK;
}

/* What a session owes from before: a replay after a failure, a generated token not yet run. */
static sluice_status settle(sluice_engine *engine, sluice_session *session, sluice_error *err)
{
    static const sluice_forward_callbacks silent;
    if (session->state->stale)
        SLUICE_TRY(sluice_replay(engine->forward, session->state, engine->sizes.chunk, err));
    if (session->pending) {
        int32_t token = session->state->tokens[session->state->position];
        sluice_forward_part part = {session->state, &token, 1, 1, 0};
        SLUICE_TRY(sluice_forward_run(engine->forward, &part, 1, &silent, err));
        session->pending = false;
    }
    return SLUICE_OK;
}

sluice_status sluice_step_run(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                              sluice_logits_fn on_logits, void *context, sluice_error *err)
{
    step s = {engine, inputs, n, on_logits, context};
    sluice_pressure_check(&engine->pressure, engine->experts);
    SLUICE_TRY(check_inputs(&s, err));
    for (int32_t i = 0; i < n; i++)
        SLUICE_TRY(settle(engine, inputs[i].session, err));
    return run_batches(&s, err);
}

sluice_status sluice_session_settle(sluice_session *session, sluice_error *err)
{
    return settle(session->engine, session, err);
}

/* A step of single tokens is decoding; one with any longer input is prefill. */
static void count_step(sluice_engine *engine, const sluice_input *inputs, int32_t n, uint64_t us)
{
    uint64_t tokens = 0;
    bool decode = true;
    for (int32_t i = 0; i < n; i++) {
        tokens += (uint64_t)inputs[i].session->done;
        decode &= inputs[i].count <= 1;
    }
    if (decode) {
        engine->stats.decode_tokens += tokens;
        engine->stats.decode_us += us;
    } else {
        engine->stats.prompt_tokens += tokens;
        engine->stats.prompt_us += us;
    }
}

sluice_status sluice_logits_drop(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)context;
    (void)input;
    (void)token;
    (void)logits;
    return SLUICE_OK;
}

sluice_status sluice_engine_step(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                                 sluice_logits_fn on_logits, void *context, sluice_error *err)
{
    sluice_error none;
    if (!err) err = &none;
    *err = (sluice_error){0};
    uint64_t start = sluice_clock_us();
    sluice_status status = sluice_step_run(engine, inputs, n, on_logits, context, err);
    count_step(engine, inputs, n, sluice_clock_us() - start);
    if (status != SLUICE_OK && err->code == SLUICE_OK)
        sluice_fail(err, status, "the logits callback stopped the step: %s",
                    sluice_status_text(status));
    return status;
}
