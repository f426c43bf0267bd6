/* Asking tasks, several at a time (sluice/eval.h).
 *
 * Each question has a slot with a session. A step takes the next token of every answer under way
 * and the whole prompts of questions that have just moved into a free slot, so that they all share
 * the experts that are read. */
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/interval.h"
#include "eval/task_file.h"
#include "eval/task_log.h"
#include "sluice/sampler.h"

#define TOKENS_DEFAULT 256
#define TOKENS_DEFAULT_THINKING 1024

typedef struct slot {
    sluice_session *session;
    const sluice_task *task; /* NULL: free */
    int32_t *ids;            /* [tokens_max], the answer so far */
    int32_t count;
    int32_t token; /* drawn from the last logits */
} slot;

typedef struct asking {
    sluice_engine *engine;
    const sluice_model_info *info;
    const sluice_eval_task_options *options;
    int32_t tokens_max, batch;
    sluice_tasks tasks;
    int32_t next; /* task that has not been asked */
    int64_t done;
    slot *slots;
    sluice_input *inputs;
    int32_t *input_slots; /* [batch]: whose an input is */
    sluice_sampler *sampler;
    sluice_task_log *log;      /* NULL: none */
    sluice_task_score *scores; /* [files] */
    sluice_error *err;
} asking;

static void count(asking *a, const sluice_task *task, const sluice_task_answer *answer)
{
    sluice_task_score *score = &a->scores[task->file];
    score->items++;
    score->right += answer->right;
    score->cut += answer->cut;
    a->done++;
}

static sluice_status finish(asking *a, slot *s, bool cut)
{
    sluice_text text = {0};
    sluice_task_answer answer = {.cut = cut};
    json_t *got = NULL;
    SLUICE_TRY(sluice_tokenizer_decode(sluice_engine_tokenizer(a->engine), s->ids, (size_t)s->count,
                                       false, &text, a->err));
    sluice_status status =
        sluice_task_judge(s->task, text.bytes, text.length, &answer.right, &got, a->err);
    sluice_text_free(&text);
    if (status == SLUICE_OK && a->log)
        status = sluice_task_log_add(a->log, s->task, &answer, s->count, got, a->err);
    json_decref(got);
    if (status != SLUICE_OK) return status;
    count(a, s->task, &answer);
    s->task = NULL;
    return SLUICE_OK;
}

/* The next task that the log does not know, or NULL in *task. */
static sluice_status take_task(asking *a, const sluice_task **task)
{
    for (*task = NULL; !*task && a->next < a->tasks.count; a->next++) {
        const sluice_task *candidate = &a->tasks.tasks[a->next];
        sluice_task_answer answer;
        bool known = false;
        if (a->log) SLUICE_TRY(sluice_task_log_find(a->log, candidate, &known, &answer, a->err));
        if (!known) {
            *task = candidate;
            continue;
        }
        count(a, candidate, &answer);
        a->scores[candidate->file].resumed++;
    }
    return SLUICE_OK;
}

/* Inputs of the next step; returns how many, 0 when all is done. */
static sluice_status gather(asking *a, int32_t *n)
{
    *n = 0;
    for (int32_t i = 0; i < a->batch; i++) {
        slot *s = &a->slots[i];
        sluice_input input = {.session = s->session, .tokens = &s->token, .count = 1};
        if (!s->task) {
            SLUICE_TRY(take_task(a, &s->task));
            if (!s->task) continue;
            sluice_session_clear(s->session);
            s->count = 0;
            input.tokens = s->task->prompt.ids;
            input.count = (int32_t)s->task->prompt.count;
        }
        input.logits_from = input.count - 1;
        a->input_slots[*n] = i;
        a->inputs[(*n)++] = input;
    }
    return SLUICE_OK;
}

static sluice_status draw(void *context, int32_t input, int32_t token, const float *logits)
{
    const asking *a = context;
    (void)token;
    return sluice_sampler_draw(a->sampler, logits, &a->slots[a->input_slots[input]].token, a->err);
}

static bool is_stop(const sluice_model_info *info, int32_t token)
{
    for (int32_t i = 0; i < info->n_stop_ids; i++)
        if (info->stop_ids[i] == token) return true;
    return false;
}

/* Takes the drawn token into the answer, or ends it. */
static sluice_status advance(asking *a, slot *s)
{
    if (is_stop(a->info, s->token)) return finish(a, s, false);
    s->ids[s->count++] = s->token;
    int32_t used = (int32_t)s->task->prompt.count + s->count;
    if (s->count == a->tokens_max || used > a->info->context) return finish(a, s, true);
    return SLUICE_OK;
}

