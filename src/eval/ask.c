/* Asking (see ask.h). */
#include "eval/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/interval.h"
#include "eval/task_log.h"
#include "sluice/sampler.h"

enum { BLOCK = 64 }; /* positions: where a prompt may be cut without changing a bit */

typedef struct slot {
    sluice_session *session;
    const sluice_task *task; /* NULL: free */
    int32_t *ids;            /* [tokens_max], the answer so far */
    int32_t count;
    int32_t token; /* drawn from the last logits; or which choice */
} slot;

typedef struct asking {
    sluice_engine *engine;
    const sluice_model_info *info;
    const sluice_tasks *tasks;
    const sluice_ask_form *form;
    const sluice_eval_task_options *options;
    int32_t batch;
    int32_t next; /* task that has not been asked */
    int64_t done;
    slot *slots;
    sluice_input *inputs;
    int32_t *input_slots; /* [batch]: whose an input is */
    sluice_sampler *sampler;
    sluice_session *stem; /* what the prompts of a file begin with; NULL: no memory for it */
    int32_t stem_file, stem_count;
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

/* The length of text before the first stop string in it. */
static size_t before_stop(const asking *a, const char *text, size_t length)
{
    for (const char *const *stop = a->form->stops; stop && *stop; stop++) {
        const char *found = memmem(text, length, *stop, strlen(*stop));
        if (found) length = (size_t)(found - text);
    }
    return length;
}

static sluice_status decode(const asking *a, const int32_t *ids, int32_t n, sluice_text *text)
{
    return sluice_tokenizer_decode(sluice_engine_tokenizer(a->engine), ids, (size_t)n, false, text,
                                   a->err);
}

static sluice_status finish(asking *a, slot *s, bool cut)
{
    sluice_text text = {0};
    sluice_task_answer known = {.cut = cut};
    json_t *got = NULL;
    SLUICE_TRY(decode(a, s->ids, s->count, &text));
    text.length = before_stop(a, text.bytes, text.length);
    text.bytes[text.length] = '\0';
    sluice_ask_answer answer = {.task = s->task,
                                .text = text.bytes,
                                .length = text.length,
                                .tokens = s->count,
                                .choice = a->form->choices ? s->token : -1,
                                .cut = cut};
    sluice_status status = a->form->judge(a->form->context, &answer, &known.right, &got, a->err);
    sluice_text_free(&text);
    if (status == SLUICE_OK && a->log)
        status = sluice_task_log_add(a->log, s->task, &known, s->count, got, a->err);
    json_decref(got);
    if (status != SLUICE_OK) return status;
    count(a, s->task, &known);
    s->task = NULL;
    return SLUICE_OK;
}

/* The next task that the log does not know, or NULL in *task. */
static sluice_status take_task(asking *a, const sluice_task **task)
{
    for (*task = NULL; !*task && a->next < a->tasks->count; a->next++) {
        const sluice_task *candidate = &a->tasks->tasks[a->next];
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

/* How many tokens all prompts of a file begin with: whole blocks, and less than the shortest. */
static int32_t shared_tokens(const sluice_tasks *tasks, int32_t first)
{
    const sluice_task *one = &tasks->tasks[first];
    size_t shared = one->prompt.count - 1;
    int32_t i = first + 1;
    for (; i < tasks->count && tasks->tasks[i].file == one->file; i++) {
        const sluice_ids *other = &tasks->tasks[i].prompt;
        size_t most = other->count - 1 < shared ? other->count - 1 : shared;
        for (shared = 0; shared < most && other->ids[shared] == one->prompt.ids[shared];)
            shared++;
    }
    return i == first + 1 ? 0 : (int32_t)shared / BLOCK * BLOCK;
}

/* Has the stem hold what the prompts of the task's file begin with. */
static sluice_status grow_stem(asking *a, const sluice_task *task)
{
    if (!a->stem || a->stem_file == task->file) return SLUICE_OK;
    int32_t first = (int32_t)(task - a->tasks->tasks);
    while (first > 0 && a->tasks->tasks[first - 1].file == task->file)
        first--;
    a->stem_file = task->file;
    a->stem_count = shared_tokens(a->tasks, first);
    sluice_session_clear(a->stem);
    if (a->stem_count == 0) return SLUICE_OK;
    sluice_input input = {.session = a->stem,
                          .tokens = task->prompt.ids,
                          .count = a->stem_count,
                          .logits_from = a->stem_count};
    return sluice_engine_step(a->engine, &input, 1, NULL, NULL, a->err);
}

/* A free slot's next question; *input stays as it is if there is none. */
static sluice_status begin(asking *a, slot *s, sluice_input *input)
{
    SLUICE_TRY(take_task(a, &s->task));
    if (!s->task) return SLUICE_OK;
    SLUICE_TRY(grow_stem(a, s->task));
    int32_t known = a->stem ? a->stem_count : 0;
    sluice_session_clear(s->session);
    if (known) SLUICE_TRY(sluice_session_copy(s->session, a->stem, a->err));
    s->count = 0;
    input->tokens = s->task->prompt.ids + known;
    input->count = (int32_t)s->task->prompt.count - known;
    sluice_session_prompt(s->session, input->count);
    return SLUICE_OK;
}

/* Inputs of the next step; *n is 0 when all is done. */
static sluice_status gather(asking *a, int32_t *n)
{
    *n = 0;
    for (int32_t i = 0; i < a->batch; i++) {
        slot *s = &a->slots[i];
        sluice_input input = {.session = s->session, .tokens = &s->token, .count = 1};
        if (!s->task) SLUICE_TRY(begin(a, s, &input));
        if (!s->task) continue;
        input.logits_from = input.count - 1;
        a->input_slots[*n] = i;
        a->inputs[(*n)++] = input;
    }
    return SLUICE_OK;
}

/* The token that the sampler draws, or the likeliest of the choices (the first of equals). */
static sluice_status draw(void *context, int32_t input, int32_t token, const float *logits)
{
    const asking *a = context;
    slot *s = &a->slots[a->input_slots[input]];
    (void)token;
    if (!a->form->choices) return sluice_sampler_draw(a->sampler, logits, &s->token, a->err);
    int32_t best = 0;
    for (int32_t i = 1; i < a->form->n_choices; i++)
        if (logits[a->form->choices[i]] > logits[a->form->choices[best]]) best = i;
    s->token = best;
    return SLUICE_OK;
}

static bool is_stop(const sluice_model_info *info, int32_t token)
{
    for (int32_t i = 0; i < info->n_stop_ids; i++)
        if (info->stop_ids[i] == token) return true;
    return false;
}

/* Whether the last tokens hold a stop string: every token has a byte at least. */
static sluice_status meets_stop(const asking *a, const slot *s, bool *met)
{
    int32_t n = s->count < SLUICE_STOP_BYTES_MAX ? s->count : SLUICE_STOP_BYTES_MAX;
    sluice_text text = {0};
    *met = false;
    if (!a->form->stops) return SLUICE_OK;
    SLUICE_TRY(decode(a, s->ids + s->count - n, n, &text));
    *met = before_stop(a, text.bytes, text.length) < text.length;
    sluice_text_free(&text);
    return SLUICE_OK;
}

/* Takes the drawn token into the answer, or ends it. */
static sluice_status advance(asking *a, slot *s)
{
    bool met;
    if (a->form->choices || is_stop(a->info, s->token)) return finish(a, s, false);
    s->ids[s->count++] = s->token;
    SLUICE_TRY(meets_stop(a, s, &met));
    if (met) return finish(a, s, false);
    int32_t used = (int32_t)s->task->prompt.count + s->count;
    if (s->count == a->form->tokens_max || used > a->info->context) return finish(a, s, true);
    return SLUICE_OK;
}

static sluice_status ask_all(asking *a)
{
    const sluice_eval_task_options *o = a->options;
    for (int32_t n;;) {
        SLUICE_TRY(gather(a, &n));
        if (o->progress && !o->progress(o->context, a->done, a->tasks->count))
            return sluice_fail(a->err, SLUICE_CANCELLED, "stopped after %lld of %d answers",
                               (long long)a->done, a->tasks->count);
        if (n == 0) return SLUICE_OK;
        SLUICE_TRY(sluice_engine_step(a->engine, a->inputs, n, draw, a, a->err));
        for (int32_t i = 0; i < n; i++)
            SLUICE_TRY(advance(a, &a->slots[a->input_slots[i]]));
    }
}

static sluice_status open_slots(asking *a)
{
    sluice_sampling greedy = sluice_sampling_greedy();
    int32_t room = a->form->choices ? 1 : a->form->tokens_max;
    a->slots = calloc((size_t)a->batch, sizeof *a->slots);
    a->inputs = calloc((size_t)a->batch, sizeof *a->inputs);
    a->input_slots = calloc((size_t)a->batch, sizeof *a->input_slots);
    if (!a->slots || !a->inputs || !a->input_slots)
        return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for %d questions", a->batch);
    for (int32_t i = 0; i < a->batch; i++) {
        a->slots[i].ids = calloc((size_t)room, sizeof *a->slots[i].ids);
        if (!a->slots[i].ids)
            return sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for %d answers", a->batch);
        SLUICE_TRY(sluice_session_open(a->engine, &a->slots[i].session, a->err));
    }
    a->stem_file = -1;
    if (a->engine->rules.prompt)
        a->stem = NULL; /* where a prompt's bulk ends is its own */
    else if (sluice_session_open(a->engine, &a->stem, NULL) != SLUICE_OK)
        a->stem = NULL;
    SLUICE_TRY(sluice_engine_sampler_new(a->engine, &a->sampler, a->err));
    return sluice_sampler_begin(a->sampler, &greedy, a->err);
}

static void close_slots(asking *a)
{
    for (int32_t i = 0; a->slots && i < a->batch; i++) {
        sluice_session_close(a->slots[i].session);
        free(a->slots[i].ids);
    }
    sluice_session_close(a->stem);
    sluice_sampler_free(a->sampler);
    free(a->slots);
    free(a->inputs);
    free(a->input_slots);
}

/* What an answer depends on, besides the question. */
static sluice_status open_log(asking *a)
{
    char fingerprint[16];
    if (!a->options->log) return SLUICE_OK;
    snprintf(fingerprint, sizeof fingerprint, "%08x", a->engine->model->fingerprint);
    json_t *run = json_pack("{s:s, s:i, s:s, s:i, s:s, s:b}", "evaluation", a->form->evaluation,
                            "version", 1, "fingerprint", fingerprint, "k", a->info->k, "lossy",
                            a->info->lossy, "exact", a->engine->options.exact);
    json_t *limits =
        json_pack("{s:i, s:i}", "tokens_max", a->form->tokens_max, "context", a->info->context);
    bool whole = run && limits &&
                 (!a->form->settings || !json_object_update(run, a->form->settings)) &&
                 !json_object_update(run, limits);
    sluice_status status =
        whole ? sluice_task_log_open(a->options->log, run, a->tasks->paths, &a->log, a->err)
              : sluice_fail(a->err, SLUICE_NO_MEMORY, "no memory for a log");
    json_decref(limits);
    json_decref(run);
    return status;
}

sluice_status sluice_ask(sluice_engine *engine, const sluice_tasks *tasks,
                         const sluice_ask_form *form, const sluice_eval_task_options *options,
                         sluice_task_score *scores, sluice_error *err)
{
    int32_t batch = options->batch > 1 ? options->batch : 1;
    asking a = {.engine = engine,
                .info = sluice_engine_info(engine),
                .tasks = tasks,
                .form = form,
                .options = options,
                .batch = batch < tasks->count ? batch : tasks->count,
                .scores = scores,
                .err = err};
    sluice_status status = open_log(&a);
    if (status == SLUICE_OK) status = open_slots(&a);
    if (status == SLUICE_OK) status = ask_all(&a);
    close_slots(&a);
    sluice_task_log_close(a.log);
    return status;
}

void sluice_scores_finish(sluice_task_score *scores, int32_t n, sluice_task_score *all)
{
    sluice_task_score sum = {0};
    for (int32_t i = 0; i < n; i++) {
        scores[i].accuracy = sluice_interval_share(scores[i].right, scores[i].items);
        sum.items += scores[i].items;
        sum.right += scores[i].right;
        sum.cut += scores[i].cut;
        sum.resumed += scores[i].resumed;
    }
    sum.accuracy = sluice_interval_share(sum.right, sum.items);
    *all = sum;
}