static sluice_status ask_all(asking *a)
{
    const sluice_eval_task_options *o = a->options;
    for (int32_t n;;) {
        SLUICE_TRY(gather(a, &n));
        if (o->progress && !o->progress(o->context, a->done, a->tasks.count))
            return sluice_fail(a->err, SLUICE_CANCELLED, "stopped after %lld of %d answers",
                               (long long)a->done, a->tasks.count);
        if (n == 0) return SLUICE_OK;
        SLUICE_TRY(sluice_engine_step(a->engine, a->inputs, n, draw, a, a->err));
        for (int32_t i = 0; i < n; i++)
            SLUICE_TRY(advance(a, &a->slots[a->input_slots[i]]));
    }
}

static sluice_status open_slots(asking *a)
{
    sluice_sampling greedy = sluice_sampling_greedy();
    a->slots = calloc((size_t)a->batch, sizeof *a->slots);
    a->inputs = calloc((size_t)a->batch, sizeof *a->inputs);
    a->input_slots = calloc((size_t)a->batch, sizeof *a->input_slots);
    if (!a->slots || !a->inputs || !a->input_slots)
        return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for %d questions", a->batch);
    for (int32_t i = 0; i < a->batch; i++) {
        a->slots[i].ids = calloc((size_t)a->tokens_max, sizeof *a->slots[i].ids);
        if (!a->slots[i].ids)
            return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for %d answers", a->batch);
        SLUICE_TRY(sluice_session_open(a->engine, &a->slots[i].session, a->err));
    }
    SLUICE_TRY(sluice_engine_sampler_new(a->engine, &a->sampler, a->err));
    return sluice_sampler_begin(a->sampler, &greedy, a->err);
}

static void close_slots(asking *a)
{
    for (int32_t i = 0; a->slots && i < a->batch; i++) {
        sluice_session_close(a->slots[i].session);
        free(a->slots[i].ids);
    }
    sluice_sampler_free(a->sampler);
    free(a->slots);
    free(a->inputs);
    free(a->input_slots);
}

/* What an answer depends on, besides the question. */
static sluice_status open_log(asking *a, const char *const *paths)
{
    char fingerprint[16];
    if (!a->options->log) return SLUICE_OK;
    snprintf(fingerprint, sizeof fingerprint, "%08x", a->engine->model->fingerprint);
    json_t *run = json_pack("{s:s, s:i, s:s, s:i, s:b, s:b, s:i, s:i}", "evaluation", "tasks",
                            "version", 1, "fingerprint", fingerprint, "k", a->info->k, "exact",
                            a->engine->options.exact, "thinking", a->options->thinking,
                            "tokens_max", a->tokens_max, "context", a->info->context);
    if (!run) return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for a log");
    sluice_status status = sluice_task_log_open(a->options->log, run, paths, &a->log, a->err);
    json_decref(run);
    return status;
}

static void report(asking *a, int32_t n, sluice_task_score *each, sluice_task_score *all)
{
    *all = (sluice_task_score){0};
    for (int32_t i = 0; i < n; i++) {
        sluice_task_score *score = &a->scores[i];
        score->accuracy = sluice_interval_share(score->right, score->items);
        all->items += score->items;
        all->right += score->right;
        all->cut += score->cut;
        all->resumed += score->resumed;
        if (each) each[i] = *score;
    }
    all->accuracy = sluice_interval_share(all->right, all->items);
}

static sluice_status run(asking *a, const char *const *paths, int32_t n)
{
    if (a->tokens_max < 0)
        return sluice_fail(a->err, SLUICE_USAGE, "answers of %d tokens", a->tokens_max);
    a->scores = calloc((size_t)(n > 0 ? n : 1), sizeof *a->scores);
    if (!a->scores) return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for %d scores", n);
    SLUICE_TRY(sluice_tasks_load(a->engine, paths, n, a->options, &a->tasks, a->err));
    if (a->batch > a->tasks.count) a->batch = a->tasks.count;
    SLUICE_TRY(open_log(a, paths));
    SLUICE_TRY(open_slots(a));
    return ask_all(a);
}

sluice_status sluice_eval_tasks(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err)
{
    int32_t tokens = options->thinking ? TOKENS_DEFAULT_THINKING : TOKENS_DEFAULT;
    asking a = {.engine = engine,
                .info = sluice_engine_info(engine),
                .options = options,
                .tokens_max = options->tokens_max ? options->tokens_max : tokens,
                .batch = options->batch > 1 ? options->batch : 1,
                .err = err};
    sluice_status status = run(&a, paths, n);
    if (status == SLUICE_OK) report(&a, n, each, all);
    close_slots(&a);
    sluice_task_log_close(a.log);
    sluice_tasks_free(&a.tasks);
    free(a.scores);
    return status;
}
